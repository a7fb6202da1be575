/*
 * A process that ends with another one, whatever it is doing. Called by: py/process.c, in workers of a pool whose
 * parent the kernel does not watch for them (sys_die_with_parent): it was not its main thread that forked them, or a
 * fork server did.
 */
#ifndef FMP_SYS_FOLLOW_H
#define FMP_SYS_FOLLOW_H

#include "base/attr.h"

/* Starts a thread that kills this process when `pidfd` polls readable. It sleeps until then, handles no signals, holds
 * no lock, and is not there in a forked child. `pidfd` stays open for good. 0 or -errno. */
int sys_follow(int pidfd);

#endif

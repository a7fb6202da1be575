/*
 * The kernel's word that a process has ended, by the list of robust futexes that it walks for each dying thread. Called
 * by: sync/death.
 */
#ifndef FMP_SYS_ROBUST_H
#define FMP_SYS_ROBUST_H

#include "base/atomic.h"

/*
 * From now on the kernel wakes one sleeper of the futex at `word`, which must be 0 always, when this process's main
 * thread ends, however that comes; NULL: nobody any more. To be called anew in a forked child. 0 or -errno.
 *
 * What is used is the list's entry for an operation under way (list_op_pending, Linux 5.5): the C library has it for
 * the moment in which it locks or releases a robust mutex, and leaves it empty behind, so a process that does such
 * things may end untold until it calls this again.
 */
int sys_tell_of_end(_Atomic uint32_t *word);
/* The same word again, if the C library has emptied the entry since. Only by the main thread, whose entry it is. */
void sys_tell_of_end_still(void);

#endif

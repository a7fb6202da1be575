/* The futex system call on words shared between processes. Called by: sync/. */
#ifndef FMP_SYS_FUTEX_H
#define FMP_SYS_FUTEX_H

#include "base/atomic.h"

/*
 * Sleeps while *word == expected, until woken or until `deadline_ns` (CLOCK_MONOTONIC; FMP_NEVER for none).
 * 0 woken (or spuriously), -EAGAIN the word had changed, -ETIMEDOUT, -EINTR.
 */
int sys_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns);

/* Wakes up to `n` sleepers; the number woken, or -errno. */
int sys_futex_wake(_Atomic uint32_t *word, int n);

#endif

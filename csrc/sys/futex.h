/* The futex system call on words shared between processes. Called by: sync/. */
#ifndef FMP_SYS_FUTEX_H
#define FMP_SYS_FUTEX_H

#include "base/atomic.h"

/*
 * Sleeps while *word == expected, until woken or until `deadline_ns` (CLOCK_MONOTONIC; FMP_NEVER for none).
 * 0 woken (or spuriously), -EAGAIN the word had changed, -ETIMEDOUT, -EINTR.
 */
int sys_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns);

/*
 * The same on several words at once: -EAGAIN if any had changed. The index of one that was woken, the last of them if
 * there were more; -ENOSYS if the kernel cannot (before Linux 5.16) or may not.
 */
struct sys_futex {
    _Atomic uint32_t *word;
    uint32_t expected;
};
#define SYS_FUTEX_ANY_MAX 4
int sys_futex_wait_any(const struct sys_futex *futexes, unsigned count, uint64_t deadline_ns);

/* Wakes up to `n` sleepers; the number woken, or -errno. */
int sys_futex_wake(_Atomic uint32_t *word, int n);

#endif

/* The futex system call; see futex.h. */
#include "sys/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int
sys_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec at, *until = NULL;
    if (deadline_ns != FMP_NEVER) {
        at.tv_sec = (time_t)(deadline_ns / FMP_NS_PER_S);
        at.tv_nsec = (long)(deadline_ns % FMP_NS_PER_S);
        until = &at;
    }
    /* WAIT_BITSET takes an absolute time, on CLOCK_MONOTONIC. */
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL, FUTEX_BITSET_MATCH_ANY);
    return rc == 0 ? 0 : -errno;
}

int
sys_futex_wake(_Atomic uint32_t *word, int n)
{
    long rc = syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
    return rc >= 0 ? (int)rc : -errno;
}

/* The futex system call; see futex.h. */
#include "sys/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same number on every architecture */
#endif

/* As the kernel has it: its headers of before Linux 5.16 do not name it. */
struct waited_for {
    uint64_t expected, address;
    uint32_t flags, reserved;
};
#define IS_32_BITS 2 /* FUTEX_32; no FUTEX_PRIVATE_FLAG */

/* The time of a deadline in *at, or NULL for none. */
static struct timespec *
time_of(uint64_t deadline_ns, struct timespec *at)
{
    if (deadline_ns == FMP_NEVER) {
        return NULL;
    }
    at->tv_sec = (time_t)(deadline_ns / FMP_NS_PER_S);
    at->tv_nsec = (long)(deadline_ns % FMP_NS_PER_S);
    return at;
}

int
sys_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec at, *until = time_of(deadline_ns, &at);
    /* WAIT_BITSET takes an absolute time, on CLOCK_MONOTONIC. */
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL, FUTEX_BITSET_MATCH_ANY);
    return rc == 0 ? 0 : -errno;
}

int
sys_futex_wait_any(const struct sys_futex *futexes, unsigned count, uint64_t deadline_ns)
{
    struct timespec at, *until = time_of(deadline_ns, &at);
    struct waited_for all[SYS_FUTEX_ANY_MAX];
    for (unsigned i = 0; i < count; i++) {
        all[i] = (struct waited_for){
            .expected = futexes[i].expected, .address = (uintptr_t)futexes[i].word, .flags = IS_32_BITS};
    }
    long rc = syscall(SYS_futex_waitv, all, count, 0, until, CLOCK_MONOTONIC);
    return rc >= 0 ? (int)rc : errno == EPERM ? -ENOSYS : -errno;
}

int
sys_futex_wake(_Atomic uint32_t *word, int n)
{
    long rc = syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
    return rc >= 0 ? (int)rc : -errno;
}

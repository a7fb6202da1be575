/* The monotonic clock and deadlines on it. Called by: every unit that waits. */
#ifndef FMP_SYS_CLOCK_H
#define FMP_SYS_CLOCK_H

#include <time.h>

#include "base/attr.h"

/* Now, in ns on CLOCK_MONOTONIC. */
FMP_INLINE uint64_t
sys_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * FMP_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The earlier of two deadlines: `deadline_ns`, and `slice_ns` after `now_ns`. */
FMP_INLINE uint64_t
sys_slice_end_ns(uint64_t now_ns, uint64_t deadline_ns, uint64_t slice_ns)
{
    uint64_t end = now_ns + slice_ns;
    return end < deadline_ns ? end : deadline_ns;
}

/* Sleeps for so long, or until a signal comes. */
FMP_INLINE void
sys_sleep_ns(uint64_t ns)
{
    struct timespec time = {.tv_sec = (time_t)(ns / FMP_NS_PER_S), .tv_nsec = (long)(ns % FMP_NS_PER_S)};
    nanosleep(&time, NULL);
}

#endif

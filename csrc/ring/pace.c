/* The pace of the two sides of a ring; see pace.h. */
#include "ring/pace.h"

#include <sched.h>

#include "sys/clock.h"

/* The first moment in a stream, and the longest: some forty messages, where each side takes 40 ns for one. */
#define FIRST_NS UINT64_C(200)
#define LONGEST_NS UINT64_C(1600)
/* Between a producer's looks whether consumers get on. */
#define LOOK_NS UINT64_C(800)
/* A stream: so many messages since the ring was last found empty. */
#define STREAM 2
/* So many are worth the longest moment: it grows no more. */
#define ROW 64
/* The part of a full ring that is to be free before the producer goes on; a ring of few places has no such part. */
#define PART 8

static void
pause_for(uint64_t ns)
{
    uint64_t end = sys_now_ns() + ns;
    do {
        fmp_cpu_relax();
    } while (sys_now_ns() < end);
}

/* A producer who is ahead has time: whoever else wants the core may have it. */
static void
yield_for(uint64_t ns)
{
    uint64_t end = sys_now_ns() + ns;
    do {
        sched_yield();
    } while (sys_now_ns() < end);
}

bool
fmp_ring_let_fill(struct fmp_ring *ring, bool *may)
{
    if (!*may) {
        return false;
    }
    struct fmp_pace *pace = &ring->pop_pace;
    uint64_t head = fmp_load_relaxed(&ring->shm->head); /* relaxed: a measure of speed, no more */
    uint64_t taken = head - pace->caught_up_at;
    pace->caught_up_at = head;
    if (taken < STREAM || !fmp_spin_helps()) {
        pace->moment_ns = 0;
        return false;
    }
    if (pace->moment_ns == 0) {
        pace->moment_ns = FIRST_NS;
    } else if (taken < ROW && pace->moment_ns < LONGEST_NS) {
        pace->moment_ns *= 2;
    }
    pause_for(pace->moment_ns);
    *may = false;
    return true;
}

bool
fmp_ring_let_drain(struct fmp_ring *ring, bool *may)
{
    uint64_t enough = ring->limit / PART;
    if (!*may || enough < STREAM || !fmp_spin_helps()) {
        return false;
    }
    uint64_t first = fmp_load_relaxed(&ring->shm->head), seen, now = first; /* relaxed: as above */
    do {
        seen = now;
        yield_for(LOOK_NS);
        now = fmp_load_relaxed(&ring->shm->head); /* relaxed: as above */
    } while (now != seen && now - first < enough);
    *may = now == first;
    return now != first;
}

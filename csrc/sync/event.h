/*
 * The event: a flag with a generation. Called by: py/event.c.
 *
 * The word is {generation:63 | set:1}. Setting begins a new generation, so a waiter that was there when it was set
 * returns true even if the flag was cleared before it ran. A process killed in set() between the flag and the wake
 * leaves the flag set: the sleepers see it at their next look, or at the next set().
 *
 *   order  what                                        pairs with
 *   V1     set: CAS to {generation+1, 1}, seq_cst      V2; and E2 of the event count: the waiter sees the flag or is
 * seen V2     look: load, acquire                         V1, V3: sees what was done before set() or clear() V3 clear:
 * fetch_and, acq_rel                   V2, V1
 */
#ifndef FMP_SYNC_EVENT_H
#define FMP_SYNC_EVENT_H

#include "sync/eventcount.h"

struct fmp_event_shm {
    _Atomic uint64_t word;
    struct fmp_ec_shm changed;
};

FMP_INLINE bool
fmp_event_is_set(struct fmp_event_shm *e)
{
    return (fmp_load_acquire(&e->word) & 1) != 0; /* V2: pairs with V1 and V3 */
}

void fmp_event_set(struct fmp_event_shm *e);
void fmp_event_clear(struct fmp_event_shm *e);

/* One wait, begun with fmp_event_begin; is the event set, or has it been since? */
struct fmp_event_waiter {
    struct fmp_event_shm *event;
    uint64_t generation;
};
struct fmp_event_waiter fmp_event_begin(struct fmp_event_shm *e);
/* A fmp_ec_ready_fn on a struct fmp_event_waiter, to await at `event->changed`. */
bool fmp_event_passed(void *waiter);

#endif

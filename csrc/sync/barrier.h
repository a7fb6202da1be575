/*
 * The barrier: one word and an event count. Called by: py/barrier.c.
 *
 * The word is {trips:24 | breaks:14 | state:2 | count:24}. Trips and breaks together number the generations: a waiter
 * remembers both, and learns from the one that has moved how his generation ended. (Where both have moved since he went
 * to sleep he is told "broken", as in the standard library.)
 *
 *   FILLING(count) --last party--> ACTING(count = the last party's identity) --its action has run--> FILLING(0), trips
 * + 1 any --abort, timeout, dead actor--> BROKEN, breaks + 1        FILLING(n > 0) --reset--> FILLING(0), breaks + 1
 *   BROKEN --reset--> FILLING(0)
 *
 * A barrier without an action goes from FILLING to FILLING at once. A killed waiter has arrived: it counts for its
 * generation and holds up no other. A party killed in its action is found at the waiters' re-check (FMP_RECHECK_NS, or
 * FMP_IDLE_RECHECK_NS for who has slept for long), and the barrier is broken.
 *
 *   order  what                                      pairs with
 *   B1     arrive, withdraw: CAS count, acq_rel      B2: the last party sees what all did before they arrived
 *   B2     end of a generation: CAS, seq_cst         B3; and E2 of the event count: the waiter sees the end or is seen
 *   B3     look: load, acquire                       B2: who passes sees what all did before
 */
#ifndef FMP_SYNC_BARRIER_H
#define FMP_SYNC_BARRIER_H

#include "shm/participants.h"
#include "sync/eventcount.h"

#define FMP_BARRIER_PARTIES_MAX FMP_ID_MASK

struct fmp_barrier_shm {
    _Atomic uint64_t word;
    struct fmp_ec_shm ended;
};

/* One party's pass through the barrier, in private memory. `shm`, `region`, `parties` and `acts` are the caller's to
 * set. */
struct fmp_barrier_waiter {
    struct fmp_barrier_shm *shm;
    struct fmp_region *region;
    uint32_t parties;
    bool acts; /* the last party has something to do before the others pass */
    struct fmp_spin spin;
    uint32_t index;      /* order of arrival, from 0 */
    uint64_t generation; /* trips and breaks at arrival */
};

enum fmp_barrier_role {
    FMP_BARRIER_WAITS,  /* arrived: wait */
    FMP_BARRIER_ACTS,   /* arrived last: do what is to be done, then trip */
    FMP_BARRIER_PASSES, /* arrived last, and all may pass */
    FMP_BARRIER_COMES,  /* the generation before is not over: wait, then arrive again */
    FMP_BARRIER_BROKEN,
};
enum fmp_barrier_role fmp_barrier_arrive(struct fmp_barrier_waiter *w);

/*
 * Waits for the end of the generation: spins, sleeps at most once. 0 tripped; -EPIPE broken; -EINTR look at your
 * signals and call again. -ETIMEDOUT: this waiter's time was over, and so the barrier is broken now.
 */
int fmp_barrier_wait(struct fmp_barrier_waiter *w, uint64_t deadline_ns);
/* The last party's action has run: all pass. 0, or -EPIPE if the barrier was broken meanwhile. */
int fmp_barrier_trip(struct fmp_barrier_waiter *w);
/* Instead of waiting on: this party has not arrived after all. */
void fmp_barrier_withdraw(struct fmp_barrier_waiter *w);

void fmp_barrier_abort(struct fmp_barrier_shm *b);
/* Whoever waits is told "broken"; the barrier is whole again. Nothing is done while a living party runs its action. */
void fmp_barrier_reset(struct fmp_barrier_shm *b, struct fmp_region *region);
/* How many have arrived in this generation, and is the barrier broken? */
uint32_t fmp_barrier_waiting(struct fmp_barrier_shm *b, uint32_t parties);
bool fmp_barrier_is_broken(struct fmp_barrier_shm *b);

#endif

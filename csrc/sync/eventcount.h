/*
 * The event count: the only bridge from lock-free to blocking. Called by: sync/, ring/, conn/, pool/ (through
 * pyrt/wait where the GIL is held).
 *
 * A waiter calls fmp_ec_await with a condition; a notifier makes the condition true and calls fmp_ec_notify. Without
 * waiters a notify costs a fence and a load. One word {seq:32 | gen:16 | count:16}, modelled in
 * tests/model/eventcount.pml:
 * - count is the number registered in generation gen, never too low; what killed waiters leave behind is healed by the
 * next notifier;
 * - no sleep is longer than the re-check period (FMP_RECHECK_NS, and more for who has slept whole periods: see
 * fmp_spin_period_ns), so a wake-up lost to a killed process is only late. Where deaths are told (sync/death.h), who
 * waits for nothing that one process has in hand sleeps for the longest period at once.
 * The system's wait and wake can be replaced (fmp_ec_os) so that a test can fake them.
 */
#ifndef FMP_SYNC_EVENTCOUNT_H
#define FMP_SYNC_EVENTCOUNT_H

#include "sync/death.h"

/* The longest sleep without a look at the condition. */
#define FMP_RECHECK_NS (128 * FMP_NS_PER_MS)

/* The same for a waiter that has slept for a whole period; doubled after each further one, up to the longest. A look is
 * a timer and a switch of processes, 30 to 60 us of CPU, as much as all else that a wait costs. Whoever is woken begins
 * anew, so this delays only a wake-up that was lost to a killed process. */
#define FMP_IDLE_RECHECK_NS (16 * FMP_RECHECK_NS)

struct fmp_ec_shm {
    _Atomic uint64_t word;
};

/* Returns true when there is nothing to wait for any more. Must not block; is called several times. */
typedef bool (*fmp_ec_ready_fn)(void *ctx);

/*
 * What a place that waits has learned from its last waits: how long to spin before a sleep, and to sleep before a look.
 * One per place, in private memory; zeroed memory is a fine start. Spinning begins with a small part of the budget: the
 * whole of it costs as much as a sleep. A sleep that was soon over tells that more of it would have helped.
 *
 * `held_up` is set by whoever relies on deaths being told: with the context of the wait, is it for something that one
 * process has in hand, such as a cell that it writes? That process may have been killed before the sleep.
 */
struct fmp_spin {
    fmp_ec_ready_fn held_up; /* NULL: looks by the clock, as often as ever */
    uint8_t idle; /* whole periods slept through since the last wake-up: then no spinning, and a longer sleep */
    bool whole;   /* the whole budget, not a part */
    uint8_t vain; /* whole budgets spent in vain in a row */
    bool settled; /* has spun, and looked at its signals: sleeps at the next call */
    uint8_t wary; /* after too many of those: so many sleeps must be soon over before the whole is tried again */
};

/* `wait` is fmp_death_wait. */
struct fmp_ec_os {
    int (*wait)(_Atomic uint32_t *word, uint32_t expected, uint32_t told, uint64_t deadline_ns);
    int (*wake)(_Atomic uint32_t *word, int n);
};
extern struct fmp_ec_os fmp_ec_os;

/* For fmp_spin.held_up: nobody has what is waited for in hand. */
bool fmp_ec_never_held_up(void *ctx);

/*
 * Waits until `ready(ctx)`: spins a little, then sleeps once, at most until `deadline_ns` or for the re-check period.
 * 0 ready; -ETIMEDOUT the deadline is over; -EINTR a signal came, the re-check period is over, somebody was killed, or
 * a long sleep is about to begin: look at your signals, call again.
 */
int fmp_ec_await(struct fmp_ec_shm *ec, fmp_ec_ready_fn ready, void *ctx, uint64_t deadline_ns, struct fmp_spin *spin);

/* For the notifier, after the condition was made true by an atomic of any order: the word, with count 0 if nobody
 * waits.
 */
FMP_INLINE uint64_t
fmp_ec_look(struct fmp_ec_shm *ec)
{
    fmp_fence_seq_cst(); /* E1: the condition before the look at the waiters. Pairs with E2 in fmp_ec_await. */
    return fmp_load_relaxed(&ec->word); /* relaxed: ordered by E1 */
}
#define FMP_EC_WAITERS UINT64_C(0xffff) /* the count in the word */

/* Wakes up to `n` waiters, if there are any; `word` is from fmp_ec_look. */
void fmp_ec_notify_slow(struct fmp_ec_shm *ec, uint64_t word, int n);
FMP_INLINE void
fmp_ec_notify(struct fmp_ec_shm *ec, int n)
{
    uint64_t word = fmp_ec_look(ec);
    if (FMP_UNLIKELY((word & FMP_EC_WAITERS) != 0)) {
        fmp_ec_notify_slow(ec, word, n);
    }
}

/* The same after a condition made true by a sequentially consistent read-modify-write: that is the fence already. */
FMP_INLINE void
fmp_ec_notify_seq_cst(struct fmp_ec_shm *ec, int n)
{
    uint64_t word =
        fmp_load_seq_cst(&ec->word); /* E1: after the caller's own operation. Pairs with E2 in fmp_ec_await. */
    if (FMP_UNLIKELY((word & 0xffff) != 0)) {
        fmp_ec_notify_slow(ec, word, n);
    }
}

/* Is there a second core on which the other side could run while this one spins? */
bool fmp_spin_helps(void);

/* What fmp_ec_await does before and after its sleep, for sleeps that are not an event count's. */
/* Spins, yielding the core between looks, as long as this has been worth it. True if ready. */
bool fmp_spin_until(fmp_ec_ready_fn ready, void *ctx, struct fmp_spin *spin);
/* A sleep is over after so long; FMP_NEVER if nobody has ended it. */
void fmp_spin_slept(struct fmp_spin *spin, uint64_t slept_ns);
/* How long to sleep without a look, after so many whole periods; and that one more was slept through. */
uint64_t fmp_spin_period_ns(unsigned periods_before);
void fmp_spin_slept_through(struct fmp_spin *spin, unsigned periods_before);

#endif

/* The barrier; see barrier.h. */
#include "sync/barrier.h"

#include <limits.h>

#include "base/fault.h"

enum { FILLING = 0, ACTING = 1, BROKEN = 2 };

#define STATE_SHIFT FMP_ID_BITS
#define BREAKS_SHIFT (STATE_SHIFT + 2)
#define TRIPS_SHIFT (BREAKS_SHIFT + 14)
#define BREAK_ONE (UINT64_C(1) << BREAKS_SHIFT)
#define BREAKS_MASK (UINT64_C(0x3fff) << BREAKS_SHIFT)
#define TRIP_ONE (UINT64_C(1) << TRIPS_SHIFT)
#define TRIPS_MASK (UINT64_C(0xffffff) << TRIPS_SHIFT)

FMP_INLINE unsigned
state_of(uint64_t word)
{
    return word >> STATE_SHIFT & 3;
}

FMP_INLINE uint32_t
count_of(uint64_t word)
{
    return word & FMP_ID_MASK;
}

FMP_INLINE uint64_t
generation_of(uint64_t word)
{
    return word & (TRIPS_MASK | BREAKS_MASK);
}

/* The same generation in another state. */
FMP_INLINE uint64_t
in_state(uint64_t word, unsigned state, uint32_t count)
{
    return generation_of(word) | (uint64_t)state << STATE_SHIFT | count;
}

/* The next generation after a trip (trips wrap out of the word), or after a break (which must not carry into the
 * trips). */
FMP_INLINE uint64_t
tripped(uint64_t word)
{
    return in_state(word, FILLING, 0) + TRIP_ONE;
}

FMP_INLINE uint64_t
broken(uint64_t word, unsigned state)
{
    uint64_t breaks = (word + BREAK_ONE) & BREAKS_MASK;
    return (word & TRIPS_MASK) | breaks | (uint64_t)state << STATE_SHIFT;
}

/* Ends a generation, if the word is still `word`. */
static bool
end_generation(struct fmp_barrier_shm *b, uint64_t *word, uint64_t next)
{
    if (!fmp_cas_seq_cst(&b->word, word, next)) { /* B2: pairs with B3, and with E2 */
        return false;
    }
    FMP_FAULT("barrier:ended");
    fmp_ec_notify_seq_cst(&b->ended, INT_MAX);
    return true;
}

static bool
actor_is_gone(struct fmp_region *region, uint64_t word)
{
    return state_of(word) == ACTING && fmp_participant_fate(region, count_of(word)) != FMP_ALIVE;
}

/* ---- arrive ---- */

/* As the last party. False if the word has changed. */
static bool
arrive_last(struct fmp_barrier_waiter *w, uint64_t word, enum fmp_barrier_role *role)
{
    *role = w->acts ? FMP_BARRIER_ACTS : FMP_BARRIER_PASSES;
    if (!w->acts) {
        return end_generation(w->shm, &word, tripped(word));
    }
    bool taken = fmp_cas_acq_rel(&w->shm->word, &word, in_state(word, ACTING, w->region->me)); /* B1: pairs with B1 */
    FMP_FAULT("barrier:acting");
    return taken;
}

static bool
arrive_filling(struct fmp_barrier_waiter *w, uint64_t word, enum fmp_barrier_role *role)
{
    w->index = count_of(word);
    if (w->index + 1 >= w->parties) {
        return arrive_last(w, word, role);
    }
    *role = FMP_BARRIER_WAITS;
    bool arrived = fmp_cas_acq_rel(&w->shm->word, &word, word + 1); /* B1: pairs with B2 */
    FMP_FAULT("barrier:arrived");
    return arrived;
}

enum fmp_barrier_role
fmp_barrier_arrive(struct fmp_barrier_waiter *w)
{
    enum fmp_barrier_role role;
    for (;;) {
        uint64_t word = fmp_load_acquire(&w->shm->word); /* B3: pairs with B2 */
        w->generation = generation_of(word);
        if (state_of(word) == BROKEN) {
            return FMP_BARRIER_BROKEN;
        }
        if (state_of(word) != FILLING) {
            return FMP_BARRIER_COMES;
        }
        if (arrive_filling(w, word, &role)) {
            return role;
        }
    }
}

/* ---- wait ---- */

static bool
has_ended(void *ctx)
{
    struct fmp_barrier_waiter *w = ctx;
    return generation_of(fmp_load_acquire(&w->shm->word)) != w->generation; /* B3: pairs with B2 */
}

/* Breaks the waiter's generation while it fills (unless only a dead actor is looked for), or if its actor has ended. */
static void
break_generation(struct fmp_barrier_waiter *w, bool only_if_actor_is_gone)
{
    uint64_t word = fmp_load_acquire(&w->shm->word); /* B3: pairs with B2 */
    while (generation_of(word) == w->generation) {
        bool may = state_of(word) == ACTING ? actor_is_gone(w->region, word) : !only_if_actor_is_gone;
        if (!may || end_generation(w->shm, &word, broken(word, BROKEN))) {
            return;
        }
    }
}

static int
outcome(struct fmp_barrier_waiter *w)
{
    uint64_t word = fmp_load_acquire(&w->shm->word); /* B3: pairs with B2 */
    if (generation_of(word) == w->generation) {
        return -EINTR;
    }
    return ((word ^ w->generation) & BREAKS_MASK) != 0 ? -EPIPE : 0;
}

/* The time is over: that breaks the barrier, unless all have arrived. Then the action's end is near, and worth waiting
 * for. */
static int
time_out(struct fmp_barrier_waiter *w)
{
    break_generation(w, false);
    int rc = outcome(w);
    return rc == -EPIPE ? -ETIMEDOUT : rc;
}

int
fmp_barrier_wait(struct fmp_barrier_waiter *w, uint64_t deadline_ns)
{
    bool acting = state_of(fmp_load_acquire(&w->shm->word)) == ACTING; /* B3: pairs with B1 */
    if (w->spin.idle > 1) { /* the look is also for who is killed in his action, and that may be long */
        w->spin.idle = 1;
    }
    int rc = fmp_ec_await(&w->shm->ended, has_ended, w, acting ? FMP_NEVER : deadline_ns, &w->spin);
    if (rc == -ETIMEDOUT) {
        return time_out(w);
    }
    if (rc == -EINTR) {
        break_generation(w, true);
    }
    return outcome(w);
}

int
fmp_barrier_trip(struct fmp_barrier_waiter *w)
{
    uint64_t word = w->generation | (uint64_t)ACTING << STATE_SHIFT | w->region->me;
    return end_generation(w->shm, &word, tripped(word)) ? 0 : -EPIPE;
}

void
fmp_barrier_withdraw(struct fmp_barrier_waiter *w)
{
    uint64_t word = fmp_load_relaxed(&w->shm->word); /* relaxed: the CAS checks it */
    while (generation_of(word) == w->generation && state_of(word) == FILLING && count_of(word) > 0) {
        if (fmp_cas_acq_rel(&w->shm->word, &word, word - 1)) { /* B1: pairs with B2 */
            return;
        }
    }
}

/* ---- for everybody ---- */

void
fmp_barrier_abort(struct fmp_barrier_shm *b)
{
    uint64_t word = fmp_load_relaxed(&b->word); /* relaxed: the CAS checks it */
    while (state_of(word) != BROKEN && !end_generation(b, &word, broken(word, BROKEN))) {
    }
}

void
fmp_barrier_reset(struct fmp_barrier_shm *b, struct fmp_region *region)
{
    uint64_t word = fmp_load_relaxed(&b->word); /* relaxed: the CAS checks it */
    for (;;) {
        bool waiting = state_of(word) == FILLING ? count_of(word) != 0 : actor_is_gone(region, word);
        if (!waiting && state_of(word) != BROKEN) {
            return;
        }
        if (end_generation(b, &word, waiting ? broken(word, FILLING) : in_state(word, FILLING, 0))) {
            return;
        }
    }
}

uint32_t
fmp_barrier_waiting(struct fmp_barrier_shm *b, uint32_t parties)
{
    uint64_t word = fmp_load_relaxed(&b->word); /* relaxed: outdated at once anyway */
    return state_of(word) == FILLING ? count_of(word) : state_of(word) == ACTING ? parties : 0;
}

bool
fmp_barrier_is_broken(struct fmp_barrier_shm *b)
{
    return state_of(fmp_load_acquire(&b->word)) == BROKEN; /* B3: pairs with B2 */
}

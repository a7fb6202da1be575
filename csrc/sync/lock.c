/* The lock; see lock.h. */
#include "sync/lock.h"

#include "sys/clock.h"

/* How often the kernel is asked about the same owner by one handle. */
#define ASK_NS FMP_NS_PER_MS
/* The first sleep; each next one is twice as long, up to FMP_RECHECK_NS, or to the longest period where deaths are
 * told. So an owner that was killed before is found soon, also if his end takes long, and a long wait is cheap. */
#define FIRST_SLICE_NS (8 * FMP_NS_PER_MS)
/* Looks with the GIL held: about a microsecond, the time in which another process ends a tiny section. */
#define SHORT_SPIN 40

static bool
take(void *ctx)
{
    struct fmp_lock_waiter *w = ctx;
    uint32_t word =
        fmp_load_relaxed(&w->shm->word); /* relaxed: a look before the CAS, so that spinning does not own the line */
    uint32_t me = w->region->me;         /* 0 in a thread that is still waiting while its process exits */
    if (word != 0 || me == 0) {
        return false;
    }
    bool taken = fmp_cas_acquire(&w->shm->word, &word, FMP_LOCK_HELD | w->bits | me); /* L1: pairs with L2 */
    FMP_FAULT("lock:taken");
    return taken;
}

/* Takes the lock, or sees to it that its release will wake somebody: then false, and the held word in *seen. */
static bool
take_or_mark(struct fmp_lock_waiter *w, uint32_t *seen)
{
    while (!take(w)) {
        uint32_t word = fmp_load_relaxed(&w->shm->word); /* relaxed: the CAS and the futex check it */
        *seen = word | FMP_LOCK_WAITERS;
        if (word == *seen || w->region->me == 0 || (word != 0 && fmp_cas_relaxed(&w->shm->word, &word, *seen))) {
            FMP_FAULT("lock:marked");
            return false;
        }
    }
    return true;
}

static bool
may_ask(struct fmp_lock_waiter *w)
{
    uint64_t now = sys_now_ns();
    if (now - w->asked_ns < ASK_NS) {
        return false;
    }
    w->asked_ns = now;
    return true;
}

/* Neither free nor held by anybody: no process has left it so, and nobody would ever release it. */
static bool
is_damaged(uint32_t word)
{
    return word != 0 && ((word & FMP_LOCK_HELD) == 0 || (word & FMP_ID_MASK) == 0);
}

/* FMP_OWNER_DIED if the owner was killed and the lock is ours now, else 0. */
static int
rob_the_dead(struct fmp_lock_waiter *w)
{
    uint32_t word = fmp_load_relaxed(&w->shm->word), owner = word & FMP_ID_MASK; /* relaxed: the CAS checks it */
    bool damaged = is_damaged(word);
    if (word == 0 || w->region->me == 0 || (owner == w->region->me && !damaged) || !may_ask(w)) {
        return 0;
    }
    if (damaged) { /* as a lock whose owner was killed, but nobody knows who it was */
        w->dead = 0;
        return fmp_cas_acquire(&w->shm->word, &word, FMP_LOCK_HELD | FMP_LOCK_WAITERS | w->region->me) /* L3 */
                   ? FMP_OWNER_DIED
                   : 0;
    }
    if (!fmp_participant_is_killed(w->region, owner)) {
        return 0;
    }
    /* L3: identities do not come again for long, so the word is still the dead's or somebody was faster. */
    while ((word & (FMP_LOCK_HELD | FMP_ID_MASK)) == (FMP_LOCK_HELD | owner)) {
        if (fmp_cas_acquire(&w->shm->word, &word, FMP_LOCK_HELD | FMP_LOCK_WAITERS | w->region->me)) { /* L3 */
            FMP_FAULT("lock:robbed");
            w->dead = owner;
            return FMP_OWNER_DIED;
        }
    }
    return 0;
}

/* Sleeps once while the word is `seen`; `told`: fmp_death_count before it was. As fmp_lock_acquire. */
static int
sleep_once(struct fmp_lock_waiter *w, uint32_t seen, uint32_t told, uint64_t deadline_ns)
{
    uint64_t now = sys_now_ns();
    w->slice_ns = fmp_death_slice_ns(w->shm, now, w->slice_ns, FIRST_SLICE_NS, FMP_RECHECK_NS);
    uint64_t slice_end = sys_slice_end_ns(now, deadline_ns, w->slice_ns);
    int rc = fmp_ec_os.wait(&w->shm->word, seen, told, slice_end);
    FMP_FAULT("lock:woken");
    fmp_spin_slept(&w->spin, rc == -ETIMEDOUT ? FMP_NEVER : sys_now_ns() - now);
    w->bits = FMP_LOCK_WAITERS;
    w->has_looked = rc == -ETIMEDOUT || rc == FMP_DEATH_TOLD;
    if (take_or_mark(w, &seen)) { /* marked even if we leave now: the wake-up may have been meant for another sleeper */
        return 0;
    }
    if (!w->has_looked) {
        w->slice_ns = 0; /* it has changed hands */
        return -EINTR;
    }
    bool is_over = rc == -ETIMEDOUT && slice_end == deadline_ns;
    rc = rob_the_dead(w);
    return rc != 0 ? rc : is_over ? -ETIMEDOUT : -EINTR;
}

int
fmp_lock_acquire(struct fmp_lock_waiter *w, uint64_t deadline_ns)
{
    uint32_t seen;
    if (take(w)) {
        return 0;
    }
    if (deadline_ns == 0) {
        int rc = rob_the_dead(w);
        return rc != 0 ? rc : -ETIMEDOUT;
    }
    /* Not before a long sleep: a signal that comes while this thread spins does not end that. */
    uint32_t told = fmp_death_count(w->shm);
    if ((!w->has_looked && fmp_spin_until(take, w, &w->spin)) || take_or_mark(w, &seen)) {
        return 0;
    }
    return sleep_once(w, seen, told, deadline_ns);
}

bool
fmp_lock_spin(struct fmp_lock_waiter *w)
{
    if (!fmp_spin_helps() || fmp_lock_owner(w->shm) == w->region->me) {
        return take(w);
    }
    for (unsigned i = 0; i < SHORT_SPIN; i++) {
        if (take(w)) {
            return true;
        }
        fmp_cpu_relax();
    }
    return false;
}

void
fmp_lock_wake(struct fmp_lock_shm *lock)
{
    (void)fmp_ec_os.wake(&lock->word, 1); /* fails only for a bad address */
}

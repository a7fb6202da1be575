/* The event count; see eventcount.h. */
#include "sync/eventcount.h"

#include <sched.h>

#include "base/fault.h"
#include "sys/clock.h"
#include "sys/futex.h"
#include "sys/process.h"

struct fmp_ec_os fmp_ec_os = {.wait = fmp_death_wait, .wake = sys_futex_wake};

#define COUNT_MASK UINT64_C(0xffff)
#define GEN_ONE (UINT64_C(1) << 16)
#define GEN_MASK (COUNT_MASK << 16)
#define SEQ_ONE (UINT64_C(1) << 32)

/* Looks before the first yield: about the time of one cache line's journey; none on a single core. */
#define SPIN_LOOKS 64
/* Yields before the sleep: 0.3 us each when nobody else wants the core, and when somebody does, the yield is what lets
 * him run. */
#define YIELD_LOOKS 100
/* The part of the budget that is spent on anybody: 5 to 10 us. */
#define SMALL_PART 8
/* A sleep that was over after this long, most of which is the wake-up itself: spinning on would have been cheaper. */
#define SOON_NS (FMP_NS_PER_MS / 5)
/* A sleep after which there is nothing to be expected soon. */
#define LONG_NS FMP_NS_PER_MS
/* After so many whole budgets in vain, and so many sleeps that were soon over, the whole is tried again. */
#define VAIN_LIMIT 4
#define WARY_SLEEPS 32

/* The futex is the half that holds seq. */
static _Atomic uint32_t *
seq_half(struct fmp_ec_shm *ec)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (_Atomic uint32_t *)&ec->word + 1;
#else
    return (_Atomic uint32_t *)&ec->word;
#endif
}

bool
fmp_spin_helps(void)
{
    static _Atomic int cpus; /* relaxed: whoever computes it gets the same */
    int n = fmp_load_relaxed(&cpus);
    if (n == 0) {
        n = sys_usable_cpus();
        fmp_store_relaxed(&cpus, n);
    }
    return n > 1;
}

bool
fmp_spin_until(fmp_ec_ready_fn ready, void *ctx, struct fmp_spin *spin)
{
    unsigned part = spin->whole ? 1 : SMALL_PART;
    for (unsigned i = fmp_spin_helps() ? 0 : SPIN_LOOKS; i < SPIN_LOOKS / part; i++) {
        if (ready(ctx)) {
            spin->vain = 0;
            return true;
        }
        fmp_cpu_relax();
    }
    for (unsigned i = 0; i < YIELD_LOOKS / part; i++) {
        if (ready(ctx)) {
            spin->vain = 0;
            return true;
        }
        sched_yield();
    }
    if (spin->whole && ++spin->vain >= VAIN_LIMIT) {
        *spin = (struct fmp_spin){.held_up = spin->held_up, .wary = WARY_SLEEPS};
    }
    return ready(ctx);
}

void
fmp_spin_slept(struct fmp_spin *spin, uint64_t slept_ns)
{
    if (slept_ns >= LONG_NS) {
        spin->whole = false;
        spin->vain = 0;
    } else if (slept_ns <= SOON_NS) {
        spin->whole = spin->wary == 0;
        spin->wary -= spin->wary > 0;
    }
}

uint64_t
fmp_spin_period_ns(unsigned periods_before)
{
    uint64_t period_ns = periods_before == 0 ? FMP_RECHECK_NS : FMP_IDLE_RECHECK_NS;
    for (unsigned i = 1; i < periods_before && period_ns < FMP_LONGEST_RECHECK_NS; i++) {
        period_ns *= 2;
    }
    return period_ns;
}

void
fmp_spin_slept_through(struct fmp_spin *spin, unsigned periods_before)
{
    spin->idle = (uint8_t)(periods_before < UINT8_MAX ? periods_before + 1 : UINT8_MAX);
}

/* Ends a registration made when `word` was seen, unless a healer has forgotten it already. */
static void
leave(struct fmp_ec_shm *ec, uint64_t registered)
{
    uint64_t word = fmp_load_relaxed(&ec->word);
    do {
        if (((word ^ registered) & GEN_MASK) != 0 || (word & COUNT_MASK) == 0) {
            return;
        }
    } while (!fmp_cas_relaxed(&ec->word, &word, word - 1)); /* relaxed: a count alone, it publishes nothing */
}

bool
fmp_ec_never_held_up(void *ctx)
{
    (void)ctx;
    return false;
}

/* What fmp_ec_await was called with. */
struct wait {
    struct fmp_ec_shm *ec;
    fmp_ec_ready_fn ready;
    void *ctx;
    uint64_t deadline_ns;
    struct fmp_spin *spin;
};

/* Is the sleep to come one that only a death, a wake-up or a signal ends? A signal that came while this thread spun
 * does not: Python's handler has noted it, and nobody has looked. */
static bool
is_to_look_at_signals(const struct wait *w, uint64_t now_ns)
{
    return w->spin->held_up != NULL && fmp_death_is_told(w->ec) && w->deadline_ns - now_ns > FMP_RECHECK_NS &&
           fmp_death_in_main_thread();
}

/* Registers, looks, sleeps once. `idle` is what spin->idle was before the wait. As fmp_ec_await. */
static int
sleep_once(const struct wait *w, uint64_t now_ns, unsigned idle)
{
    struct fmp_ec_shm *ec = w->ec;
    struct fmp_spin *spin = w->spin;
    uint64_t period_ns = fmp_spin_period_ns(idle);
    uint32_t told = fmp_death_count(ec);
    /* E2: registered before the last look at the condition. Pairs with E1 in fmp_ec_notify. */
    uint64_t registered = fmp_fetch_add_seq_cst(&ec->word, 1);
    fmp_fence_seq_cst(); /* E2: the look itself may be of any order */
    FMP_FAULT("eventcount:registered");
    if (w->ready(w->ctx)) {
        leave(ec, registered);
        return 0;
    }
    if (spin->held_up != NULL && !spin->held_up(w->ctx)) {
        period_ns = fmp_death_period_ns(ec, now_ns, period_ns);
    }
    uint64_t slice_end = sys_slice_end_ns(now_ns, w->deadline_ns, period_ns);
    int rc = fmp_ec_os.wait(seq_half(ec), (uint32_t)(registered >> 32), told, slice_end);
    FMP_FAULT("eventcount:woken");
    leave(ec, registered);
    fmp_spin_slept(spin, rc == -ETIMEDOUT ? FMP_NEVER : sys_now_ns() - now_ns);
    if (w->ready(w->ctx)) {
        return 0;
    }
    if (rc == -ETIMEDOUT && slice_end == w->deadline_ns) {
        return -ETIMEDOUT;
    }
    if (rc == -ETIMEDOUT) {
        fmp_spin_slept_through(spin, idle);
    }
    return -EINTR;
}

int
fmp_ec_await(struct fmp_ec_shm *ec, fmp_ec_ready_fn ready, void *ctx, uint64_t deadline_ns, struct fmp_spin *spin)
{
    const struct wait w = {.ec = ec, .ready = ready, .ctx = ctx, .deadline_ns = deadline_ns, .spin = spin};
    unsigned idle = spin->idle;
    bool settled = spin->settled || idle != 0;
    spin->idle = 0;
    spin->settled = false;
    if (ready(ctx)) {
        return 0;
    }
    if (deadline_ns == 0) {
        return -ETIMEDOUT;
    }
    if (!settled && fmp_spin_until(ready, ctx, spin)) {
        return 0;
    }
    uint64_t now_ns = sys_now_ns();
    if (now_ns >= deadline_ns) {
        return -ETIMEDOUT;
    }
    if (!settled && is_to_look_at_signals(&w, now_ns)) {
        spin->settled = true;
        return -EINTR;
    }
    return sleep_once(&w, now_ns, idle);
}

/*
 * Nobody slept after `bumped` was written: those counted are dead, or about to see EAGAIN and to register anew, so they
 * are forgotten. Unless one has left and another has registered meanwhile, which the CAS cannot see, and he sleeps
 * already: therefore whoever sleeps now is woken, to register in the new generation.
 */
static void
heal(struct fmp_ec_shm *ec, uint64_t bumped)
{
    uint64_t healed = (bumped + SEQ_ONE) & ~COUNT_MASK;
    healed = (healed & ~GEN_MASK) | ((healed + GEN_ONE) & GEN_MASK);
    if (fmp_cas_seq_cst(&ec->word, &bumped, healed)) { /* E4: as E3 */
        FMP_FAULT("eventcount:healed");
        fmp_ec_os.wake(seq_half(ec), INT32_MAX);
    }
}

void
fmp_ec_notify_slow(struct fmp_ec_shm *ec, uint64_t word, int n)
{
    uint64_t bumped;
    do {
        if ((word & COUNT_MASK) == 0) {
            return;
        }
        bumped = word + SEQ_ONE;
    } while (!fmp_cas_seq_cst(&ec->word, &word,
                              bumped)); /* E3: a sleeper-to-be sees another seq. Pairs with the kernel's look. */
    FMP_FAULT("eventcount:bumped");
    if (fmp_ec_os.wake(seq_half(ec), n) == 0) {
        heal(ec, bumped);
    }
}

/*
 * A worker that was forked and has not begun: it sleeps, and nothing of Python has run in it yet. What Python does
 * first in a new process (its own at-fork handlers, the process object's bootstrap) writes to hundreds of pages, each
 * of which has to be copied then; a worker that never gets a task need not pay for it. See fmp_runtime_fork_dormant.
 * Called by: py/dormant.c, and the parent's side of the pool.
 *
 * The first worker of a pool does not sleep: a pool is made for a task at least, and so it begins while the parent
 * forks the others.
 *
 * The parent says how many are to begin: a worker for each task that is not answered, as far as there are any. One that
 * has begun and sleeps again gets the task before another begins.
 *
 * It is nobody yet for the parent: its line is empty, it takes nothing out of the ring, and it recovers no cells. It
 * does not sleep where the workers that have begun do, so it never gets a wake-up that was meant for one of them. A
 * wake-up of its own that is lost with a killed process is made good by the end of its sleep.
 */
#include "base/fault.h"
#include "pool/crew.h"
#include "sys/clock.h"
#include "sys/process.h"

/* Then it begins in any case: a pool that lives on is one whose workers are ready. Signals that have a handler of
 * Python's are blocked so long. */
#define DORMANT_NS (50 * FMP_NS_PER_MS)

void
fmp_crew_expect_dormant(const struct fmp_dormant_worker *worker)
{
    worker->crew->asleep += !worker->at_once;
}

void
fmp_crew_wake_dormant_slow(struct fmp_crew *crew)
{
    crew->asleep--;
    (void)fmp_fetch_add_relaxed(&crew->shm->wanted, 1); /* relaxed: who is just falling asleep sees it (E1, E2) */
    fmp_ec_notify(&crew->shm->wake, 1);
}

void
fmp_crew_close(struct fmp_crew *crew)
{
    /* W4: pairs with W5. Who is just falling asleep is woken (E1, E2). */
    fmp_store_release(&crew->shm->is_closed, 1);
    fmp_ec_notify(&crew->shm->wake, INT32_MAX);
}

static bool
is_closed(const struct fmp_crew *crew)
{
    return fmp_load_acquire(&crew->shm->is_closed) != 0; /* W5: what the parent did before W4 */
}

static bool
has_reason_to_wake(void *ctx)
{
    const struct fmp_crew *crew = ctx;
    return is_closed(crew) || fmp_load_relaxed(&crew->shm->wanted) != 0; /* relaxed: as below */
}

static bool
claim_to_begin(struct fmp_crew *crew)
{
    uint32_t wanted = fmp_load_relaxed(&crew->shm->wanted); /* relaxed, both: a count, which publishes nothing */
    while (wanted != 0) {
        if (fmp_cas_relaxed(&crew->shm->wanted, &wanted, wanted - 1)) {
            return true;
        }
    }
    return false;
}

static void
await_work(struct fmp_crew *crew)
{
    struct fmp_spin spin = {.idle = true}; /* it does not spin: there may be many */
    uint64_t until = sys_now_ns() + DORMANT_NS;
    while (!is_closed(crew) && !claim_to_begin(crew) && sys_now_ns() < until) {
        (void)fmp_ec_await(&crew->shm->wake, has_reason_to_wake, crew, until, &spin);
    }
}

bool
fmp_worker_wakes(void *dormant_worker)
{
    const struct fmp_dormant_worker *me = dormant_worker;
    bool has_parent = sys_die_with_parent(me->parent) == 0;
    FMP_FAULT("dormant:asleep");
    if (has_parent && !me->at_once) {
        await_work(me->crew);
    }
    FMP_FAULT("dormant:woken"); /* nobody else has been woken instead */
    return has_parent && !is_closed(me->crew);
}

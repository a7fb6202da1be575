/*
 * A worker that was forked and has not begun: it sleeps, and nothing of Python has run in it yet. What Python does
 * first in a new process (its own at-fork handlers, the process object's bootstrap) writes to hundreds of pages, each
 * of which has to be copied then; a worker that never gets a task need not pay for it. See fmp_runtime_fork_dormant.
 * Called by: py/dormant.c, and the parent's and the worker's side of the pool.
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
fmp_crew_expect_dormant(struct fmp_crew *crew)
{
    (void)fmp_fetch_add_relaxed(&crew->shm->dormant, 1); /* relaxed: fork publishes it */
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

/* Are there more tasks than workers that are on their way to them? */
static bool
is_needed(struct fmp_crew *crew)
{
    /* relaxed: a worker too many, or one that sleeps to the end of its time, does no harm */
    return fmp_ring_count(&crew->tasks.ring) > fmp_load_relaxed(&crew->shm->beginning);
}

static bool
has_reason_to_wake(void *ctx)
{
    return is_closed(ctx) || is_needed(ctx);
}

/* One task wakes one worker, though it lies in the ring until that one has begun. */
static bool
claim_to_begin(struct fmp_crew *crew)
{
    uint32_t beginning = fmp_load_relaxed(&crew->shm->beginning); /* relaxed, all: counts, which publish nothing */
    while (fmp_ring_count(&crew->tasks.ring) > beginning) {
        if (fmp_cas_relaxed(&crew->shm->beginning, &beginning, beginning + 1)) {
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
    while (!is_closed(crew) && !claim_to_begin(crew)) {
        if (sys_now_ns() >= until) {
            (void)fmp_fetch_add_relaxed(&crew->shm->beginning, 1);
            return;
        }
        (void)fmp_ec_await(&crew->shm->wake, has_reason_to_wake, crew, until, &spin);
    }
}

bool
fmp_worker_wakes(void *dormant_worker)
{
    const struct fmp_dormant_worker *me = dormant_worker;
    struct fmp_crew *crew = me->crew;
    bool has_parent = sys_die_with_parent(me->parent) == 0;
    FMP_FAULT("dormant:asleep");
    if (has_parent) {
        await_work(crew);
    }
    FMP_FAULT("dormant:woken"); /* it counts as one that is beginning */
    (void)fmp_fetch_sub_relaxed(&crew->shm->dormant, 1);
    crew->was_dormant = true;
    FMP_FAULT("dormant:leaving");
    return has_parent && !is_closed(crew);
}

void
fmp_worker_begins(struct fmp_crew *crew)
{
    if (crew->was_dormant) {
        (void)fmp_fetch_sub_relaxed(&crew->shm->beginning, 1);
        crew->was_dormant = false;
    }
}

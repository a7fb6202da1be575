/*
 * Workers that are not there before there is work for them. A fork costs the parent as much as hundreds of small tasks,
 * more in a large one, and what Python does first in a new process (its own at-fork handlers, the process object's
 * bootstrap) writes to hundreds of pages, each of which has to be copied then. So the parent of a new pool forks two
 * processes: the first worker, which begins at once, as a pool is made for a task at least; and the template, which
 * sleeps without Python and forks the other workers as its siblings, from what the parent was. Called by: py/dormant.c,
 * and the parent's side of the pool.
 *
 * The parent says how many are to be there: one for each task that is not answered, as far as there are any. One that
 * sleeps for want of work gets the task before another is made. After a while all are made: a pool that lives on is one
 * whose workers are ready.
 *
 * Who is there: the kernel writes the pid to the worker's line before that worker runs, so the parent finds it also if
 * the template is killed right then. A place without a pid is made by the parent only when the template has ended for
 * certain. A crew that is closed gets no more workers: one that has been forked and sees that ends by itself, and one
 * that does not has its pid in its line already when fmp_crew_close returns. tests/model/ondemand.pml.
 *
 * A wake-up that is lost with a killed process is made good by the end of the template's sleep.
 */
#include "base/fault.h"
#include "pool/crew.h"
#include "sys/clock.h"
#include "sys/process.h"

void
fmp_crew_expect_workers(struct fmp_crew *crew)
{
    crew->asleep = crew->max_workers - 1;
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
    /* W4: pairs with W5. Who is just falling asleep is woken, and its fence (E1) comes before any look at a pid (W6).
     */
    fmp_store_release(&crew->shm->is_closed, 1);
    fmp_ec_notify(&crew->shm->wake, INT32_MAX);
}

static bool
is_closed(const struct fmp_crew *crew)
{
    return fmp_load_acquire(&crew->shm->is_closed) != 0; /* W5: what the parent did before W4 */
}

struct look {
    const struct fmp_crew *crew;
    uint32_t place; /* of the next worker */
};

static bool
is_wanted(const struct look *look)
{
    return fmp_load_relaxed(&look->crew->shm->wanted) >= look->place; /* relaxed: a count, which publishes nothing */
}

static bool
has_reason_to_wake(void *ctx)
{
    const struct look *look = ctx;
    return is_closed(look->crew) || is_wanted(look);
}

/* In the template. Is the worker at this place to be made? */
static bool
await_work(struct fmp_crew *crew, uint32_t place, uint64_t until)
{
    struct look look = {.crew = crew, .place = place};
    struct fmp_spin spin = {.idle = true}; /* it does not spin: the others may need the core */
    while (!has_reason_to_wake(&look) && sys_now_ns() < until) {
        (void)fmp_ec_await(&crew->shm->wake, has_reason_to_wake, &look, until, &spin);
    }
    return !is_closed(crew);
}

int
fmp_crew_first_wakes(void *dormant_child)
{
    const struct fmp_dormant_child *me = dormant_child;
    return sys_die_with_parent(me->parent) == 0 ? 0 : -1;
}

/* In a worker that the template has just forked. */
static int
begin(const struct fmp_dormant_child *me, uint32_t place)
{
    bool has_parent = sys_die_with_parent(me->parent) == 0;
    FMP_FAULT("sibling:begins"); /* the parent may not have met it yet */
    return has_parent && !is_closed(me->crew) ? (int)place : -1;
}

int
fmp_crew_fork_workers(const struct fmp_dormant_child *me)
{
    struct fmp_crew *crew = me->crew;
    uint64_t until = sys_now_ns() + me->patience_ns;
    if (sys_die_with_parent(me->parent) != 0) {
        return -1;
    }
    FMP_FAULT("dormant:asleep");
    for (uint32_t place = 1; place < crew->max_workers; place++) {
        if (!await_work(crew, place, until)) {
            return -1;
        }
        FMP_FAULT("dormant:woken");
        pid_t pid = fmp_runtime_fork_dormant_sibling((pid_t *)&crew->shm->workers[place].pid);
        if (pid == 0) {
            return begin(me, place);
        }
        if (pid < 0) {
            return -1;
        }
        FMP_FAULT("dormant:made");                  /* who waits for it is not told */
        fmp_store_relaxed(&crew->shm->made, place); /* relaxed: a count, which publishes nothing */
        fmp_ec_notify(&crew->shm->progress, INT32_MAX);
    }
    return 0;
}

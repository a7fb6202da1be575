/* Semaphore, event and barrier: their words, processes that wait, and processes that are killed at every step. */
#include "sync_kit.h"

#include "sync/barrier.h"
#include "sync/event.h"
#include "sync/semaphore.h"

struct shared {
    struct fmp_semaphore_shm semaphore;
    FMP_ALIGNED struct fmp_event_shm event;
    FMP_ALIGNED struct fmp_barrier_shm barrier;
    FMP_ALIGNED _Atomic uint32_t begun, done, broken, bad;
    _Atomic uint32_t acts;
};

/* ---- semaphore ---- */

static int
acquire(struct shared *s, uint64_t ms)
{
    struct fmp_spin spin = {.wary = UINT8_MAX};
    uint64_t deadline_ns = ms == 0 ? 0 : kit_in_ms(ms);
    int rc;
    do {
        rc = fmp_semaphore_acquire(&s->semaphore, deadline_ns, &spin);
    } while (rc == -EINTR);
    return rc;
}

static void
test_semaphore_counts(void)
{
    struct shared *s = kit_open();
    fmp_semaphore_init(&s->semaphore, 2, 2);
    CHECK_EQ(fmp_semaphore_release(&s->semaphore), -EOVERFLOW);
    CHECK(fmp_semaphore_try(&s->semaphore));
    CHECK_OK(acquire(s, 0));
    CHECK_EQ(fmp_semaphore_value(&s->semaphore), 0);
    CHECK(!fmp_semaphore_try(&s->semaphore));
    CHECK_EQ(acquire(s, 0), -ETIMEDOUT);
    CHECK_EQ(acquire(s, 30), -ETIMEDOUT);
    CHECK_OK(fmp_semaphore_release(&s->semaphore));
    CHECK_OK(fmp_semaphore_release(&s->semaphore));
    CHECK_EQ(fmp_semaphore_release(&s->semaphore), -EOVERFLOW);
    CHECK_EQ(fmp_semaphore_value(&s->semaphore), 2);
    kit_close();
}

enum { UNITS = 1000 };

static void
take_units(void *arg)
{
    struct shared *s = arg;
    for (int i = 0; i < UNITS; i++) {
        CHECK_OK(acquire(s, 30000));
        s->done++;
    }
}

/* As many units as are released are acquired, however many wait: each sleeper is woken by its own unit. */
static void
test_semaphore_loses_no_unit(void)
{
    struct shared *s = kit_open();
    fmp_semaphore_init(&s->semaphore, 0, 4 * UNITS);
    pid_t pids[3];
    for (int i = 0; i < 3; i++) {
        pids[i] = kit_spawn(take_units, s);
    }
    int64_t start = check_now_ns();
    for (int i = 0; i < 3 * UNITS; i++) {
        CHECK_OK(fmp_semaphore_release(&s->semaphore));
        if (i % 100 == 0) {
            CHECK_UNTIL(fmp_semaphore_value(&s->semaphore) == 0, 30000);
        }
    }
    for (int i = 0; i < 3; i++) {
        kit_join(pids[i]);
    }
    CHECK_EQ(fmp_semaphore_value(&s->semaphore), 0);
    CHECK_EQ(s->done, 3 * UNITS);
    CHECK(check_now_ns() - start < 30000000000);
    kit_close();
}

static void
take_one(void *arg)
{
    struct shared *s = arg;
    s->begun++;
    CHECK_OK(acquire(s, 30000));
    s->done++;
}

static void
release_one(void *arg)
{
    struct shared *s = arg;
    CHECK_OK(fmp_semaphore_release(&s->semaphore));
}

/* A victim asleep, or with the wake-up in its hand, or with the unit: the others go on. */
static void
check_semaphore_victim(const char *point, unsigned lost)
{
    struct shared *s = kit_open();
    fmp_semaphore_init(&s->semaphore, 0, 100);
    pid_t victim = kit_spawn_victim(take_one, s, point, 1);
    CHECK_UNTIL(s->begun == 1, 30000);
    check_until_asleep(victim); /* or it is dead */
    pid_t other = kit_spawn(take_one, s);
    CHECK_UNTIL(s->begun == 2, 30000);
    check_until_asleep(other);
    for (unsigned i = 0; i < 1 + lost; i++) {
        CHECK_OK(fmp_semaphore_release(&s->semaphore));
    }
    CHECK_KILLED(victim, SIGKILL);
    kit_join(other);
    CHECK_EQ(s->done, 1);
    CHECK_EQ(fmp_semaphore_value(&s->semaphore), 0);
    kit_close();
}

static void
test_semaphore_victims(void)
{
    check_semaphore_victim("eventcount:registered", 0);
    check_semaphore_victim("eventcount:woken", 0);
    check_semaphore_victim("semaphore:taken", 1); /* what the dead had acquired stays acquired */
    struct shared *s = kit_open();
    fmp_semaphore_init(&s->semaphore, 0, 100);
    pid_t other = kit_spawn(take_one, s);
    CHECK_UNTIL(s->begun == 1, 30000);
    check_until_asleep(other);
    CHECK_KILLED(kit_spawn_victim(release_one, s, "semaphore:released", 1), SIGKILL);
    kit_join(other); /* at its next look */
    kit_close();
}

/* ---- event ---- */

static int
await_event(struct shared *s, uint64_t ms)
{
    struct fmp_event_waiter w = fmp_event_begin(&s->event);
    struct fmp_spin spin = {.wary = UINT8_MAX};
    uint64_t deadline_ns = ms == 0 ? 0 : kit_in_ms(ms);
    int rc;
    s->begun++;
    do {
        rc = fmp_ec_await(&s->event.changed, fmp_event_passed, &w, deadline_ns, &spin);
    } while (rc == -EINTR);
    return rc;
}

static void
test_event_states(void)
{
    struct shared *s = kit_open();
    CHECK(!fmp_event_is_set(&s->event));
    CHECK_EQ(await_event(s, 0), -ETIMEDOUT);
    CHECK_EQ(await_event(s, 20), -ETIMEDOUT);
    fmp_event_set(&s->event);
    fmp_event_set(&s->event);
    CHECK(fmp_event_is_set(&s->event));
    CHECK_OK(await_event(s, 0));
    fmp_event_clear(&s->event);
    fmp_event_clear(&s->event);
    CHECK(!fmp_event_is_set(&s->event));
    CHECK_EQ(await_event(s, 0), -ETIMEDOUT); /* the set of old is over */
    kit_close();
}

static void
test_event_set_and_cleared_at_once(void)
{
    struct shared *s = kit_open();
    struct fmp_event_waiter before = fmp_event_begin(&s->event);
    fmp_event_set(&s->event);
    struct fmp_event_waiter during = fmp_event_begin(&s->event);
    fmp_event_clear(&s->event);
    struct fmp_event_waiter after = fmp_event_begin(&s->event);
    CHECK(fmp_event_passed(&before));
    CHECK(fmp_event_passed(&during));
    CHECK(!fmp_event_passed(&after));
    kit_close();
}

static void
wait_for_event(void *arg)
{
    struct shared *s = arg;
    CHECK_OK(await_event(s, 30000));
    s->done++;
}

static void
set_event(void *arg)
{
    struct shared *s = arg;
    fmp_event_set(&s->event);
}

static void
test_event_wakes_all(void)
{
    struct shared *s = kit_open();
    pid_t pids[4];
    for (int i = 0; i < 4; i++) {
        pids[i] = kit_spawn(wait_for_event, s);
    }
    for (int i = 0; i < 4; i++) {
        check_until_asleep(pids[i]);
    }
    fmp_event_set(&s->event);
    fmp_event_clear(&s->event); /* they were there */
    for (int i = 0; i < 4; i++) {
        kit_join(pids[i]);
    }
    CHECK_EQ(s->done, 4);
    kit_close();
}

static void
test_event_victims(void)
{
    struct shared *s = kit_open();
    CHECK_KILLED(kit_spawn_victim(wait_for_event, s, "eventcount:registered", 1), SIGKILL);
    s->begun = 0;
    pid_t waiter = kit_spawn(wait_for_event, s);
    check_until_asleep(waiter);
    CHECK_KILLED(kit_spawn_victim(set_event, s, "event:set", 1), SIGKILL);
    kit_join(waiter); /* at its next look, as the setter did not wake it */
    CHECK(fmp_event_is_set(&s->event));
    kit_close();
}

/* ---- barrier ---- */

static struct fmp_barrier_waiter
party(struct shared *s, uint32_t parties, bool acts)
{
    return (struct fmp_barrier_waiter){
        .shm = &s->barrier, .region = &kit_region, .parties = parties, .acts = acts, .spin.wary = UINT8_MAX};
}

static int
wait_out(struct fmp_barrier_waiter *w, uint64_t deadline_ns)
{
    int rc;
    do {
        rc = fmp_barrier_wait(w, deadline_ns);
    } while (rc == -EINTR);
    return rc;
}

/* As the Python type does it: 0, -EPIPE broken, -ETIMEDOUT. */
static int
pass(struct shared *s, struct fmp_barrier_waiter *w, uint64_t deadline_ns)
{
    for (;;) {
        switch (fmp_barrier_arrive(w)) {
        case FMP_BARRIER_PASSES:
            return 0;
        case FMP_BARRIER_ACTS:
            s->acts++;
            return fmp_barrier_trip(w);
        case FMP_BARRIER_WAITS:
            return wait_out(w, deadline_ns);
        case FMP_BARRIER_BROKEN:
            return -EPIPE;
        case FMP_BARRIER_COMES:
            (void)wait_out(w, deadline_ns);
        }
    }
}

enum { PARTIES = 3, ROUNDS = 300 };

static void
run_rounds(struct shared *s, bool acts)
{
    struct fmp_barrier_waiter w = party(s, PARTIES, acts);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        s->begun++;
        CHECK_OK(pass(s, &w, kit_in_ms(30000)));
        CHECK(w.index < PARTIES);
        s->bad += s->begun < PARTIES * (i + 1); /* somebody has not come yet */
    }
}

static void
rounds(void *arg)
{
    run_rounds(arg, false);
}

static void
rounds_with_action(void *arg)
{
    run_rounds(arg, true);
}

static void
check_rounds(void (*body)(void *), uint32_t acts)
{
    struct shared *s = kit_open();
    pid_t pids[PARTIES];
    for (int i = 0; i < PARTIES; i++) {
        pids[i] = kit_spawn(body, s);
    }
    for (int i = 0; i < PARTIES; i++) {
        kit_join(pids[i]);
    }
    CHECK_EQ(s->bad, 0);
    CHECK_EQ(s->acts, acts);
    CHECK_EQ(s->barrier.word >> 40, ROUNDS);
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, PARTIES), 0);
    kit_close();
}

static void
test_barrier_rounds(void)
{
    check_rounds(rounds, 0);
    check_rounds(rounds_with_action, ROUNDS);
}

static void
arrive_and_tell(void *arg)
{
    struct shared *s = arg;
    struct fmp_barrier_waiter w = party(s, PARTIES, true);
    int rc = pass(s, &w, kit_in_ms(30000));
    *(rc == 0 ? &s->done : &s->broken) += 1;
}

static void
test_barrier_timeout_breaks_it(void)
{
    struct shared *s = kit_open();
    pid_t pid = kit_spawn(arrive_and_tell, s);
    CHECK_UNTIL(fmp_barrier_waiting(&s->barrier, PARTIES) == 1, 30000);
    struct fmp_barrier_waiter w = party(s, PARTIES, true);
    CHECK_EQ(pass(s, &w, kit_in_ms(30)), -ETIMEDOUT);
    CHECK_EQ(w.index, 1);
    kit_join(pid);
    CHECK_EQ(s->broken, 1);
    CHECK(fmp_barrier_is_broken(&s->barrier));
    CHECK_EQ(pass(s, &w, FMP_NEVER), -EPIPE);
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, PARTIES), 0);
    kit_close();
}

static void
check_broken_by(bool reset)
{
    struct shared *s = kit_open();
    pid_t pids[2] = {kit_spawn(arrive_and_tell, s), kit_spawn(arrive_and_tell, s)};
    check_until_asleep(pids[0]);
    check_until_asleep(pids[1]);
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, PARTIES), 2);
    reset ? fmp_barrier_reset(&s->barrier, &kit_region) : fmp_barrier_abort(&s->barrier);
    kit_join(pids[0]);
    kit_join(pids[1]);
    CHECK_EQ(s->broken, 2);
    CHECK_EQ(fmp_barrier_is_broken(&s->barrier), !reset);
    fmp_barrier_abort(&s->barrier);
    fmp_barrier_reset(&s->barrier, &kit_region);
    CHECK(!fmp_barrier_is_broken(&s->barrier));
    struct fmp_barrier_waiter alone = party(s, 1, true);
    CHECK_OK(pass(s, &alone, 0));
    kit_close();
}

static void
test_barrier_abort_and_reset(void)
{
    check_broken_by(false);
    check_broken_by(true);
}

static void
test_barrier_withdraw(void)
{
    struct shared *s = kit_open();
    struct fmp_barrier_waiter w = party(s, 2, false);
    CHECK_EQ(fmp_barrier_arrive(&w), FMP_BARRIER_WAITS);
    fmp_barrier_withdraw(&w);
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, 2), 0);
    CHECK_EQ(fmp_barrier_arrive(&w), FMP_BARRIER_WAITS);
    struct fmp_barrier_waiter last = party(s, 2, false);
    CHECK_EQ(fmp_barrier_arrive(&last), FMP_BARRIER_PASSES);
    fmp_barrier_withdraw(&w); /* too late, and harmless */
    CHECK_OK(fmp_barrier_wait(&w, 0));
    CHECK_EQ(s->barrier.word >> 40, 1);
    kit_close();
}

/* A fourth party comes while the action of the first three runs: it belongs to the next generation. */
static void
test_barrier_late_party(void)
{
    struct shared *s = kit_open();
    struct fmp_barrier_waiter actor = party(s, 1, true), late = party(s, 1, true);
    CHECK_EQ(fmp_barrier_arrive(&actor), FMP_BARRIER_ACTS);
    CHECK_EQ(fmp_barrier_arrive(&late), FMP_BARRIER_COMES);
    fmp_barrier_reset(&s->barrier, &kit_region); /* does not disturb the living actor */
    CHECK_OK(fmp_barrier_trip(&actor));
    CHECK_OK(fmp_barrier_wait(&late, 0));
    CHECK_EQ(fmp_barrier_arrive(&late), FMP_BARRIER_ACTS);
    fmp_barrier_abort(&s->barrier);
    CHECK_EQ(fmp_barrier_trip(&late), -EPIPE);
    kit_close();
}

/* A killed party has arrived; one that is killed in its action breaks the barrier; nobody waits for the dead. */
static void
test_barrier_victims(void)
{
    struct shared *s = kit_open();
    CHECK_KILLED(kit_spawn_victim(arrive_and_tell, s, "barrier:arrived", 1), SIGKILL);
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, PARTIES), 1);
    pid_t other = kit_spawn(arrive_and_tell, s);
    check_until_asleep(other);
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, PARTIES), 2);
    CHECK_KILLED(kit_spawn_victim(arrive_and_tell, s, "barrier:acting", 1), SIGKILL);
    kit_join(other);
    CHECK_EQ(s->broken, 1);
    CHECK(fmp_barrier_is_broken(&s->barrier));
    fmp_barrier_reset(&s->barrier, &kit_region);
    pid_t pids[2] = {kit_spawn(arrive_and_tell, s), kit_spawn(arrive_and_tell, s)};
    check_until_asleep(pids[0]);
    check_until_asleep(pids[1]);
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, PARTIES), 2);
    CHECK_KILLED(kit_spawn_victim(arrive_and_tell, s, "barrier:ended", 1), SIGKILL);
    kit_join(pids[0]); /* at their next look */
    kit_join(pids[1]);
    CHECK_EQ(s->done, 2);
    kit_close();
}

static void
test_barrier_reset_frees_it_from_a_dead_actor(void)
{
    struct shared *s = kit_open();
    struct fmp_barrier_waiter w = party(s, 1, true);
    CHECK_OK(pass(s, &w, 0));
    pid_t pids[2] = {kit_spawn_victim(arrive_and_tell, s, "barrier:arrived", 1),
                     kit_spawn_victim(arrive_and_tell, s, "barrier:arrived", 1)};
    CHECK_KILLED(pids[0], SIGKILL);
    CHECK_KILLED(pids[1], SIGKILL);
    CHECK_KILLED(kit_spawn_victim(arrive_and_tell, s, "barrier:acting", 1), SIGKILL);
    fmp_barrier_reset(&s->barrier, &kit_region);
    CHECK(!fmp_barrier_is_broken(&s->barrier));
    CHECK_EQ(fmp_barrier_waiting(&s->barrier, PARTIES), 0);
    CHECK_OK(pass(s, &w, 0));
    kit_close();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_semaphore_counts);
    RUN(test_semaphore_loses_no_unit);
    RUN(test_semaphore_victims);
    RUN(test_event_states);
    RUN(test_event_set_and_cleared_at_once);
    RUN(test_event_wakes_all);
    RUN(test_event_victims);
    RUN(test_barrier_rounds);
    RUN(test_barrier_timeout_breaks_it);
    RUN(test_barrier_abort_and_reset);
    RUN(test_barrier_withdraw);
    RUN(test_barrier_late_party);
    RUN(test_barrier_victims);
    RUN(test_barrier_reset_frees_it_from_a_dead_actor);
    return check_done();
}

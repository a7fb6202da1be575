/* The lock: states, exclusion, owners that leave, owners and waiters that are killed at every step. */
#include <sched.h>

#include "sync/lock.h"
#include "sync_kit.h"

struct shared {
    struct fmp_lock_shm lock;
    FMP_ALIGNED _Atomic uint32_t ready; /* children that hold the lock, or have begun */
    FMP_ALIGNED uint32_t inside;        /* plain: the identity inside the section, only the lock guards it */
    uint32_t counter;                   /* plain too */
    _Atomic uint32_t damage;            /* sections that found somebody inside who had not died there */
    _Atomic uint32_t inherited;
};

static struct fmp_lock_waiter
waiter(struct shared *s)
{
    return (struct fmp_lock_waiter){.shm = &s->lock, .region = &kit_region};
}

/* To the end, as fmp_py_wait does it. */
static int
acquire(struct fmp_lock_waiter *w, uint64_t deadline_ns)
{
    int rc;
    do {
        rc = fmp_lock_acquire(w, deadline_ns);
    } while (rc == -EINTR);
    return rc;
}

static int
acquire_within_ms(struct shared *s, uint64_t ms)
{
    struct fmp_lock_waiter w = waiter(s);
    return acquire(&w, ms == 0 ? 0 : kit_in_ms(ms));
}

static void
hold_and_wait(void *arg)
{
    struct shared *s = arg;
    CHECK_OK(acquire_within_ms(s, 30000));
    s->ready++;
    pause();
}

static void
hold_and_leave(void *arg)
{
    CHECK_OK(acquire_within_ms(arg, 30000));
}

static void
test_states(void)
{
    struct shared *s = kit_open();
    CHECK_EQ(fmp_lock_release(&s->lock), -EPERM);
    CHECK(fmp_lock_try(&s->lock, kit_region.me));
    CHECK_EQ(fmp_lock_owner(&s->lock), kit_region.me);
    CHECK(!fmp_lock_try(&s->lock, kit_region.me));
    CHECK_OK(fmp_lock_release(&s->lock));
    CHECK_EQ(fmp_lock_owner(&s->lock), 0);
    CHECK_EQ(fmp_lock_release(&s->lock), -EPERM);
    CHECK_OK(acquire_within_ms(s, 0));
    CHECK_OK(fmp_lock_release(&s->lock));
    kit_close();
}

static void
test_the_same_process_waits_for_itself(void)
{
    struct shared *s = kit_open();
    CHECK_OK(acquire_within_ms(s, 0));
    int64_t start = check_now_ns();
    CHECK_EQ(acquire_within_ms(s, 0), -ETIMEDOUT);
    CHECK_EQ(acquire_within_ms(s, 40), -ETIMEDOUT);
    int64_t took_ms = (check_now_ns() - start) / 1000000;
    CHECK(took_ms >= 40 && took_ms < 2000);
    CHECK_OK(fmp_lock_release(&s->lock));
    kit_close();
}

static void
test_a_living_owner_is_waited_for(void)
{
    struct shared *s = kit_open();
    pid_t pid = kit_spawn(hold_and_wait, s);
    CHECK_UNTIL(s->ready == 1, 30000);
    CHECK_EQ(acquire_within_ms(s, 0), -ETIMEDOUT);
    CHECK_EQ(acquire_within_ms(s, 60), -ETIMEDOUT);
    CHECK_OK(fmp_lock_release(&s->lock)); /* anybody may */
    CHECK_OK(acquire_within_ms(s, 0));
    kill(pid, SIGKILL);
    check_wait(pid);
    kit_close();
}

static void
test_an_owner_that_left_keeps_it(void)
{
    struct shared *s = kit_open();
    kit_join(kit_spawn(hold_and_leave, s));
    CHECK_EQ(acquire_within_ms(s, 0), -ETIMEDOUT);
    CHECK_EQ(acquire_within_ms(s, 200), -ETIMEDOUT);
    CHECK_OK(fmp_lock_release(&s->lock));
    CHECK_OK(acquire_within_ms(s, 0));
    kit_close();
}

static void
check_a_killed_owner(bool reaped, uint64_t wait_ms)
{
    struct shared *s = kit_open();
    s->ready = 0;
    pid_t pid = kit_spawn(hold_and_wait, s);
    CHECK_UNTIL(s->ready == 1, 30000);
    uint32_t owner = fmp_lock_owner(&s->lock);
    kill(pid, SIGKILL);
    siginfo_t info;
    CHECK_OK(waitid(P_PID, (id_t)pid, &info, WEXITED | (reaped ? 0 : WNOWAIT)));
    struct fmp_lock_waiter w = waiter(s);
    CHECK_EQ(acquire(&w, wait_ms == 0 ? 0 : kit_in_ms(wait_ms)), FMP_OWNER_DIED);
    CHECK_EQ(w.dead, owner);
    CHECK_EQ(fmp_lock_owner(&s->lock), kit_region.me);
    CHECK_OK(fmp_lock_release(&s->lock));
    CHECK_OK(acquire_within_ms(s, 0)); /* once is enough */
    if (!reaped) {
        check_wait(pid);
    }
    kit_close();
}

static void
test_a_killed_owner_is_succeeded(void)
{
    check_a_killed_owner(true, 5000);
    check_a_killed_owner(false, 5000);
    check_a_killed_owner(true, 0);
    check_a_killed_owner(false, 0);
}

static void
test_a_try_asks_at_most_once_per_ms(void)
{
    struct shared *s = kit_open();
    pid_t pid = kit_spawn(hold_and_wait, s);
    CHECK_UNTIL(s->ready == 1, 30000);
    struct fmp_lock_waiter w = waiter(s);
    CHECK_EQ(acquire(&w, 0), -ETIMEDOUT);
    uint64_t asked = w.asked_ns;
    CHECK(asked != 0);
    while (sys_now_ns() - asked < FMP_NS_PER_MS / 2) {
        CHECK_EQ(acquire(&w, 0), -ETIMEDOUT);
        CHECK(w.asked_ns == asked || w.asked_ns - asked >= FMP_NS_PER_MS);
    }
    kill(pid, SIGKILL);
    check_wait(pid);
    CHECK_UNTIL(acquire(&w, 0) == FMP_OWNER_DIED, 30000);
    kit_close();
}

/* ---- a wake-up that its receiver cannot use ---- */

static struct shared *faked;

/* The holder releases, which wakes us, and somebody else is faster. */
static int
woken_too_late(_Atomic uint32_t *word, uint32_t expected, uint32_t told, uint64_t deadline_ns)
{
    (void)told, (void)deadline_ns;
    CHECK_EQ(*word, expected);
    CHECK((expected & FMP_LOCK_WAITERS) != 0);
    *word = FMP_LOCK_HELD | kit_region.me;
    return 0;
}

static void
test_a_woken_waiter_that_leaves_marks_the_lock(void)
{
    struct shared *s = faked = kit_open();
    CHECK_OK(acquire_within_ms(s, 0));
    fmp_ec_os.wait = woken_too_late;
    struct fmp_lock_waiter w = waiter(s);
    CHECK_EQ(fmp_lock_acquire(&w, kit_in_ms(30000)), -EINTR); /* here a signal handler may raise */
    CHECK_EQ(s->lock.word, FMP_LOCK_HELD | FMP_LOCK_WAITERS | kit_region.me);
    kit_close();
}

static void
test_who_has_slept_takes_it_with_waiters(void)
{
    struct shared *s = kit_open();
    struct fmp_lock_waiter w = waiter(s);
    w.bits = FMP_LOCK_WAITERS;
    CHECK_OK(fmp_lock_acquire(&w, 0));
    CHECK_EQ(s->lock.word, FMP_LOCK_HELD | FMP_LOCK_WAITERS | kit_region.me);
    CHECK_OK(fmp_lock_release(&s->lock));
    kit_close();
}

/* ---- exclusion, with and without deaths ---- */

enum { ROUNDS = 4000 };

static void
one_section(struct shared *s, struct fmp_lock_waiter *w)
{
    w->bits = 0;
    int rc = fmp_lock_try(&s->lock, kit_region.me) ? 0 : acquire(w, kit_in_ms(30000));
    CHECK(rc == 0 || rc == FMP_OWNER_DIED);
    if (rc == FMP_OWNER_DIED) {
        s->inherited++;
    } else if (s->inside != 0) {
        s->damage++;
    }
    s->inside = kit_region.me;
    s->counter++;
    if (s->counter % 16 == 0) {
        sched_yield(); /* so that others find it held */
    }
    s->inside = 0;
    CHECK_OK(fmp_lock_release(&s->lock));
}

static void
sections(void *arg)
{
    struct shared *s = arg;
    struct fmp_lock_waiter w = waiter(s);
    s->ready++;
    for (int i = 0; i < ROUNDS; i++) {
        one_section(s, &w);
    }
}

static void
test_exclusion(void)
{
    struct shared *s = kit_open();
    pid_t pids[3];
    for (int i = 0; i < 3; i++) {
        pids[i] = kit_spawn(sections, s);
    }
    for (int i = 0; i < 3; i++) {
        kit_join(pids[i]);
    }
    CHECK_EQ(s->counter, 3 * ROUNDS);
    CHECK_EQ(s->damage, 0);
    CHECK_EQ(s->lock.word & FMP_LOCK_HELD, 0);
    kit_close();
}

/* Always sleeps, so that the points of the slow path are passed. */
static void
slow_sections(void *arg)
{
    struct shared *s = arg;
    struct fmp_lock_waiter w = waiter(s);
    w.spin.wary = UINT8_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        one_section(s, &w);
        check_sleep_ms(i % 512 == 0);
    }
}

/* The lock is held until the victim has slept for it, so that it passes every point at least once. */
static void
check_killed_at(const char *point, unsigned nth)
{
    struct shared *s = kit_open();
    CHECK_OK(acquire_within_ms(s, 0));
    pid_t others[2] = {kit_spawn(sections, s), kit_spawn(slow_sections, s)};
    pid_t victim = kit_spawn_victim(slow_sections, s, point, nth);
    CHECK_UNTIL((s->lock.word & FMP_LOCK_WAITERS) != 0, 30000);
    check_until_asleep(victim); /* or it is dead */
    CHECK_OK(fmp_lock_release(&s->lock));
    int status = check_wait(victim);
    CHECK(WIFSIGNALED(status) || nth > 1); /* it may not have come by more than once */
    kit_join(others[0]);
    kit_join(others[1]);
    CHECK_EQ(s->damage, 0);
    CHECK(s->counter >= 2 * ROUNDS);
    struct fmp_lock_waiter w = waiter(s);
    CHECK(acquire(&w, kit_in_ms(30000)) >= 0);
    kit_close();
}

static void
test_killed_at_every_point(void)
{
    const char *points[] = {"lock:tried", "lock:taken", "lock:marked", "lock:woken", "lock:released"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        check_killed_at(points[i], 1);
        check_killed_at(points[i], 3);
    }
}

/* The first successor is killed in turn. */
static void
succeed(void *arg)
{
    (void)acquire_within_ms(arg, 30000);
}

static void
test_killed_as_successor(void)
{
    struct shared *s = kit_open();
    CHECK_KILLED(kit_spawn_victim(hold_and_leave, s, "lock:taken", 1), SIGKILL);
    CHECK_KILLED(kit_spawn_victim(succeed, s, "lock:robbed", 1), SIGKILL);
    struct fmp_lock_waiter w = waiter(s);
    CHECK_EQ(acquire(&w, kit_in_ms(30000)), FMP_OWNER_DIED);
    kit_close();
}

static void
test_a_sleeper_is_woken_by_the_release(void)
{
    struct shared *s = kit_open();
    CHECK_OK(acquire_within_ms(s, 0));
    pid_t pid = kit_spawn(hold_and_leave, s);
    CHECK_UNTIL((s->lock.word & FMP_LOCK_WAITERS) != 0, 30000);
    check_until_asleep(pid);
    int64_t start = check_now_ns();
    CHECK_OK(fmp_lock_release(&s->lock));
    kit_join(pid);
    CHECK(check_now_ns() - start < 30000000000);
    kit_close();
}

/* A word that says neither free nor whose: nobody would ever release it. */
static void
test_damaged_word(void)
{
    static const uint32_t words[] = {1, FMP_ID_MASK, FMP_LOCK_HELD, FMP_LOCK_WAITERS, UINT32_C(1) << 31};
    struct shared *s = kit_open();
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct fmp_lock_waiter w = waiter(s);
        fmp_store_relaxed(&s->lock.word, words[i]);
        CHECK_EQ(acquire(&w, (uint64_t)check_now_ns() + 20 * FMP_NS_PER_S), FMP_OWNER_DIED);
        CHECK_EQ(w.dead, 0);
        CHECK_OK(fmp_lock_release(&s->lock));
    }
    kit_close();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_states);
    RUN(test_the_same_process_waits_for_itself);
    RUN(test_a_living_owner_is_waited_for);
    RUN(test_an_owner_that_left_keeps_it);
    RUN(test_a_killed_owner_is_succeeded);
    RUN(test_a_try_asks_at_most_once_per_ms);
    RUN(test_a_woken_waiter_that_leaves_marks_the_lock);
    RUN(test_who_has_slept_takes_it_with_waiters);
    RUN(test_exclusion);
    RUN(test_killed_at_every_point);
    RUN(test_killed_as_successor);
    RUN(test_a_sleeper_is_woken_by_the_release);
    RUN(test_damaged_word);
    return check_done();
}

/* The event count: its word, with faked waits and wakes, and real processes. */
#include "sync_kit.h"

#include <limits.h>
#include <sched.h>

#include "sync/eventcount.h"

struct shared {
    struct fmp_ec_shm ec;
    FMP_ALIGNED _Atomic uint32_t condition;
    _Atomic uint32_t begun, done;
};

static bool
is_true(void *ctx)
{
    struct shared *s = ctx;
    return fmp_load_acquire(&s->condition) != 0;
}

static unsigned
registered(struct shared *s)
{
    return s->ec.word & 0xffff;
}

static uint32_t
sequence(struct shared *s)
{
    return (uint32_t)(s->ec.word >> 32);
}

static int
await(struct shared *s, uint64_t deadline_ns)
{
    struct fmp_spin spin = {.wary = UINT8_MAX};
    int rc;
    do {
        rc = fmp_ec_await(&s->ec, is_true, s, deadline_ns, &spin);
    } while (rc == -EINTR);
    return rc;
}

/* ---- one process, faked system ---- */

static struct shared *faked;
static int fake_wait_result, waits, wakes, woken_by_wake;
static uint64_t longest_ns = FMP_RECHECK_NS, slept_until_ns;

static int
fake_wait(_Atomic uint32_t *word, uint32_t expected, uint32_t told, uint64_t deadline_ns)
{
    (void)told;
    waits++;
    CHECK_EQ(*word, expected); /* the half that holds the sequence */
    CHECK_EQ(registered(faked), 1);
    CHECK(deadline_ns <= sys_now_ns() + longest_ns);
    slept_until_ns = deadline_ns;
    return fake_wait_result;
}

static int
fake_wake(_Atomic uint32_t *word, int n)
{
    (void)word;
    CHECK(n > 0);
    wakes++;
    return woken_by_wake;
}

static struct shared *
open_faked(int wait_result, int woken)
{
    static struct shared memory;
    memset((void *)&memory, 0, sizeof memory);
    fmp_ec_os = (struct fmp_ec_os){.wait = fake_wait, .wake = fake_wake};
    fake_wait_result = wait_result;
    woken_by_wake = woken;
    return faked = &memory;
}

static void
test_a_true_condition_costs_nothing(void)
{
    struct shared *s = open_faked(0, 0);
    struct fmp_spin spin = {0};
    s->condition = 1;
    CHECK_OK(fmp_ec_await(&s->ec, is_true, s, 0, &spin));
    CHECK_EQ(s->ec.word, 0);
    CHECK_EQ(waits, 0);
}

static void
test_a_deadline_of_zero_looks_once(void)
{
    struct shared *s = open_faked(0, 0);
    struct fmp_spin spin = {0};
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, 0, &spin), -ETIMEDOUT);
    CHECK_EQ(s->ec.word, 0);
    CHECK_EQ(waits, 0);
}

static void
test_one_sleep_per_call(void)
{
    struct shared *s = open_faked(-ETIMEDOUT, 0);
    struct fmp_spin spin = {0};
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, FMP_NEVER, &spin), -EINTR);
    CHECK_EQ(waits, 1);
    CHECK_EQ(registered(s), 0);
    fake_wait_result = -EINTR;
    longest_ns = FMP_IDLE_RECHECK_NS;
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, FMP_NEVER, &spin), -EINTR);
    CHECK_EQ(waits, 2);
    CHECK_EQ(registered(s), 0);
}

static bool
look_at(void *ctx)
{
    unsigned *looks = ctx;
    ++*looks;
    return false;
}

static void
test_no_spinning_after_a_whole_period_of_sleep(void)
{
    struct shared *s = open_faked(-ETIMEDOUT, 0);
    struct fmp_spin spin = {0};
    unsigned first = 0, second = 0, woken = 0;
    longest_ns = FMP_IDLE_RECHECK_NS;
    CHECK_EQ(fmp_ec_await(&s->ec, look_at, &first, FMP_NEVER, &spin), -EINTR);
    fake_wait_result = -EINTR;
    CHECK_EQ(fmp_ec_await(&s->ec, look_at, &second, FMP_NEVER, &spin), -EINTR);
    CHECK_EQ(fmp_ec_await(&s->ec, look_at, &woken, FMP_NEVER, &spin), -EINTR);
    CHECK(second < 5); /* before and after registering, and after the sleep */
    CHECK(first > 10);
    CHECK(woken > 10);
}

static void
test_who_sleeps_for_a_whole_period_sleeps_longer(void)
{
    struct shared *s = open_faked(-ETIMEDOUT, 0);
    struct fmp_spin spin = {0};
    uint64_t period_ns = FMP_RECHECK_NS;
    for (int i = 0; i < 300; i++) {
        uint64_t before_ns = sys_now_ns();
        longest_ns = period_ns;
        CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, FMP_NEVER, &spin), -EINTR);
        CHECK(slept_until_ns >= before_ns + period_ns);
        period_ns = i == 0 ? FMP_IDLE_RECHECK_NS : 2 * period_ns;
        period_ns = period_ns < FMP_LONGEST_RECHECK_NS ? period_ns : FMP_LONGEST_RECHECK_NS;
    }
    fake_wait_result = 0;
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, FMP_NEVER, &spin), -EINTR);
    longest_ns = FMP_RECHECK_NS; /* woken: as at first */
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, FMP_NEVER, &spin), -EINTR);
}

static void
test_the_deadline_ends_it(void)
{
    struct shared *s = open_faked(-ETIMEDOUT, 0);
    struct fmp_spin spin = {.wary = UINT8_MAX}; /* asleep at once, well before the deadline */
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, kit_in_ms(100), &spin), -ETIMEDOUT);
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, 1, &spin), -ETIMEDOUT); /* long over: no sleep at all */
    CHECK_EQ(waits, 1);
}

static void
test_nobody_waits_nobody_is_woken(void)
{
    struct shared *s = open_faked(0, 0);
    fmp_ec_notify(&s->ec, INT_MAX);
    fmp_ec_notify_seq_cst(&s->ec, INT_MAX);
    CHECK_EQ(wakes, 0);
    CHECK_EQ(s->ec.word, 0);
}

static void
test_a_sleeper_stays_counted(void)
{
    struct shared *s = open_faked(0, 1);
    s->ec.word = 2;
    fmp_ec_notify(&s->ec, 1);
    CHECK_EQ(wakes, 1);
    CHECK_EQ(sequence(s), 1);
    CHECK_EQ(registered(s), 2); /* they leave by themselves */
    fmp_ec_notify_seq_cst(&s->ec, 1);
    CHECK_EQ(wakes, 2);
    CHECK_EQ(sequence(s), 2);
}

static void
test_what_killed_waiters_leave_is_healed(void)
{
    struct shared *s = open_faked(0, 0);
    s->ec.word = 3; /* three registered, none sleeps */
    fmp_ec_notify(&s->ec, 1);
    CHECK_EQ(wakes, 2); /* the notifier's, in vain, and the healer's, for whoever sleeps since */
    CHECK_EQ(registered(s), 0);
    CHECK_EQ(s->ec.word >> 16 & 0xffff, 1); /* the next generation */
    fmp_ec_notify(&s->ec, 1);
    CHECK_EQ(wakes, 2); /* once */
}

/* Healed away while asleep, after which another has registered: leaving must not take his place in the count. */
static int
healed_in_sleep(_Atomic uint32_t *word, uint32_t expected, uint32_t told, uint64_t deadline_ns)
{
    (void)word, (void)expected, (void)told, (void)deadline_ns;
    fmp_ec_notify(&faked->ec, 1);
    CHECK_EQ(registered(faked), 0);
    fmp_fetch_add_relaxed(&faked->ec.word, 1);
    return -EAGAIN;
}

static void
test_a_healed_waiter_does_not_unregister_another(void)
{
    struct shared *s = open_faked(0, 0);
    struct fmp_spin spin = {0};
    fmp_ec_os.wait = healed_in_sleep;
    CHECK_EQ(fmp_ec_await(&s->ec, is_true, s, FMP_NEVER, &spin), -EINTR);
    CHECK_EQ(registered(s), 1);
}

/* The generation wraps without touching the sequence beyond its own step. */
static void
test_the_generation_wraps(void)
{
    struct shared *s = open_faked(0, 0);
    s->ec.word = UINT64_C(0xfffffffeffff0001);
    fmp_ec_notify(&s->ec, 1);
    CHECK_EQ(registered(s), 0);
    CHECK_EQ(s->ec.word >> 16 & 0xffff, 0);
    CHECK_EQ(sequence(s), 0);
}

static unsigned looks;

static bool
true_at_last(void *ctx)
{
    return ++looks > *(unsigned *)ctx;
}

static unsigned
vain_looks(struct fmp_spin *spin)
{
    unsigned never = UINT_MAX - 1;
    looks = 0;
    CHECK(!fmp_spin_until(true_at_last, &never, spin));
    return looks;
}

static void
test_the_spin_adapts(void)
{
    struct fmp_spin spin = {0};
    unsigned third = 3, small = vain_looks(&spin);
    fmp_spin_slept(&spin, FMP_NS_PER_S);
    CHECK_EQ(vain_looks(&spin), small); /* nothing came soon */
    fmp_spin_slept(&spin, FMP_NEVER);
    CHECK_EQ(vain_looks(&spin), small); /* nothing came at all */
    fmp_spin_slept(&spin, 0);
    unsigned whole = vain_looks(&spin);
    CHECK(whole > 2 * small);
    looks = 0;
    CHECK(fmp_spin_until(true_at_last, &third, &spin));
    CHECK_EQ(vain_looks(&spin), whole); /* a short wait says nothing against it */
    fmp_spin_slept(&spin, FMP_NS_PER_S);
    CHECK_EQ(vain_looks(&spin), small);
}

static void
test_a_spin_that_is_always_in_vain_is_given_up_for_a_while(void)
{
    struct fmp_spin spin = {0};
    unsigned small = vain_looks(&spin), wholes = 0, rounds = 100;
    for (unsigned i = 0; i < rounds; i++) {
        fmp_spin_slept(&spin, 0);
        wholes += vain_looks(&spin) > small;
    }
    CHECK(wholes >= 2); /* tried again now and then */
    CHECK(wholes < rounds / 4);
}

/* ---- processes ---- */

static void
wait_once(void *arg)
{
    struct shared *s = arg;
    s->begun++;
    CHECK_OK(await(s, kit_in_ms(30000)));
    s->done++;
}

static void
wake_all(struct shared *s)
{
    s->condition = 1;
    fmp_ec_notify(&s->ec, INT_MAX);
}

static void
test_all_are_woken(void)
{
    struct shared *s = kit_open();
    pid_t pids[4];
    for (int i = 0; i < 4; i++) {
        pids[i] = kit_spawn(wait_once, s);
    }
    for (int i = 0; i < 4; i++) {
        check_until_asleep(pids[i]);
    }
    CHECK_EQ(registered(s), 4);
    wake_all(s);
    for (int i = 0; i < 4; i++) {
        kit_join(pids[i]);
    }
    CHECK_EQ(registered(s), 0);
    kit_close();
}

static void
test_a_real_deadline(void)
{
    struct shared *s = kit_open();
    int64_t start = check_now_ns();
    CHECK_EQ(await(s, kit_in_ms(300)), -ETIMEDOUT); /* longer than a slice */
    int64_t took_ms = (check_now_ns() - start) / 1000000;
    CHECK(took_ms >= 300 && took_ms < 30000);
    kit_close();
}

/* A waiter is killed asleep; the others are still woken, and the count is healed. */
static void
test_killed_waiters(void)
{
    const char *points[] = {"eventcount:registered", "eventcount:woken"};
    for (int i = 0; i < 2; i++) {
        struct shared *s = kit_open();
        CHECK_KILLED(kit_spawn_victim(wait_once, s, points[i], 1), SIGKILL); /* "woken": by the end of its slice */
        CHECK_EQ(registered(s), 1);
        pid_t pid = kit_spawn(wait_once, s);
        check_until_asleep(pid);
        CHECK_EQ(registered(s), 2);
        wake_all(s);
        kit_join(pid);
        fmp_ec_notify(&s->ec, 1);
        CHECK_EQ(registered(s), 0);
        kit_close();
    }
}

static void
make_true_and_die(void *arg)
{
    wake_all(arg);
}

/* A notifier is killed before its wake: the sleeper is late by a slice at most. */
static void
test_a_killed_notifier(void)
{
    struct shared *s = kit_open();
    pid_t waiter = kit_spawn(wait_once, s);
    check_until_asleep(waiter);
    CHECK_EQ(registered(s), 1);
    CHECK_KILLED(kit_spawn_victim(make_true_and_die, s, "eventcount:bumped", 1), SIGKILL);
    int64_t start = check_now_ns();
    kit_join(waiter);
    CHECK(check_now_ns() - start < 30000000000);
    kit_close();
}

/* No wake-up is lost between living processes: each round would otherwise cost a slice. */
enum { ROUNDS = 2000 };

static void
answer(void *arg)
{
    struct shared *s = arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        CHECK_OK(await(s, kit_in_ms(30000)));
        s->condition = 0;
        fmp_fetch_add_seq_cst(&s->done, 1);
        fmp_ec_notify_seq_cst(&s[1].ec, 1);
    }
}

struct answer_awaited {
    struct shared *s;
    uint32_t number;
};

static bool
is_answered(void *ctx)
{
    struct answer_awaited *a = ctx;
    return a->s->done == a->number;
}

static void
test_ping_pong_loses_nothing(void)
{
    struct shared *s = kit_open();
    pid_t pid = kit_spawn(answer, s);
    int64_t start = check_now_ns();
    struct fmp_spin spin = {.wary = UINT8_MAX};
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct answer_awaited a = {s, i + 1};
        wake_all(s);
        while (fmp_ec_await(&s[1].ec, is_answered, &a, kit_in_ms(30000), &spin) == -EINTR) {
        }
    }
    kit_join(pid);
    CHECK(check_now_ns() - start < (int64_t)ROUNDS * (int64_t)FMP_RECHECK_NS / 10);
    kit_close();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_a_true_condition_costs_nothing);
    RUN(test_a_deadline_of_zero_looks_once);
    RUN(test_one_sleep_per_call);
    RUN(test_no_spinning_after_a_whole_period_of_sleep);
    RUN(test_who_sleeps_for_a_whole_period_sleeps_longer);
    RUN(test_the_deadline_ends_it);
    RUN(test_nobody_waits_nobody_is_woken);
    RUN(test_a_sleeper_stays_counted);
    RUN(test_what_killed_waiters_leave_is_healed);
    RUN(test_a_healed_waiter_does_not_unregister_another);
    RUN(test_the_generation_wraps);
    RUN(test_the_spin_adapts);
    RUN(test_a_spin_that_is_always_in_vain_is_given_up_for_a_while);
    RUN(test_all_are_woken);
    RUN(test_a_real_deadline);
    RUN(test_killed_waiters);
    RUN(test_a_killed_notifier);
    RUN(test_ping_pong_loses_nothing);
    return check_done();
}

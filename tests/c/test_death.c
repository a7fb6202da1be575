/* The dead: who is woken when a process is killed, at each step of the telling, and who is not when one leaves. */
#include "sync/death.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "sync/eventcount.h"
#include "sync_kit.h"

struct shared {
    _Atomic uint32_t word; /* what they sleep on: nobody changes it */
    _Atomic uint32_t heard;
    _Atomic uint32_t taken;
    FMP_ALIGNED struct fmp_ec_shm ec;
    _Atomic uint32_t items;
};

static struct shared *
open_watched(void)
{
    struct shared *s = kit_open();
    fmp_death_watch(&kit_region);
    CHECK(fmp_death_is_told(&s->word));
    return s;
}

static void
close_watched(void)
{
    fmp_death_forget();
    kit_close();
}

/* ---- children ---- */

static void
live_on(void *arg)
{
    (void)arg;
    fmp_death_watch(&kit_region);
    pause();
}

static void
leave_in_order(void *arg)
{
    (void)arg;
    fmp_death_watch(&kit_region);
    fmp_death_forget();
}

/* Until a death is told: no time-out, no signal. */
static void
sleep_until_told(void *arg)
{
    struct shared *s = arg;
    fmp_death_watch(&kit_region);
    CHECK_EQ(fmp_death_wait(&s->word, 0, fmp_death_count(&s->word), FMP_NEVER), FMP_DEATH_TOLD);
    fmp_fetch_add_relaxed(&s->heard, 1);
    fmp_death_forget();
}

/* ---- telling ---- */

static void
test_all_sleepers_hear_of_a_kill(void)
{
    struct shared *s = open_watched();
    pid_t sleepers[3], victim = kit_spawn(live_on, s);
    for (int i = 0; i < 3; i++) {
        sleepers[i] = kit_spawn(sleep_until_told, s);
        check_until_asleep(sleepers[i]);
    }
    check_until_asleep(victim);
    CHECK_OK(kill(victim, SIGKILL));
    check_wait(victim);
    for (int i = 0; i < 3; i++) {
        kit_join(sleepers[i]);
    }
    CHECK_EQ(s->heard, 3);
    close_watched();
}

/* The one whom the kernel wakes is killed, at each step: the kernel wakes another for him. */
static void
check_who_tells_is_killed(const char *point)
{
    struct shared *s = open_watched();
    pid_t victim = kit_spawn_victim(sleep_until_told, s, point, 1);
    check_until_asleep(victim); /* the kernel wakes those first who have slept longest */
    pid_t sleepers[2];
    for (int i = 0; i < 2; i++) {
        sleepers[i] = kit_spawn(sleep_until_told, s);
        check_until_asleep(sleepers[i]);
    }
    pid_t first = kit_spawn(live_on, s);
    check_until_asleep(first);
    CHECK_OK(kill(first, SIGKILL));
    check_wait(first);
    CHECK(WIFSIGNALED(check_wait(victim)));
    kit_join(sleepers[0]);
    kit_join(sleepers[1]);
    CHECK_EQ(s->heard, 2);
    close_watched();
}

static void
test_who_tells_is_killed_before_he_counts(void)
{
    check_who_tells_is_killed("death:heard");
}

static void
test_who_tells_is_killed_before_he_wakes(void)
{
    check_who_tells_is_killed("death:counted");
}

static void
sleep_on(void *arg)
{
    struct shared *s = arg;
    fmp_death_watch(&kit_region);
    for (;;) {
        (void)fmp_death_wait(&s->word, 0, fmp_death_count(&s->word), FMP_NEVER);
    }
}

/* However often processes are killed, the others are not woken for each. */
static void
test_many_deaths_are_told_as_few(void)
{
    struct shared *s = open_watched();
    pid_t sleeper = kit_spawn(sleep_on, s);
    check_until_asleep(sleeper);
    int64_t start = check_now_ns();
    for (int i = 0; i < 30; i++) {
        pid_t victim = kit_spawn(live_on, s);
        check_until_asleep(victim);
        CHECK_OK(kill(victim, SIGKILL));
        check_wait(victim);
    }
    int64_t windows = (check_now_ns() - start) / (64 * 1000000);
    CHECK(fmp_death_count(&s->word) >= 1);
    CHECK(fmp_death_count(&s->word) <= windows + 1);
    CHECK_OK(kill(sleeper, SIGKILL));
    check_wait(sleeper);
    close_watched();
}

static void
test_who_leaves_in_order_is_no_death(void)
{
    struct shared *s = open_watched();
    kit_join(kit_spawn(leave_in_order, s));
    kit_join(kit_spawn(leave_in_order, s));
    CHECK_EQ(fmp_death_wait(&s->word, 0, 0, kit_in_ms(20)), -ETIMEDOUT);
    CHECK_EQ(fmp_death_count(&s->word), 0);
    close_watched();
}

static void
test_a_death_before_the_sleep_ends_it(void)
{
    struct shared *s = open_watched();
    uint32_t told = fmp_death_count(&s->word);
    pid_t victim = kit_spawn(live_on, s), sleeper = kit_spawn(sleep_until_told, s);
    check_until_asleep(victim);
    check_until_asleep(sleeper);
    CHECK_OK(kill(victim, SIGKILL));
    check_wait(victim);
    kit_join(sleeper);
    CHECK_EQ(fmp_death_wait(&s->word, 0, told, FMP_NEVER), FMP_DEATH_TOLD);
    close_watched();
}

/* ---- where it is not told ---- */

static void
test_a_process_in_another_region_is_untold(void)
{
    struct shared *s = open_watched();
    struct fmp_region other;
    CHECK_OK(fmp_region_create(&other, FMP_REGION_SIZE_MIN));
    fmp_death_watch(&other);
    CHECK(fmp_death_is_told(&s->word));
    CHECK(!fmp_death_is_told(fmp_at(&other, FMP_HEAP_OFF)));
    CHECK_EQ(fmp_region_header(&other)->death.untold, 1);
    CHECK_EQ(fmp_death_period_ns(fmp_at(&other, FMP_HEAP_OFF), sys_now_ns(), 77), 77);
    CHECK_EQ(fmp_death_wait(fmp_at(&other, FMP_HEAP_OFF), 0, 0, kit_in_ms(1)), -ETIMEDOUT);
    fmp_region_close(&other);
    fmp_region_header(&kit_region)->death.untold = 1;
    CHECK(!fmp_death_is_told(&s->word));
    close_watched();
}

/* From now on this system call does not exist, as in an older kernel. */
static void
without_call(uint32_t number)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    CHECK_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

#define FUTEX_WAITV 449

static void
test_a_kernel_that_waits_for_one_word_only(void)
{
    struct shared *s = open_watched();
    without_call(FUTEX_WAITV);
    CHECK_EQ(fmp_death_wait(&s->word, 1, 0, FMP_NEVER), -EAGAIN);
    CHECK(!fmp_death_is_told(&s->word));
    CHECK_EQ(fmp_death_period_ns(&s->word, sys_now_ns(), 77), 77);
    CHECK_EQ(fmp_death_wait(&s->word, 0, 0, kit_in_ms(1)), -ETIMEDOUT);
    close_watched();
}

static void
test_a_kernel_that_keeps_its_list_to_itself(void)
{
    struct shared *s = kit_open();
    without_call(SYS_get_robust_list);
    fmp_death_watch(&kit_region);
    CHECK(!fmp_death_is_told(&s->word));
    CHECK_EQ(fmp_region_header(&kit_region)->death.untold, 1);
    close_watched();
}

static void
test_a_damaged_word_is_mended(void)
{
    struct shared *s = open_watched();
    fmp_region_header(&kit_region)->death.word = 99;
    CHECK_EQ(fmp_death_wait(&s->word, 0, 0, FMP_NEVER), -EAGAIN);
    CHECK_EQ(fmp_death_wait(&s->word, 0, 0, kit_in_ms(1)), -ETIMEDOUT);
    close_watched();
}

static void
test_periods(void)
{
    struct shared *s = open_watched();
    struct fmp_death_shm *d = &fmp_region_header(&kit_region)->death;
    uint64_t now = sys_now_ns();
    CHECK_EQ(fmp_death_period_ns(&s->word, now + FMP_LONGEST_RECHECK_NS, 77), FMP_LONGEST_RECHECK_NS);
    d->last_ns = now;
    CHECK_EQ(fmp_death_period_ns(&s->word, now, 77), FMP_NS_PER_MS);
    CHECK_EQ(fmp_death_period_ns(&s->word, now - 1, 77), FMP_NS_PER_MS); /* it came since */
    CHECK_EQ(fmp_death_period_ns(&s->word, now + 5 * FMP_NS_PER_MS, 77), 5 * FMP_NS_PER_MS);
    d->last_ns = UINT64_MAX / 2; /* damaged */
    CHECK_EQ(fmp_death_period_ns(&s->word, now, 77), FMP_LONGEST_RECHECK_NS);
    close_watched();
}

/* ---- the event count ---- */

static bool
take_item(void *arg)
{
    struct shared *s = arg;
    uint32_t items = fmp_load_relaxed(&s->items);
    return items != 0 && fmp_cas_acquire(&s->items, &items, items - 1);
}

static int timeouts;

static int
counting_wait(_Atomic uint32_t *word, uint32_t expected, uint32_t told, uint64_t deadline_ns)
{
    int rc = fmp_death_wait(word, expected, told, deadline_ns);
    timeouts += rc == -ETIMEDOUT;
    return rc;
}

static void
take_one(void *arg)
{
    struct shared *s = arg;
    struct fmp_spin spin = {.held_up = fmp_ec_never_held_up};
    fmp_death_watch(&kit_region);
    fmp_ec_os.wait = counting_wait;
    int rc;
    do {
        rc = fmp_ec_await(&s->ec, take_item, s, FMP_NEVER, &spin);
    } while (rc == -EINTR);
    CHECK_OK(rc);
    CHECK_EQ(timeouts, 0);
    fmp_fetch_add_relaxed(&s->taken, 1);
    fmp_death_forget();
}

static void
post_one(void *arg)
{
    struct shared *s = arg;
    fmp_death_watch(&kit_region);
    (void)fmp_fetch_add_seq_cst(&s->items, 1);
    fmp_ec_notify_seq_cst(&s->ec, 1);
    fmp_death_forget();
}

/* The wake-up that a notifier owed is made good by the kernel, and not by the clock. */
static void
test_a_wake_up_lost_to_a_kill_comes_by_the_kernel(void)
{
    struct shared *s = open_watched();
    pid_t waiter = kit_spawn(take_one, s);
    check_until_asleep(waiter);
    CHECK(WIFSIGNALED(check_wait(kit_spawn_victim(post_one, s, "eventcount:bumped", 1))));
    kit_join(waiter);
    CHECK_EQ(s->taken, 1);
    close_watched();
}

/* A waiter that is killed with the wake-up in its hand. */
static void
test_a_wake_up_swallowed_by_a_kill_comes_by_the_kernel(void)
{
    struct shared *s = open_watched();
    pid_t victim = kit_spawn_victim(take_one, s, "eventcount:woken", 1);
    check_until_asleep(victim);
    pid_t waiter = kit_spawn(take_one, s);
    check_until_asleep(waiter);
    kit_join(kit_spawn(post_one, s));
    CHECK(WIFSIGNALED(check_wait(victim)));
    kit_join(waiter);
    CHECK_EQ(s->taken, 1);
    close_watched();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_all_sleepers_hear_of_a_kill);
    RUN(test_who_tells_is_killed_before_he_counts);
    RUN(test_who_tells_is_killed_before_he_wakes);
    RUN(test_many_deaths_are_told_as_few);
    RUN(test_who_leaves_in_order_is_no_death);
    RUN(test_a_death_before_the_sleep_ends_it);
    RUN(test_a_process_in_another_region_is_untold);
    RUN(test_a_kernel_that_waits_for_one_word_only);
    RUN(test_a_kernel_that_keeps_its_list_to_itself);
    RUN(test_a_damaged_word_is_mended);
    RUN(test_periods);
    RUN(test_a_wake_up_lost_to_a_kill_comes_by_the_kernel);
    RUN(test_a_wake_up_swallowed_by_a_kill_comes_by_the_kernel);
    return check_done();
}

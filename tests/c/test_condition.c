/* The condition: who is notified, in which order, and what becomes of a notification whose receiver is killed. */
#include "sync_kit.h"

#include <limits.h>

#include "sync/condition.h"
#include "sync/lock.h"

enum { RECORDS = 8 };

struct shared {
    struct fmp_lock_shm lock;
    FMP_ALIGNED _Atomic uint32_t woken; /* waits that ended with a notification */
    _Atomic uint32_t late;              /* waits that ended without */
    FMP_ALIGNED uint32_t ball;          /* guarded by the lock */
    FMP_ALIGNED struct fmp_condition_shm condition;
};

static struct fmp_condition
condition(struct shared *s)
{
    return (struct fmp_condition){.shm = &s->condition, .region = &kit_region, .records = RECORDS};
}

static void
lock(struct shared *s)
{
    struct fmp_lock_waiter w = {.shm = &s->lock, .region = &kit_region};
    int rc;
    do {
        rc = fmp_lock_acquire(&w, kit_in_ms(30000));
    } while (rc == -EINTR);
    CHECK(rc == 0 || rc == FMP_OWNER_DIED);
}

static void
unlock(struct shared *s)
{
    CHECK_OK(fmp_lock_release(&s->lock));
}

/* As the Python type does it, with the lock held at both ends. 0 or -ETIMEDOUT. */
static int
wait_locked(struct shared *s, uint64_t deadline_ns)
{
    struct fmp_condition c = condition(s);
    struct fmp_condition_waiter w = {.condition = &c};
    int rc = fmp_condition_enlist(&w);
    CHECK_OK(rc);
    unlock(s);
    do {
        rc = fmp_condition_sleep(&w, deadline_ns);
    } while (rc == -EINTR);
    lock(s);
    if (rc == 0) {
        fmp_condition_leave(&w);
    }
    return rc;
}

static unsigned
notify(struct shared *s, unsigned n)
{
    struct fmp_condition c = condition(s);
    lock(s);
    unsigned given = fmp_condition_notify(&c, n);
    unlock(s);
    return given;
}

static unsigned
waiting(struct shared *s)
{
    struct fmp_condition c = condition(s);
    return fmp_condition_waiting(&c);
}

static unsigned
notified(struct shared *s)
{
    struct fmp_condition c = condition(s);
    return fmp_condition_notified(&c);
}

static void
wait_for_one(void *arg)
{
    struct shared *s = arg;
    lock(s);
    int rc = wait_locked(s, kit_in_ms(30000));
    unlock(s);
    *(rc == 0 ? &s->woken : &s->late) += 1;
}

static pid_t
spawn_waiter(struct shared *s, const char *point)
{
    unsigned before = waiting(s);
    pid_t pid = kit_spawn_victim(wait_for_one, s, point, 1);
    CHECK_UNTIL(waiting(s) == before + 1, 30000);
    return pid;
}

static void
test_nobody_is_notified_in_vain(void)
{
    struct shared *s = kit_open();
    CHECK_EQ(notify(s, 1), 0);
    CHECK_EQ(notify(s, 0), 0);
    CHECK_EQ(notify(s, UINT_MAX), 0);
    lock(s);
    CHECK_EQ(wait_locked(s, kit_in_ms(30)), -ETIMEDOUT); /* the notifications before are not kept */
    CHECK_EQ(wait_locked(s, 0), -ETIMEDOUT);
    CHECK_EQ(wait_locked(s, 1), -ETIMEDOUT); /* long over */
    CHECK_EQ(waiting(s), 0);
    unlock(s);
    kit_close();
}

static void
test_exactly_n_are_woken(void)
{
    struct shared *s = kit_open();
    pid_t pids[5];
    for (int i = 0; i < 5; i++) {
        pids[i] = spawn_waiter(s, NULL);
    }
    CHECK_EQ(notify(s, 2), 2);
    CHECK_UNTIL(s->woken == 2, 30000);
    check_sleep_ms(20);
    CHECK_EQ(s->woken, 2);
    CHECK_EQ(waiting(s), 3);
    CHECK_EQ(notify(s, 0), 0);
    CHECK_EQ(notify(s, UINT_MAX), 3);
    for (int i = 0; i < 5; i++) {
        kit_join(pids[i]);
    }
    CHECK_EQ(s->woken, 5);
    CHECK_EQ(waiting(s) + notified(s), 0);
    kit_close();
}

/* In one process, without sleeping: the oldest first, whatever records they have. */
static void
test_the_oldest_are_woken_first(void)
{
    struct shared *s = kit_open();
    struct fmp_condition c = condition(s);
    struct fmp_condition_waiter w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (struct fmp_condition_waiter){.condition = &c};
        CHECK_OK(fmp_condition_enlist(&w[i]));
    }
    fmp_condition_cancel(&w[0]);
    CHECK_OK(fmp_condition_enlist(&w[0])); /* the youngest now, in the first record */
    CHECK_EQ(w[0].index, 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(fmp_condition_notify(&c, 1), 1);
        CHECK_OK(fmp_condition_sleep(&w[(i + 1) % 4], 0));
        fmp_condition_leave(&w[(i + 1) % 4]);
    }
    CHECK_EQ(fmp_condition_notify(&c, 1), 0);
    kit_close();
}

static void
test_tickets_wrap(void)
{
    struct shared *s = kit_open();
    struct fmp_condition c = condition(s);
    s->condition.next_ticket = (UINT64_C(1) << 38) - 2;
    struct fmp_condition_waiter w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (struct fmp_condition_waiter){.condition = &c};
        CHECK_OK(fmp_condition_enlist(&w[i]));
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(fmp_condition_notify(&c, 1), 1);
        CHECK_OK(fmp_condition_sleep(&w[i], 0));
        fmp_condition_leave(&w[i]);
    }
    kit_close();
}

static void
test_too_many_waiters_are_told_so(void)
{
    struct shared *s = kit_open();
    struct fmp_condition c = condition(s);
    struct fmp_condition_waiter w[RECORDS + 1];
    for (int i = 0; i <= RECORDS; i++) {
        w[i] = (struct fmp_condition_waiter){.condition = &c};
        CHECK_EQ(fmp_condition_enlist(&w[i]), i < RECORDS ? 0 : -ENOSPC);
    }
    fmp_condition_cancel(&w[3]);
    CHECK_OK(fmp_condition_enlist(&w[RECORDS]));
    kit_close();
}

static void
test_a_notification_beats_the_timeout(void)
{
    struct shared *s = kit_open();
    struct fmp_condition c = condition(s);
    struct fmp_condition_waiter w = {.condition = &c};
    CHECK_OK(fmp_condition_enlist(&w));
    CHECK_EQ(fmp_condition_notify(&c, 1), 1);
    CHECK_OK(fmp_condition_sleep(&w, 0));
    fmp_condition_leave(&w);
    kit_close();
}

static void
test_an_interrupted_waiter_passes_it_on(void)
{
    struct shared *s = kit_open();
    struct fmp_condition c = condition(s);
    struct fmp_condition_waiter first = {.condition = &c}, second = first, later = first;
    CHECK_OK(fmp_condition_enlist(&first));
    CHECK_OK(fmp_condition_enlist(&second));
    CHECK_EQ(fmp_condition_notify(&c, 1), 1);
    CHECK_OK(fmp_condition_enlist(&later)); /* did not wait then */
    fmp_condition_cancel(&first);
    fmp_condition_cancel(&second); /* its notification finds nobody who waited then */
    CHECK_EQ(fmp_condition_sleep(&later, 0), -ETIMEDOUT);
    CHECK_EQ(waiting(s) + notified(s), 0);
    kit_close();
}

/* ---- deaths ---- */

/* The oldest waiter dies on its way out, or before the notification reaches it: the next one is woken for it. */
static void
check_a_killed_receiver(const char *point)
{
    struct shared *s = kit_open();
    pid_t victim = spawn_waiter(s, point);
    pid_t heir = spawn_waiter(s, NULL);
    check_until_asleep(heir);
    check_until_asleep(victim); /* or it is dead */
    CHECK_EQ(notify(s, 1), 1);
    CHECK_KILLED(victim, SIGKILL);
    kit_join(heir);
    CHECK_EQ(s->woken, 1);
    CHECK_EQ(s->late, 0);
    CHECK_EQ(waiting(s) + notified(s), 0);
    kit_close();
}

static void
test_a_notification_survives_its_receiver(void)
{
    check_a_killed_receiver("condition:enlisted");
    check_a_killed_receiver("condition:sleeping");
    check_a_killed_receiver("condition:woken");
}

/* The heir that claims it is killed in turn. */
static void
check_a_killed_heir(const char *point)
{
    struct shared *s = kit_open();
    CHECK_KILLED(kit_spawn_victim(wait_for_one, s, "condition:sleeping", 1), SIGKILL);
    pid_t heir = spawn_waiter(s, point);
    pid_t last = spawn_waiter(s, NULL);
    check_until_asleep(last);
    kill(last, SIGSTOP); /* so that the heir looks first */
    check_until_asleep(heir);
    CHECK_EQ(notify(s, 1), 1);
    CHECK_KILLED(heir, SIGKILL);
    kill(last, SIGCONT);
    kit_join(last);
    CHECK_EQ(s->woken, 1);
    kit_close();
}

static void
test_a_notification_survives_its_heir(void)
{
    check_a_killed_heir("condition:claimed");
    check_a_killed_heir("condition:redelivered");
}

static void
notify_one(void *arg)
{
    notify(arg, 1);
}

static void
test_a_killed_notifier(void)
{
    struct shared *s = kit_open();
    pid_t pid = spawn_waiter(s, NULL);
    check_until_asleep(pid);
    CHECK_KILLED(kit_spawn_victim(notify_one, s, "condition:notified", 1), SIGKILL);
    kit_join(pid); /* wakes at its next look, and takes the lock from the dead */
    CHECK_EQ(s->woken, 1);
    kit_close();
}

static void
test_records_of_the_dead_are_used_again(void)
{
    struct shared *s = kit_open();
    for (int i = 0; i < RECORDS; i++) {
        CHECK_KILLED(kit_spawn_victim(wait_for_one, s, "condition:enlisted", 1), SIGKILL);
    }
    CHECK_EQ(waiting(s), RECORDS);
    lock(s);
    CHECK_EQ(wait_locked(s, kit_in_ms(10)), -ETIMEDOUT);
    CHECK_EQ(waiting(s), 0);
    unlock(s);
    kit_close();
}

/* Somebody who comes after the notification does not get what a dead process left of it. */
static void
test_a_late_comer_inherits_nothing(void)
{
    struct shared *s = kit_open();
    CHECK_KILLED(kit_spawn_victim(wait_for_one, s, "condition:enlisted", 1), SIGKILL);
    CHECK_EQ(notify(s, 1), 1);
    lock(s);
    CHECK_EQ(wait_locked(s, kit_in_ms(200)), -ETIMEDOUT);
    unlock(s);
    CHECK_EQ(waiting(s) + notified(s), 0);
    kit_close();
}

/* ---- no wake-up is lost among the living ---- */

enum { ROUNDS = 1500 };

static void
play(struct shared *s, uint32_t side)
{
    struct fmp_condition c = condition(s);
    lock(s);
    for (int i = 0; i < ROUNDS; i++) {
        while (s->ball % 2 != side) {
            CHECK_OK(wait_locked(s, kit_in_ms(30000)));
        }
        s->ball++;
        fmp_condition_notify(&c, 1);
    }
    unlock(s);
}

static void
play_odd(void *arg)
{
    play(arg, 1);
}

static void
test_ping_pong_loses_nothing(void)
{
    struct shared *s = kit_open();
    int64_t start = check_now_ns();
    pid_t pid = kit_spawn(play_odd, s);
    play(s, 0);
    kit_join(pid);
    CHECK_EQ(s->ball, 2 * ROUNDS);
    CHECK(check_now_ns() - start < (int64_t)ROUNDS * (int64_t)FMP_RECHECK_NS / 10);
    kit_close();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_nobody_is_notified_in_vain);
    RUN(test_exactly_n_are_woken);
    RUN(test_the_oldest_are_woken_first);
    RUN(test_tickets_wrap);
    RUN(test_too_many_waiters_are_told_so);
    RUN(test_a_notification_beats_the_timeout);
    RUN(test_an_interrupted_waiter_passes_it_on);
    RUN(test_a_notification_survives_its_receiver);
    RUN(test_a_notification_survives_its_heir);
    RUN(test_a_killed_notifier);
    RUN(test_records_of_the_dead_are_used_again);
    RUN(test_a_late_comer_inherits_nothing);
    RUN(test_ping_pong_loses_nothing);
    return check_done();
}

/* Participants: who is alive, who left, who was killed; also after the slot has a new user, and when the kernel cannot
 * be asked. */
#include <sys/resource.h>

#include "base/fault.h"
#include "check.h"
#include "shm/participants.h"

static struct fmp_region region;
static uint32_t child_id;

static void
open_region(void)
{
    CHECK_OK(fmp_region_create(&region, FMP_REGION_SIZE_MIN));
    CHECK_OK(fmp_participant_join(&region));
}

static void
close_region(void)
{
    fmp_region_close(&region);
}

static struct fmp_participant_shm *
slot_of(uint32_t id)
{
    return (struct fmp_participant_shm *)fmp_at(&region, FMP_PARTICIPANTS_OFF) + FMP_ID_SLOT(id);
}

static void
adopt_and_pause(void *ready)
{
    CHECK_OK(fmp_participant_adopt(&region, child_id));
    atomic_store((_Atomic int *)ready, 1);
    pause();
}

static void
adopt_and_leave(void *arg)
{
    (void)arg;
    CHECK_OK(fmp_participant_adopt(&region, child_id));
    fmp_participant_leave(&region);
}

static void
only_pause(void *arg)
{
    (void)arg;
    pause();
}

/* A child that has come to life under `child_id`. */
static pid_t
living_child(void)
{
    _Atomic int *ready = check_shared(64);
    child_id = fmp_participant_reserve(&region);
    CHECK(child_id != 0);
    pid_t pid = check_fork(adopt_and_pause, (void *)ready);
    CHECK_UNTIL(atomic_load(ready) == 1, 30000);
    munmap((void *)ready, 64);
    return pid;
}

static void
kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    CHECK_KILLED(pid, SIGKILL);
}

/* Reserves and gives back until `slot` comes round again, and gives that one back too. */
static void
next_generation_of(uint32_t slot)
{
    uint32_t id;
    do {
        id = fmp_participant_reserve(&region);
        CHECK(id != 0);
        fmp_participant_unreserve(&region, id);
    } while (FMP_ID_SLOT(id) != slot);
}

static void
test_join_and_leave(void)
{
    open_region();
    uint32_t me = region.me;
    CHECK(me != 0);
    CHECK(FMP_ID_GENERATION(me) != 0);
    CHECK_EQ(me & ~FMP_ID_MASK, 0);
    CHECK_EQ(fmp_participant_fate(&region, me), FMP_ALIVE);
    CHECK_EQ(fmp_participant_pid(&region, me), getpid());
    CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(me)), me);
    CHECK_EQ(fmp_participant_fate(&region, 0), FMP_ALIVE); /* nobody cannot be robbed */
    fmp_participant_leave(&region);
    CHECK_EQ(region.me, 0);
    CHECK_EQ(fmp_participant_fate(&region, me), FMP_CLEAN);
    CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(me)), 0);
    CHECK_OK(fmp_participant_join(&region));
    CHECK(region.me != me);
    close_region();
}

static void
test_living_zombie_and_gone(void)
{
    open_region();
    pid_t pid = living_child();
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_ALIVE);
    CHECK_EQ(fmp_participant_pid(&region, child_id), pid);
    kill(pid, SIGKILL);
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(kill(pid, 0), 0); /* a zombie still takes signals */
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED);
    CHECK_KILLED(pid, SIGKILL);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED);
    close_region();
}

static void
test_clean_exit(void)
{
    open_region();
    child_id = fmp_participant_reserve(&region);
    CHECK_EXITED(check_fork(adopt_and_leave, NULL), 0);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_CLEAN);
    close_region();
}

/* Only the pid is the same: another process has it by now. */
static void
test_pid_is_used_again(void)
{
    open_region();
    pid_t pid = living_child();
    CHECK(atomic_load(&slot_of(child_id)->start) != 0);
    atomic_fetch_sub(&slot_of(child_id)->start, 1);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED);
    atomic_store(&slot_of(child_id)->start, 0); /* not known: the pid must do */
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_ALIVE);
    kill_and_reap(pid);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED);
    close_region();
}

/* Without descriptors the kernel cannot be asked: nobody is robbed on a doubt. */
static void
test_doubt_means_alive(void)
{
    struct rlimit before, none;
    open_region();
    pid_t pid = living_child();
    kill_and_reap(pid);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED);
    pid = living_child();
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    kill(pid, SIGKILL);
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    enum fmp_fate fate = fmp_participant_fate(&region, child_id);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_EQ(fate, FMP_ALIVE);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED);
    CHECK_KILLED(pid, SIGKILL);
    close_region();
}

static void
test_reserved(void)
{
    open_region();
    uint32_t id = fmp_participant_reserve(&region);
    CHECK_EQ(fmp_participant_fate(&region, id), FMP_ALIVE);
    CHECK_EQ(fmp_participant_pid(&region, id), 0);
    CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(id)), id);
    fmp_participant_unreserve(&region, id);
    CHECK_EQ(fmp_participant_fate(&region, id), FMP_CLEAN);
    close_region();
}

static void
reserve_and_tell(void *told)
{
    CHECK_OK(fmp_participant_adopt(&region, child_id));
    atomic_store((_Atomic uint32_t *)told, fmp_participant_reserve(&region));
}

/* A reservation dies with its reserver, but not if the process to come is known. */
static void
test_reserver_was_killed(void)
{
    open_region();
    _Atomic uint32_t *told = check_shared(64);
    child_id = fmp_participant_reserve(&region);
    CHECK_EXITED(check_fork(reserve_and_tell, (void *)told), 0);
    uint32_t orphan = atomic_load(told);
    CHECK(orphan != 0);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED); /* it did not leave */
    CHECK_EQ(fmp_participant_fate(&region, orphan), FMP_KILLED);
    fmp_participant_name_child(&region, orphan, getpid(), 0);
    CHECK_EQ(fmp_participant_fate(&region, orphan), FMP_ALIVE);
    munmap((void *)told, 64);
    close_region();
}

/* Killed before its first step: the parent has named it. */
static void
test_named_child_is_killed_before_it_adopts(void)
{
    open_region();
    child_id = fmp_participant_reserve(&region);
    pid_t pid = check_fork(only_pause, NULL);
    fmp_participant_name_child(&region, child_id, pid, 0);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_ALIVE);
    kill_and_reap(pid);
    CHECK_EQ(fmp_participant_fate(&region, child_id), FMP_KILLED);
    close_region();
}

/* Swept before it came to life: it must not live on under a dead name. */
static void
test_adopt_after_sweep(void)
{
    open_region();
    struct fmp_region other = region;
    uint32_t id = fmp_participant_reserve(&region);
    CHECK(fmp_participant_mark_dead(&region, id));
    CHECK_EQ(fmp_participant_adopt(&other, id), -EOWNERDEAD);
    CHECK_EQ(other.me, region.me);
    close_region();
}

/* A child that was forked dormant: alive by its pid alone, and by its start time as well from when it begins. */
static void
test_adopted_early(void)
{
    open_region();
    struct fmp_region other = region;
    uint32_t id = fmp_participant_reserve(&region);
    CHECK_OK(fmp_participant_adopt_early(&other, id));
    CHECK_EQ(other.me, id);
    CHECK_EQ(atomic_load(&slot_of(id)->start), 0);
    CHECK_EQ(fmp_participant_fate(&region, id), FMP_ALIVE);
    fmp_participant_tell_start(&other);
    CHECK_EQ(atomic_load(&slot_of(id)->start), atomic_load(&slot_of(region.me)->start));
    CHECK_EQ(fmp_participant_fate(&region, id), FMP_ALIVE);
    atomic_fetch_add(&slot_of(id)->start, 1); /* the pid is another's by now */
    CHECK_EQ(fmp_participant_fate(&region, id), FMP_KILLED);
    close_region();
}

static void
test_burial(void)
{
    open_region();
    pid_t pid = living_child();
    uint32_t id = child_id, slot = FMP_ID_SLOT(id);
    kill_and_reap(pid);
    CHECK_EQ(fmp_participant_dead_in_slot(&region, slot), 0);
    fmp_participant_bury(&region, id); /* not marked: nothing happens */
    CHECK_EQ(fmp_participant_in_slot(&region, slot), id);
    CHECK(fmp_participant_mark_dead(&region, id));
    CHECK(fmp_participant_mark_dead(&region, id)); /* somebody else may be at it: so may we */
    CHECK_EQ(fmp_participant_dead_in_slot(&region, slot), id);
    CHECK_EQ(fmp_participant_fate(&region, id), FMP_KILLED);
    fmp_participant_bury(&region, id);
    fmp_participant_bury(&region, id);
    CHECK_EQ(fmp_participant_dead_in_slot(&region, slot), 0);
    CHECK(!fmp_participant_mark_dead(&region, id));
    CHECK_EQ(fmp_participant_fate(&region, id), FMP_KILLED);
    close_region();
}

static void
mark_and_bury(void *arg)
{
    (void)arg;
    uint32_t dead = child_id;
    CHECK_OK(fmp_participant_join(&region));
    CHECK(fmp_participant_mark_dead(&region, dead));
    fmp_fault_arm("participants:bury", 1);
    fmp_participant_bury(&region, dead);
}

static void
test_killed_at_burial(void)
{
    open_region();
    kill_and_reap(living_child());
    CHECK_KILLED(check_fork(mark_and_bury, NULL), SIGKILL);
    CHECK_EQ(fmp_participant_dead_in_slot(&region, FMP_ID_SLOT(child_id)), child_id);
    CHECK(fmp_participant_mark_dead(&region, child_id));
    fmp_participant_bury(&region, child_id);
    CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(child_id)), 0);
    close_region();
}

/* The slot belongs to others by now, but how its former users ended is still known. */
static void
test_fate_after_reuse(void)
{
    open_region();
    kill_and_reap(living_child());
    uint32_t killed = child_id, slot = FMP_ID_SLOT(killed);
    CHECK(fmp_participant_mark_dead(&region, killed));
    fmp_participant_bury(&region, killed);
    next_generation_of(slot);
    uint32_t clean = ((FMP_ID_GENERATION(killed) + 1) << 12) | slot;
    CHECK_EQ(fmp_participant_fate(&region, clean), FMP_CLEAN);
    for (int generation = 0; generation < 50; generation++) {
        CHECK_EQ(fmp_participant_fate(&region, killed), FMP_KILLED);
        CHECK_EQ(fmp_participant_fate(&region, clean), FMP_CLEAN);
        CHECK_EQ(fmp_participant_pid(&region, killed), 0);
        next_generation_of(slot);
    }
    for (int generation = 0; generation < 4; generation++) {
        next_generation_of(slot);
    }
    CHECK_EQ(fmp_participant_fate(&region, clean), FMP_KILLED); /* too long ago to know: nobody waits for ever */
    close_region();
}

static void
test_dead_keep_their_slot_until_buried(void)
{
    open_region();
    kill_and_reap(living_child());
    next_generation_of((FMP_ID_SLOT(child_id) + 1) % FMP_PARTICIPANTS_MAX);
    CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(child_id)), child_id);
    for (uint32_t i = 0; i < FMP_PARTICIPANTS_MAX; i++) {
        uint32_t id = fmp_participant_reserve(&region);
        CHECK(FMP_ID_SLOT(id) != FMP_ID_SLOT(child_id));
        fmp_participant_unreserve(&region, id);
    }
    close_region();
}

static void
test_full_table(void)
{
    static bool used[FMP_PARTICIPANTS_MAX];
    open_region();
    used[FMP_ID_SLOT(region.me)] = true;
    uint32_t id = 0;
    for (uint32_t i = 1; i < FMP_PARTICIPANTS_MAX; i++) {
        id = fmp_participant_reserve(&region);
        CHECK(id != 0);
        CHECK(!used[FMP_ID_SLOT(id)]);
        used[FMP_ID_SLOT(id)] = true;
    }
    struct fmp_region other = region;
    CHECK_EQ(fmp_participant_reserve(&region), 0);
    CHECK_EQ(fmp_participant_join(&other), -EAGAIN);
    fmp_participant_unreserve(&region, id);
    uint32_t again = fmp_participant_reserve(&region);
    CHECK_EQ(FMP_ID_SLOT(again), FMP_ID_SLOT(id));
    CHECK(again != id);
    close_region();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_join_and_leave);
    RUN(test_living_zombie_and_gone);
    RUN(test_clean_exit);
    RUN(test_pid_is_used_again);
    RUN(test_doubt_means_alive);
    RUN(test_reserved);
    RUN(test_reserver_was_killed);
    RUN(test_named_child_is_killed_before_it_adopts);
    RUN(test_adopt_after_sweep);
    RUN(test_adopted_early);
    RUN(test_burial);
    RUN(test_killed_at_burial);
    RUN(test_fate_after_reuse);
    RUN(test_dead_keep_their_slot_until_buried);
    RUN(test_full_table);
    return check_done();
}

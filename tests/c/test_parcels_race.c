/* Parcels under races and kills: several actors, each a process or (for the thread sanitizer) a thread, send each other
 * blocks and drop them; and one of them is killed at each point. */
#include <pthread.h>

#include "base/fault.h"
#include "parcel_kit.h"

/* ---- races ---- */

#define ACTORS 4
#define SLOTS 8
#define ROUNDS 20000
#define PATTERN UINT64_C(0x1234567890abcdef)

/* Cell i: a parcel in transit at position i, or 0. */
struct mailbox {
    _Atomic uint64_t cells[SLOTS];
};

static void
check_pattern(struct actor *a, fmp_off off)
{
    uint64_t *p = fmp_at(&a->region, off);
    CHECK_EQ(p[0], PATTERN);
    CHECK_EQ(p[99], PATTERN);
}

static fmp_off
patterned(struct actor *a)
{
    fmp_off off = new_block(a);
    uint64_t *p = fmp_at(&a->region, off);
    p[0] = p[99] = PATTERN;
    return off;
}

/* A block of the same size: would overwrite one that was freed too early. */
static void
scribble(struct actor *a)
{
    fmp_off off;
    CHECK_OK(fmp_heap_alloc(a->heap, 800, &off));
    memset(fmp_at(&a->region, off), 0, 800);
    fmp_heap_free(a->heap, off);
}

static void
send(struct actor *a, fmp_off held)
{
    struct mailbox *box = fmp_at(&a->region, ring_off);
    uint64_t cell = check_random(&a->seed) % SLOTS, none = 0;
    fmp_off parcel = new_parcel(a, held);
    CHECK_OK(fmp_parcel_send(a->heap, parcel, ring_off, cell));
    if (!fmp_cas_relaxed(&box->cells[cell], &none, parcel)) { /* full: take it back */
        CHECK_OK(fmp_parcel_receive(a->heap, parcel, ring_off, cell));
        fmp_parcel_free(a->heap, parcel);
    }
}

/* What was in a cell, held; 0 if nothing was, or it was dropped unopened. */
static fmp_off
receive(struct actor *a)
{
    struct mailbox *box = fmp_at(&a->region, ring_off);
    uint64_t cell = check_random(&a->seed) % SLOTS;
    fmp_off parcel = atomic_exchange_explicit(&box->cells[cell], 0, memory_order_relaxed), target = 0;
    if (parcel == 0) {
        return 0;
    }
    CHECK_OK(fmp_parcel_receive(a->heap, parcel, ring_off, cell));
    if (check_random(&a->seed) % 4 != 0) {
        CHECK_OK(fmp_parcel_open(a->heap, parcel, &target));
    }
    fmp_parcel_free(a->heap, parcel);
    return target;
}

static void
pass_on(struct actor *a)
{
    fmp_off held = 0;
    for (int round = 0; round < ROUNDS; round++) {
        if (held == 0) {
            held = receive(a);
        }
        if (held == 0 && check_random(&a->seed) % 4 == 0) {
            held = patterned(a);
        }
        scribble(a);
        if (held != 0) {
            check_pattern(a, held);
            for (uint64_t n = check_random(&a->seed) % 3; n > 0; n--) {
                send(a, held);
            }
            check_pattern(a, held);
            drop(a, held);
            held = 0;
        }
    }
}

static void *
act(void *arg)
{
    struct actor a;
    open_actor(&a, (uint32_t)(uintptr_t)arg);
    pass_on(&a);
    fmp_parcels_leave(a.heap);
    fmp_participant_leave(&a.region);
    fmp_heap_close(a.heap);
    return NULL;
}

static void
act_in_process(void *arg)
{
    act(arg);
}

static void
empty_mailbox(void)
{
    for (int i = 0; i < 1000; i++) {
        fmp_off held = receive(&me);
        if (held != 0) {
            drop(&me, held);
        }
    }
}

static void
test_race_of_processes(void)
{
    pid_t pids[ACTORS];
    open_all();
    me.seed = 1;
    for (int i = 0; i < ACTORS; i++) {
        pids[i] = check_fork(act_in_process, (void *)(uintptr_t)fmp_participant_reserve(&me.region));
    }
    for (int i = 0; i < ACTORS; i++) {
        CHECK_EXITED(pids[i], 0);
    }
    empty_mailbox();
    close_all();
}

static void
test_race_of_threads(void)
{
    pthread_t threads[ACTORS];
    open_all();
    me.seed = 1;
    for (int i = 0; i < ACTORS; i++) {
        void *id = (void *)(uintptr_t)fmp_participant_reserve(&me.region);
        CHECK_OK(-pthread_create(&threads[i], NULL, act, id));
    }
    for (int i = 0; i < ACTORS; i++) {
        CHECK_OK(-pthread_join(threads[i], NULL));
    }
    empty_mailbox();
    close_all();
}

/* ---- kills ---- */

static const char *fault_point;
static uint32_t dead_id;
static fmp_off sent, offered; /* a parcel in transit to the victim, and a loan */
static uint64_t offered_ticket;

static void
be_victim(void *arg)
{
    struct actor a;
    fmp_off target, parcel;
    uint64_t ticket;
    open_actor(&a, (uint32_t)(uintptr_t)arg);
    fmp_fault_arm(fault_point, 1);
    fmp_off mine = new_block(&a);
    CHECK_OK(fmp_parcel_make(a.heap, mine, &parcel, &ticket)); /* a loan that goes with it */
    CHECK_OK(fmp_parcel_send(a.heap, new_parcel(&a, mine), ring_off, 2));
    CHECK_OK(fmp_parcel_receive(a.heap, sent, ring_off, 1));
    CHECK_OK(fmp_parcel_open(a.heap, sent, &target));
    fmp_parcel_free(a.heap, sent);
    drop(&a, target);
    CHECK_OK(fmp_parcel_take(a.heap, offered, offered_ticket));
    CHECK_OK(fmp_parcel_open(a.heap, offered, &target));
    fmp_parcel_free(a.heap, offered);
    drop(&a, target);
    drop(&a, mine);
    fmp_parcels_leave(a.heap);
    raise(SIGKILL);
}

static void
be_reclaimer(void *arg)
{
    struct actor a;
    open_actor(&a, (uint32_t)(uintptr_t)arg);
    fmp_fault_arm("heap:seized", 1);
    fmp_heap_reclaim(a.heap, dead_id);
    raise(SIGKILL);
}

static void
check_nothing_left(bool sent_is_good)
{
    struct fmp_heap_stats stats = count();
    CHECK_EQ(stats.owned, 1 - (offered == 0));
    if (sent_is_good && stats.transit != 0) { /* nobody has received it: it can still be */
        CHECK_OK(fmp_parcel_receive(you.heap, sent, ring_off, 1));
        fmp_parcel_free(you.heap, sent);
    }
    CHECK_EQ(count().transit, 0);
}

static void
kill_at(const char *point, bool kill_the_reclaimer)
{
    fault_point = point;
    open_all();
    fmp_off first = new_block(&me), second = new_block(&me);
    sent = new_parcel(&me, first);
    CHECK_OK(fmp_parcel_send(me.heap, sent, ring_off, 1));
    CHECK_OK(fmp_parcel_make(me.heap, second, &offered, &offered_ticket));
    drop(&me, first);
    drop(&me, second);
    dead_id = fmp_participant_reserve(&me.region);
    CHECK_KILLED(check_fork(be_victim, (void *)(uintptr_t)dead_id), SIGKILL);
    uint32_t reclaimer = fmp_participant_reserve(&me.region);
    if (kill_the_reclaimer) {
        CHECK_KILLED(check_fork(be_reclaimer, (void *)(uintptr_t)reclaimer), SIGKILL);
        fmp_heap_reclaim(me.heap, reclaimer);
    } else {
        (void)fmp_participant_mark_dead(&me.region, reclaimer);
    }
    fmp_heap_reclaim(me.heap, dead_id);
    fmp_heap_reclaim(me.heap, dead_id);
    if (!fmp_parcel_is_loan(me.heap, offered, offered_ticket)) {
        offered = 0;
    }
    check_nothing_left(true);
    fmp_parcels_leave(me.heap);
    close_all();
}

static const char *const points[] = {
    "heap:claimed",  "parcel:counted", "parcel:made",   "heap:sending",      "heap:transit", "heap:received",
    "heap:joining",  "parcel:opened",  "parcel:ending", "parcel:ended",      "heap:freeing", "parcel:returned",
    "heap:dropping", "heap:unheld",    "heap:last",     "heap:drop-cleared", "parcel:taken", "no point",
};

static void
test_killed_at_each_point(void)
{
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        kill_at(points[i], false);
    }
}

static void
test_killed_reclaimer(void)
{
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        kill_at(points[i], true);
    }
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_race_of_processes);
    RUN(test_race_of_threads);
    RUN(test_killed_at_each_point);
    RUN(test_killed_reclaimer);
    return check_done();
}

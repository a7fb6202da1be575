/* Parcels: a block lives as long as a message names it, whoever drops, ends or is killed, and no longer. */
#include <pthread.h>

#include "base/fault.h"
#include "check.h"
#include "heap/internal.h"
#include "heap/parcels.h"
#include "ring/ring.h"

#define LIMIT 16

/* A participant: in its own process, in a thread, or played by the test itself. */
struct actor {
    struct fmp_region region;
    struct fmp_heap *heap;
    uint64_t seed;
};

static struct actor me, you;
static fmp_off ring_off; /* where messages are sent; nothing is in its cells */

static bool
nowhere(struct fmp_region *r, fmp_off ring, uint64_t bytes, uint64_t position)
{
    (void)r;
    (void)ring;
    (void)bytes;
    return position == 1; /* position 1 is good, all others have been passed */
}

static void
open_actor(struct actor *a, uint32_t id)
{
    *a = (struct actor){.region = me.region, .seed = 88172645463325252u + id};
    CHECK_OK(fmp_participant_adopt(&a->region, id));
    CHECK_OK(fmp_heap_open(&a->heap, &a->region));
    fmp_heap_set_carried(a->heap, nowhere);
}

static void
open_all(void)
{
    CHECK_OK(fmp_region_create(&me.region, 0));
    CHECK_OK(fmp_participant_join(&me.region));
    CHECK_OK(fmp_heap_open(&me.heap, &me.region));
    fmp_heap_set_carried(me.heap, nowhere);
    CHECK_OK(fmp_heap_alloc_shared(me.heap, 4096, FMP_BLOCK_RING, &ring_off));
    open_actor(&you, fmp_participant_reserve(&me.region));
}

static struct fmp_heap_stats
count(void)
{
    struct fmp_heap_stats stats;
    fmp_heap_count(me.heap, &stats);
    return stats;
}

/* Nothing is left but the ring. */
static void
close_all(void)
{
    CHECK_EQ(count().owned, 0);
    CHECK_EQ(count().transit, 0);
    CHECK_EQ(count().shared, 1);
    fmp_heap_close(you.heap);
    fmp_heap_close(me.heap);
    fmp_region_close(&me.region);
}

static fmp_off
new_block(struct actor *a)
{
    fmp_off off;
    CHECK_OK(fmp_heap_alloc_shared(a->heap, 800, FMP_BLOCK_DATA, &off));
    return off;
}

static fmp_off
new_parcel(struct actor *a, fmp_off target)
{
    fmp_off parcel;
    uint64_t ticket;
    CHECK_OK(fmp_parcel_make(a->heap, target, &parcel, &ticket));
    return parcel;
}

static void
drop(struct actor *a, fmp_off off)
{
    fmp_heap_drop(a->heap, off, a->region.me);
}

/* ---- in order ---- */

static void
test_sender_drops_first(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel = new_parcel(&me, block), target;
    CHECK_OK(fmp_parcel_send(me.heap, parcel, ring_off, 1));
    drop(&me, block);
    CHECK_EQ(fmp_heap_holders(me.heap, block), 0);
    CHECK_EQ(count().shared, 2);
    CHECK_OK(fmp_parcel_receive(you.heap, parcel, ring_off, 1));
    for (int i = 0; i < 2; i++) { /* as often as one likes */
        CHECK_OK(fmp_parcel_open(you.heap, parcel, &target));
        CHECK_EQ(target, block);
    }
    fmp_parcel_free(you.heap, parcel);
    CHECK_EQ(fmp_heap_holders(me.heap, block), 1);
    drop(&you, block);
    close_all();
}

static void
test_unopened_parcel_lets_go(void)
{
    open_all();
    fmp_off block = new_block(&me), first = new_parcel(&me, block), second = new_parcel(&me, block);
    CHECK_OK(fmp_parcel_send(me.heap, first, ring_off, 1));
    drop(&me, block);
    fmp_parcel_free(me.heap, second);
    CHECK_EQ(count().shared, 2);
    CHECK_OK(fmp_parcel_receive(you.heap, first, ring_off, 1));
    fmp_parcel_free(you.heap, first);
    close_all();
}

static void
test_parcel_of_a_block_in_use_changes_nothing(void)
{
    open_all();
    fmp_off block = new_block(&me);
    fmp_parcel_free(me.heap, new_parcel(&me, block));
    CHECK_EQ(count().shared, 2);
    drop(&me, block);
    close_all();
}

static void
test_only_holders_make_parcels(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel;
    uint64_t ticket;
    CHECK_EQ(fmp_parcel_make(you.heap, block, &parcel, &ticket), -EINVAL);
    CHECK_EQ(fmp_parcel_make(me.heap, block + 64, &parcel, &ticket), -EINVAL);
    CHECK_EQ(fmp_parcel_make(me.heap, 0, &parcel, &ticket), -EINVAL);
    drop(&me, block);
    CHECK_EQ(fmp_parcel_make(me.heap, block, &parcel, &ticket), -EINVAL);
    close_all();
}

static void
test_other_blocks_are_no_parcels(void)
{
    open_all();
    fmp_off off, target;
    CHECK_OK(fmp_heap_alloc(me.heap, 64, &off));
    CHECK_EQ(fmp_parcel_open(me.heap, off, &target), -ENOENT);
    CHECK_EQ(fmp_parcel_send(me.heap, off, ring_off, 1), -EINVAL);
    fmp_parcel_free(me.heap, off);
    CHECK_EQ(count().owned, 1);
    CHECK_OK(fmp_heap_send(me.heap, off, ring_off, 1));
    CHECK_EQ(fmp_parcel_receive(you.heap, off, ring_off, 1), -EBADMSG);
    CHECK_OK(fmp_heap_receive(you.heap, off, ring_off, 1));
    fmp_heap_free(you.heap, off);
    close_all();
}

static void
test_only_the_owner_opens(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel = new_parcel(&me, block), target;
    CHECK_EQ(fmp_parcel_open(you.heap, parcel, &target), -ENOENT);
    CHECK_OK(fmp_parcel_send(me.heap, parcel, ring_off, 1));
    CHECK_EQ(fmp_parcel_open(you.heap, parcel, &target), -ENOENT);
    CHECK_EQ(fmp_parcel_receive(you.heap, parcel, ring_off, 2), -EBADMSG);
    CHECK_OK(fmp_parcel_receive(you.heap, parcel, ring_off, 1));
    fmp_parcel_free(me.heap, parcel);
    CHECK_OK(fmp_parcel_open(you.heap, parcel, &target));
    fmp_parcel_free(you.heap, parcel);
    CHECK_EQ(fmp_parcel_open(you.heap, parcel, &target), -ENOENT);
    drop(&me, block);
    drop(&you, block);
    close_all();
}

static void
test_loan_is_taken_once(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel, target;
    uint64_t ticket;
    CHECK_OK(fmp_parcel_make(me.heap, block, &parcel, &ticket));
    CHECK(fmp_parcel_is_loan(you.heap, parcel, ticket));
    drop(&me, block);
    CHECK_EQ(fmp_parcel_take(you.heap, parcel, ticket + 1), -ENOENT);
    CHECK_OK(fmp_parcel_take(you.heap, parcel, ticket));
    CHECK(!fmp_parcel_is_loan(you.heap, parcel, ticket));
    CHECK_EQ(fmp_parcel_take(me.heap, parcel, ticket), -ENOENT);
    CHECK_OK(fmp_parcel_open(you.heap, parcel, &target));
    fmp_parcel_free(you.heap, parcel);
    CHECK_EQ(fmp_parcel_take(me.heap, parcel, ticket), -ENOENT);
    drop(&you, block);
    close_all();
}

static void
test_loan_ends_with_its_maker(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel;
    uint64_t ticket;
    CHECK_OK(fmp_parcel_make(me.heap, block, &parcel, &ticket));
    drop(&me, block);
    fmp_parcels_leave(you.heap);
    CHECK_EQ(count().shared, 2);
    fmp_parcels_leave(me.heap);
    CHECK_EQ(fmp_parcel_take(you.heap, parcel, ticket), -ENOENT);
    close_all();
}

/* A queue in a queue in a queue: the first drop frees all. */
static void
test_chain_of_rings(void)
{
    enum { N = 50 };
    open_all();
    fmp_off rings[N];
    for (int i = 0; i < N; i++) {
        CHECK_OK(fmp_heap_alloc_shared(me.heap, 4096, FMP_BLOCK_RING, &rings[i]));
        if (i > 0) {
            CHECK_OK(fmp_parcel_send(me.heap, new_parcel(&me, rings[i - 1]), rings[i], 1));
            drop(&me, rings[i - 1]);
        }
    }
    CHECK_EQ(count().shared, N + 1);
    drop(&me, rings[N - 1]);
    close_all();
}

static void
test_ring_in_itself(void)
{
    open_all();
    fmp_off ring;
    CHECK_OK(fmp_heap_alloc_shared(me.heap, 4096, FMP_BLOCK_RING, &ring));
    CHECK_OK(fmp_parcel_send(me.heap, new_parcel(&me, ring), ring, 1));
    CHECK_OK(fmp_parcel_send(me.heap, new_parcel(&me, ring), ring, 2));
    drop(&me, ring);
    close_all();
}

/* The table of parcels grows by chunks. */
static void
test_many(void)
{
    enum { N = 5000 };
    static fmp_off parcels[N];
    open_all();
    fmp_off block = new_block(&me);
    for (int i = 0; i < N; i++) {
        parcels[i] = new_parcel(&me, block);
    }
    drop(&me, block);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(count().shared, 2);
        fmp_parcel_free(me.heap, parcels[i]);
        i += i > 10 && i < N - 20 ? 9 : 0; /* the counting is what takes long */
    }
    fmp_parcels_leave(me.heap);
    close_all();
}

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

/* ---- damage ---- */

/* The list of the parcels' chunks leads back to itself: whoever looks through all parcels comes to an end. */
static void
test_a_list_without_an_end(void)
{
    open_all();
    fmp_off block = new_block(&me), first = new_parcel(&me, block), second = new_parcel(&me, block), target;
    CHECK_OK(fmp_parcel_send(me.heap, first, ring_off, 1));
    fmp_parcel_free(me.heap, second); /* made and returned differ: all are looked at */
    uint64_t chunk = (first - me.heap->chunks_off) / FMP_CHUNK_BYTES;
    fmp_store_relaxed(&fmp_chunk_at(me.heap, chunk)->next, (uint32_t)chunk + 1);
    drop(&me, block);
    CHECK_OK(fmp_parcel_receive(you.heap, first, ring_off, 1));
    CHECK_OK(fmp_parcel_open(you.heap, first, &target));
    fmp_parcel_free(you.heap, first);
    fmp_parcels_leave(you.heap);
    drop(&you, block);
    close_all();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_sender_drops_first);
    RUN(test_unopened_parcel_lets_go);
    RUN(test_parcel_of_a_block_in_use_changes_nothing);
    RUN(test_only_holders_make_parcels);
    RUN(test_other_blocks_are_no_parcels);
    RUN(test_only_the_owner_opens);
    RUN(test_loan_is_taken_once);
    RUN(test_loan_ends_with_its_maker);
    RUN(test_chain_of_rings);
    RUN(test_ring_in_itself);
    RUN(test_many);
    RUN(test_race_of_processes);
    RUN(test_race_of_threads);
    RUN(test_killed_at_each_point);
    RUN(test_killed_reclaimer);
    RUN(test_a_list_without_an_end);
    return check_done();
}

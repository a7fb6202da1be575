/* A process is killed at each fault point of the heap; what it held is given back, also when the one who gives it back
 * is killed in turn. Then nothing is left but what the survivor holds, and the heap works on. */
#include "base/fault.h"
#include "check.h"
#include "heap/heap.h"
#include "ring/ring.h"

#define LIMIT 16
#define KEPT 3
#define WARM_BYTES (32 << 20)

static struct fmp_region region;
static struct fmp_heap *heap;
static struct fmp_ring ring;
static fmp_off ring_off;
static fmp_off kept[KEPT]; /* SHARED blocks that the survivor holds throughout: small, small, large */
static uint32_t child_id;

static bool
carried(struct fmp_region *r, fmp_off off, uint64_t bytes, uint64_t position)
{
    struct fmp_ring found;
    return fmp_ring_open(&found, r, off, bytes) == 0 && fmp_ring_carries(&found, position);
}

static void
on_dead(void *ctx, uint32_t owner, bool was_taken, uint64_t position, const struct fmp_record *record)
{
    (void)ctx;
    (void)owner;
    if (was_taken && record->block != 0 && fmp_heap_receive(heap, record->block, ring_off, position) == 0) {
        fmp_heap_free(heap, record->block);
    }
}

static void
open_all(void)
{
    static const uint64_t sizes[KEPT] = {100, 3000, 2 << 20};
    CHECK_OK(fmp_region_create(&region, 0));
    CHECK_OK(fmp_participant_join(&region));
    CHECK_OK(fmp_heap_open(&heap, &region));
    fmp_heap_set_carried(heap, carried);
    CHECK_OK(fmp_heap_alloc_shared(heap, fmp_ring_bytes(LIMIT), FMP_BLOCK_RING, &ring_off));
    CHECK_OK(fmp_ring_init(fmp_at(&region, ring_off), LIMIT));
    CHECK_OK(fmp_ring_open(&ring, &region, ring_off, fmp_ring_bytes(LIMIT)));
    ring.on_dead = on_dead;
    for (int i = 0; i < KEPT; i++) {
        CHECK_OK(fmp_heap_alloc_shared(heap, sizes[i], FMP_BLOCK_DATA, &kept[i]));
    }
}

static void
close_all(void)
{
    fmp_heap_close(heap);
    fmp_region_close(&region);
}

/* A child under a reserved identity that already holds all that the parent holds, as after the runtime's fork. */
static pid_t
start(void (*body)(void *), void *arg)
{
    child_id = fmp_participant_reserve(&region);
    CHECK(child_id != 0);
    fmp_heap_hold(heap, ring_off, child_id);
    for (int i = 0; i < KEPT; i++) {
        fmp_heap_hold(heap, kept[i], child_id);
    }
    pid_t pid = check_fork(body, arg);
    fmp_participant_name_child(&region, child_id, pid, 0);
    return pid;
}

/* ---- what the victim does ---- */

static void
push(uint64_t bytes)
{
    struct fmp_ring_ticket t;
    fmp_off off;
    CHECK_OK(fmp_heap_alloc(heap, bytes, &off));
    CHECK_OK(fmp_ring_begin_push(&ring, &t));
    t.cell->record = (struct fmp_record){.block = off};
    CHECK_OK(fmp_heap_send(heap, off, ring_off, t.position));
    fmp_ring_end_push(&ring, &t);
}

static bool
try_pop(void)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_pop(&ring, &t);
    if (rc == -EAGAIN) {
        return false;
    }
    CHECK_OK(rc);
    fmp_off off = t.cell->record.block;
    CHECK_OK(fmp_heap_receive(heap, off, ring_off, t.position));
    fmp_ring_end_pop(&ring, &t);
    fmp_heap_free(heap, off);
    return true;
}

static void
pop(void)
{
    CHECK(try_pop());
}

static void
make_and_drop(enum fmp_block_kind kind)
{
    fmp_off off;
    CHECK_OK(fmp_heap_alloc_shared(heap, 4000, kind, &off));
    fmp_heap_hold(heap, off, region.me);
    if (kind == FMP_BLOCK_RING) {
        fmp_off cargo;
        CHECK_OK(fmp_heap_alloc(heap, 500, &cargo));
        CHECK_OK(fmp_heap_send(heap, cargo, off, 0));
    }
    fmp_heap_drop(heap, off, region.me);
}

/* More than main lets be kept warm, so that some are given back. */
static void
free_many_pages(void)
{
    enum { N = 4 };
    fmp_off offs[N];
    for (int i = 0; i < N; i++) {
        CHECK_OK(fmp_heap_alloc(heap, WARM_BYTES / 2, &offs[i]));
    }
    for (int i = 0; i < N; i++) {
        fmp_heap_free(heap, offs[i]);
    }
}

static void
live(void)
{
    fmp_off off;
    push(300);
    push(100000);
    push(3 << 20);
    pop();
    pop();
    make_and_drop(FMP_BLOCK_DATA);
    make_and_drop(FMP_BLOCK_RING);
    CHECK_OK(fmp_heap_alloc(heap, 300, &off));
    CHECK_OK(fmp_heap_share(heap, off));
    fmp_heap_drop(heap, off, region.me);
    for (int i = 0; i < KEPT; i++) {
        fmp_heap_drop(heap, kept[i], region.me);
    }
}

struct fault {
    const char *point;
    unsigned nth;
};

static void
adopt(const struct fault *fault)
{
    CHECK_OK(fmp_participant_adopt(&region, child_id));
    fmp_heap_after_fork(heap);
    fmp_fault_arm(fault->point, fault->nth);
}

static void
be_victim(void *arg)
{
    const struct fault *fault = arg;
    adopt(fault);
    if (strcmp(fault->point, "heap:cold") == 0) {
        free_many_pages();
    }
    live();
}

/* ---- what is left ---- */

static struct fmp_heap_stats
check_left(void)
{
    struct fmp_heap_stats stats;
    fmp_heap_count(heap, &stats);
    CHECK_EQ(stats.owned, 0);
    CHECK_EQ(stats.shared, KEPT + 1);
    CHECK_EQ(fmp_heap_holders(heap, ring_off), 1);
    for (int i = 0; i < KEPT; i++) {
        CHECK_EQ(fmp_heap_holders(heap, kept[i]), 1);
    }
    CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(child_id)), 0);
    return stats;
}

/* The messages that the dead have sent are still good. */
static uint64_t
drain(void)
{
    uint64_t messages = 0;
    while (try_pop()) {
        messages++;
    }
    return messages;
}

static void
check_works(void)
{
    CHECK_EQ(check_left().transit, drain()); /* every block in transit is named by a message, and the other way round */
    CHECK_EQ(check_left().transit, 0);
    for (int i = 0; i < 50; i++) {
        push(1000);
        push(1 << 20);
        pop();
        pop();
    }
    CHECK_EQ(check_left().transit, 0);
}

static void
recover(void)
{
    fmp_ring_recover(&ring, child_id);
    fmp_heap_reclaim(heap, child_id);
    fmp_heap_reclaim(heap, child_id); /* a second time does no harm */
}

static void
kill_at(const char *point, unsigned nth)
{
    struct fault fault = {point, nth};
    open_all();
    CHECK_KILLED(start(be_victim, &fault), SIGKILL);
    recover();
    check_works();
    close_all();
}

/* Each point, at the first and a later passage where there is one. */
static void
test_killed_at_each_point(void)
{
    static const struct fault faults[] = {
        {"heap:bumped", 1},       {"heap:bumped", 3},       {"heap:tabled", 1},   {"heap:pushed", 2},
        {"heap:pushed", 3},       {"heap:carved", 1},       {"heap:carved", 2},   {"heap:claimed", 1},
        {"heap:claimed", 3},      {"heap:claimed", 5},      {"heap:reserved", 1}, {"heap:reserved", 2},
        {"heap:freeing", 1},      {"heap:freeing", 3},      {"heap:sending", 1},  {"heap:sending", 3},
        {"heap:transit", 1},      {"heap:transit", 3},      {"heap:transit", 4},  {"heap:received", 1},
        {"heap:received", 2},     {"heap:held", 1},         {"heap:held", 2},     {"heap:held", 3},
        {"heap:hold", 1},         {"heap:hold", 2},         {"heap:dropping", 1}, {"heap:dropping", 4},
        {"heap:drop-cleared", 1}, {"heap:drop-cleared", 2}, {"heap:unheld", 1},   {"heap:unheld", 2},
        {"heap:last", 1},         {"heap:last", 2},         {"heap:cold", 1},     {"heap:seized", 1},
        {"heap:planted", 1},      {"heap:huge", 1},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        kill_at(faults[i].point, faults[i].nth);
    }
}

/* ---- the reclaimer is killed ---- */

static uint32_t dead_id;

static void
be_reclaimer(void *arg)
{
    adopt(arg);
    fmp_ring_recover(&ring, dead_id);
    fmp_heap_reclaim(heap, dead_id);
}

static void
kill_reclaimer_at(const char *first, const char *second)
{
    struct fault fault = {first, 1}, again = {second, 1};
    open_all();
    CHECK_KILLED(start(be_victim, &fault), SIGKILL);
    dead_id = child_id;
    CHECK_KILLED(start(be_reclaimer, &again), SIGKILL);
    fmp_ring_recover(&ring, dead_id);
    recover();
    check_works();
    CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(dead_id)), 0);
    close_all();
}

static void
test_killed_reclaimer(void)
{
    kill_reclaimer_at("heap:claimed", "heap:seized");
    kill_reclaimer_at("heap:claimed", "heap:freeing");
    kill_reclaimer_at("heap:claimed", "heap:dropping");
    kill_reclaimer_at("heap:claimed", "heap:drop-cleared");
    kill_reclaimer_at("heap:claimed", "heap:swept");
    kill_reclaimer_at("heap:claimed", "participants:bury");
    kill_reclaimer_at("heap:transit", "heap:seized");
    kill_reclaimer_at("heap:hold", "heap:unheld");
    kill_reclaimer_at("heap:hold", "heap:last");
}

/* Several dead at once, found by one sweep; a living process's blocks stay. */
static void
hold_and_wait(void *arg)
{
    fmp_off off;
    _Atomic uint32_t *ready = arg;
    CHECK_OK(fmp_participant_adopt(&region, child_id));
    CHECK_OK(fmp_heap_alloc(heap, 1000, &off));
    atomic_fetch_add(ready, 1);
    pause();
}

static void
test_living_are_not_robbed(void)
{
    enum { N = 3 };
    pid_t pids[N];
    uint32_t ids[N];
    struct fmp_heap_stats stats;
    open_all();
    _Atomic uint32_t *ready = check_shared(64);
    for (unsigned i = 0; i < N; i++) {
        pids[i] = start(hold_and_wait, (void *)ready);
        ids[i] = child_id;
        CHECK_UNTIL(atomic_load(ready) == i + 1, 30000);
    }
    fmp_heap_reclaim(heap, ids[0]);
    fmp_heap_count(heap, &stats);
    CHECK_EQ(stats.owned, N);
    for (unsigned i = 0; i < N; i++) {
        kill(pids[i], SIGKILL);
        CHECK_UNTIL(fmp_participant_is_killed(&region, ids[i]), 30000); /* a zombie is dead */
        if (i > 0) {
            CHECK(fmp_participant_mark_dead(&region, ids[i])); /* as by somebody killed right after */
        }
        fmp_heap_count(heap, &stats);
        CHECK_EQ(stats.owned, N);
    }
    fmp_heap_reclaim(heap, ids[0]);
    fmp_heap_count(heap, &stats);
    CHECK_EQ(stats.owned, 0);
    CHECK_EQ(fmp_heap_holders(heap, kept[0]), 1);
    for (unsigned i = 0; i < N; i++) {
        CHECK_EQ(fmp_participant_in_slot(&region, FMP_ID_SLOT(ids[i])), 0);
        CHECK_KILLED(pids[i], SIGKILL);
    }
    munmap((void *)ready, 64);
    close_all();
}

static void
leave_something(void *arg)
{
    fmp_off off;
    (void)arg;
    CHECK_OK(fmp_participant_adopt(&region, child_id));
    CHECK_OK(fmp_heap_alloc(heap, 1000, &off));
    fmp_heap_drop(heap, ring_off, region.me);
    for (int i = 0; i < KEPT; i++) {
        fmp_heap_drop(heap, kept[i], region.me);
    }
    fmp_participant_leave(&region);
}

/* Left in order, but not all given back: the next sweep does it. */
static void
test_left_behind(void)
{
    struct fmp_heap_stats stats;
    struct fault fault = {"heap:claimed", 1};
    open_all();
    CHECK_EXITED(start(leave_something, NULL), 0);
    fmp_heap_count(heap, &stats);
    CHECK_EQ(stats.owned, 1);
    CHECK_KILLED(start(be_victim, &fault), SIGKILL);
    recover();
    check_works();
    close_all();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    char warm[16];
    snprintf(warm, sizeof warm, "%d", WARM_BYTES);
    setenv("FASTMP_WARM_BYTES", warm, 1);
    RUN(test_killed_at_each_point);
    RUN(test_killed_reclaimer);
    RUN(test_living_are_not_robbed);
    RUN(test_left_behind);
    return check_done();
}

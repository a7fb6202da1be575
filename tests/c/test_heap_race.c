/* The block heap under races: several actors, each a process or (for the thread sanitizer) a thread with a handle and
 * an identity of its own. Each checks that what it owns or holds is not touched by anybody else. */
#include <pthread.h>
#include <sched.h>

#include "base/atomic.h"
#include "check.h"
#include "heap/heap.h"

#define ACTORS 4
#define SLOTS 8
#define BLOCKS 3
#define TREE_DEPTH 3
#define TREE_CHILDREN 2

static struct fmp_region root;
static struct fmp_heap *root_heap;
static bool use_threads;

struct actor {
    struct fmp_region region; /* a copy, for its own `me` */
    struct fmp_heap *heap;
    uint64_t seed;
    int depth;
    fmp_off held[BLOCKS];
    void (*body)(struct actor *);
    pid_t pid;
    pthread_t thread;
};

static void
open_root(void)
{
    CHECK_OK(fmp_region_create(&root, 0));
    CHECK_OK(fmp_participant_join(&root));
    CHECK_OK(fmp_heap_open(&root_heap, &root));
}

static void
close_root(void)
{
    struct fmp_heap_stats stats;
    fmp_heap_count(root_heap, &stats);
    CHECK_EQ(stats.owned, 0);
    CHECK_EQ(stats.transit, 0);
    CHECK_EQ(stats.shared, 0);
    CHECK_EQ(stats.bytes_in_use, 0);
    fmp_heap_close(root_heap);
    fmp_region_close(&root);
}

/* ---- actors ---- */

static void *
act(void *arg)
{
    struct actor *a = arg;
    CHECK_OK(fmp_heap_open(&a->heap, &a->region));
    a->body(a);
    fmp_participant_leave(&a->region);
    fmp_heap_close(a->heap);
    return NULL;
}

static void
act_in_process(void *arg)
{
    struct actor *a = arg;
    CHECK_OK(fmp_participant_adopt(&a->region, a->region.me));
    act(a);
}

/* Starts `a` under the reserved identity. */
static void
start(struct actor *a, uint32_t id)
{
    a->region = root;
    a->region.me = id;
    if (use_threads) {
        CHECK_OK(fmp_participant_adopt(&a->region, id));
        CHECK_OK(-pthread_create(&a->thread, NULL, act, a));
    } else {
        a->pid = check_fork(act_in_process, a);
    }
}

static void
finish(struct actor *a)
{
    if (use_threads) {
        CHECK_OK(-pthread_join(a->thread, NULL));
    } else {
        CHECK_EXITED(a->pid, 0);
    }
}

/* Few sizes, so that all fight for the same blocks; now and then a large one. */
static uint64_t
some_size(struct actor *a)
{
    static const uint64_t sizes[] = {64, 200, 1000, 1000, 70000, 200000};
    uint64_t r = check_random(&a->seed);
    return r % 100 == 0 ? 2 << 20 : sizes[r / 100 % 6];
}

/* ---- messages ---- */

/* A tiny ring: cell i holds the offset of the block that is sent at position i, or 0. Relaxed throughout, as no ring
 * is: what a receiver sees of the payload is then the doing of the block's state alone. */
struct mailbox {
    _Atomic uint64_t cells[SLOTS];
};

static fmp_off mailbox_off;

/* The first and last words of a block say whose it is: nobody else may have written there. */
static void
mark(struct actor *a, fmp_off off, uint64_t value)
{
    uint64_t *p = fmp_at(&a->region, off), n = fmp_heap_usable(a->heap, off) / 8;
    p[0] = p[n - 1] = value;
}

static uint64_t
check_mark(struct actor *a, fmp_off off)
{
    uint64_t *p = fmp_at(&a->region, off), n = fmp_heap_usable(a->heap, off) / 8;
    CHECK_EQ(p[0], p[n - 1]);
    return p[0];
}

static void
receive(struct actor *a, uint64_t cell)
{
    struct mailbox *box = fmp_at(&a->region, mailbox_off);
    fmp_off off = atomic_exchange_explicit(&box->cells[cell], 0, memory_order_relaxed);
    if (off != 0) {
        CHECK_OK(fmp_heap_receive(a->heap, off, mailbox_off, cell));
        CHECK_EQ(check_mark(a, off) >> 32, 0x5e17);
        fmp_heap_free(a->heap, off);
    }
}

static void
send(struct actor *a, fmp_off off, uint64_t cell)
{
    struct mailbox *box = fmp_at(&a->region, mailbox_off);
    uint64_t none = 0;
    mark(a, off, UINT64_C(0x5e17) << 32 | a->region.me);
    CHECK_OK(fmp_heap_send(a->heap, off, mailbox_off, cell));
    if (!fmp_cas_relaxed(&box->cells[cell], &none, off)) { /* full: take it back */
        CHECK_OK(fmp_heap_receive(a->heap, off, mailbox_off, cell));
        CHECK_EQ(check_mark(a, off), UINT64_C(0x5e17) << 32 | a->region.me);
        fmp_heap_free(a->heap, off);
    }
}

static void
exchange_messages(struct actor *a)
{
    fmp_off mine[8] = {0};
    for (int round = 0; round < 4000; round++) {
        unsigned i = check_random(&a->seed) % 8;
        if (mine[i] == 0) {
            CHECK_OK(fmp_heap_alloc(a->heap, some_size(a), &mine[i]));
            mark(a, mine[i], UINT64_C(1) << 63 | a->region.me);
            continue;
        }
        CHECK_EQ(check_mark(a, mine[i]), UINT64_C(1) << 63 | a->region.me);
        if (check_random(&a->seed) % 2) {
            fmp_heap_free(a->heap, mine[i]);
        } else {
            send(a, mine[i], check_random(&a->seed) % SLOTS);
        }
        mine[i] = 0;
        receive(a, check_random(&a->seed) % SLOTS);
    }
    for (int i = 0; i < 8; i++) {
        fmp_heap_free(a->heap, mine[i]); /* 0 is no block: ignored */
    }
}

static void
race_messages(void)
{
    static struct actor actors[ACTORS], parent;
    open_root();
    CHECK_OK(fmp_heap_alloc_shared(root_heap, sizeof(struct mailbox), FMP_BLOCK_RING, &mailbox_off));
    for (int i = 0; i < ACTORS; i++) {
        actors[i] = (struct actor){.seed = 88172645463325252u + (unsigned)i, .body = exchange_messages};
        start(&actors[i], fmp_participant_reserve(&root));
    }
    for (int i = 0; i < ACTORS; i++) {
        finish(&actors[i]);
    }
    parent = (struct actor){.region = root, .heap = root_heap};
    for (uint64_t cell = 0; cell < SLOTS; cell++) {
        receive(&parent, cell);
    }
    fmp_heap_drop(root_heap, mailbox_off, root.me);
    close_root();
}

/* ---- holders ---- */

#define PATTERN UINT64_C(0x1234567890abcdef)

static void
check_pattern(struct actor *a, fmp_off off)
{
    uint64_t *p = fmp_at(&a->region, off);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(p[i], PATTERN);
    }
}

/* Others' blocks of the same size: would overwrite a shared block that was freed too early. */
static void
scribble(struct actor *a, int times)
{
    fmp_off offs[4];
    for (int round = 0; round < times; round++) {
        for (int i = 0; i < 4; i++) {
            CHECK_OK(fmp_heap_alloc(a->heap, 800, &offs[i]));
            memset(fmp_at(&a->region, offs[i]), round, 800);
        }
        for (int i = 0; i < 4; i++) {
            fmp_heap_free(a->heap, offs[i]);
        }
    }
}

/* Hands all that it still holds to a child, as fork does: the child is a holder before it exists. */
static bool
start_child(struct actor *a, struct actor *child)
{
    uint32_t id = fmp_participant_reserve(&a->region);
    CHECK(id != 0);
    *child = *a;
    child->seed = check_random(&a->seed);
    child->depth = a->depth - 1;
    for (int i = 0; i < BLOCKS; i++) {
        if (a->held[i] != 0) {
            fmp_heap_hold(a->heap, a->held[i], id);
        }
    }
    start(child, id);
    return true;
}

static void
maybe_drop(struct actor *a, unsigned one_in)
{
    for (int i = 0; i < BLOCKS; i++) {
        if (a->held[i] != 0 && check_random(&a->seed) % one_in == 0) {
            check_pattern(a, a->held[i]);
            fmp_heap_drop(a->heap, a->held[i], a->region.me);
            a->held[i] = 0;
        }
    }
}

static void
hold_and_drop(struct actor *a)
{
    struct actor children[TREE_CHILDREN];
    for (int i = 0; i < TREE_CHILDREN && a->depth > 0; i++) {
        start_child(a, &children[i]);
        scribble(a, (int)(check_random(&a->seed) % 20));
        maybe_drop(a, 4);
    }
    scribble(a, (int)(check_random(&a->seed) % 20));
    maybe_drop(a, 1);
    for (int i = 0; i < TREE_CHILDREN && a->depth > 0; i++) {
        finish(&children[i]);
    }
}

static void
race_holders(int rounds)
{
    open_root();
    for (int round = 0; round < rounds; round++) {
        struct actor a = {.seed = 2463534242u * (unsigned)(round + 1), .depth = TREE_DEPTH, .body = hold_and_drop};
        a.region = root;
        a.heap = root_heap;
        for (int i = 0; i < BLOCKS; i++) {
            CHECK_OK(fmp_heap_alloc_shared(root_heap, 800, FMP_BLOCK_DATA, &a.held[i]));
            uint64_t *p = fmp_at(&root, a.held[i]);
            for (int k = 0; k < 100; k++) {
                p[k] = PATTERN;
            }
        }
        hold_and_drop(&a);
    }
    close_root();
}

/* All actors hold the blocks and drop them at the same moment. */
struct gate {
    _Atomic uint32_t here;
};

static struct gate *gate;

static void
drop_together(struct actor *a)
{
    fmp_fetch_add_acq_rel(&gate->here, 1);
    while (fmp_load_acquire(&gate->here) % ACTORS != 0) {
        check_sleep_ms(0);
    }
    for (int i = 0; i < BLOCKS; i++) {
        check_pattern(a, a->held[i]);
        fmp_heap_drop(a->heap, a->held[i], a->region.me);
    }
}

static void
race_drops(int rounds)
{
    static struct actor actors[ACTORS];
    open_root();
    gate = check_shared(sizeof *gate);
    for (int round = 0; round < rounds; round++) {
        fmp_off offs[BLOCKS];
        uint32_t ids[ACTORS];
        for (int k = 0; k < ACTORS; k++) {
            ids[k] = fmp_participant_reserve(&root);
        }
        for (int i = 0; i < BLOCKS; i++) {
            CHECK_OK(fmp_heap_alloc_shared(root_heap, 800, FMP_BLOCK_DATA, &offs[i]));
            uint64_t *p = fmp_at(&root, offs[i]);
            for (int k = 0; k < 100; k++) {
                p[k] = PATTERN;
            }
            for (int k = 0; k < ACTORS; k++) {
                fmp_heap_hold(root_heap, offs[i], ids[k]);
            }
            fmp_heap_drop(root_heap, offs[i], root.me);
        }
        for (int k = 0; k < ACTORS; k++) {
            actors[k] = (struct actor){.seed = 1, .body = drop_together};
            memcpy(actors[k].held, offs, sizeof offs);
            start(&actors[k], ids[k]);
        }
        for (int k = 0; k < ACTORS; k++) {
            finish(&actors[k]);
        }
    }
    munmap(gate, sizeof *gate);
    close_root();
}

/* One actor is made a holder and drops, again and again; the other holds the block all the time, but under changing
 * bits, far apart: it sets the lower before it clears the higher one, so a scan may miss both. */
#define MOVES 8
#define ID_OF_SLOT(slot) (UINT32_C(1) << 12 | (slot))

static void
drop_when_told(struct actor *a)
{
    for (unsigned spins = 1; fmp_load_acquire(&gate->here) != UINT32_MAX; spins++) {
        if (fmp_load_acquire(&gate->here) == 1) {
            fmp_heap_drop(a->heap, a->held[0], a->region.me);
            fmp_store_release(&gate->here, 0);
        }
        if (spins % 1000 == 0) { /* on one core, let the other on */
            sched_yield();
        }
    }
}

static void
move_about(fmp_off off, uint32_t told)
{
    uint32_t high = ID_OF_SLOT(4000), low = ID_OF_SLOT(1000);
    fmp_heap_hold(root_heap, off, told);
    fmp_store_release(&gate->here, 1);
    for (int i = 0; i < MOVES; i++) {
        fmp_heap_hold(root_heap, off, low);
        fmp_heap_drop(root_heap, off, high);
        fmp_heap_hold(root_heap, off, high);
        fmp_heap_drop(root_heap, off, low);
    }
    CHECK(fmp_heap_usable(root_heap, off) != 0);
    for (unsigned spins = 1; fmp_load_acquire(&gate->here) != 0; spins++) {
        if (spins % 1000 == 0) {
            sched_yield();
        }
    }
    CHECK_EQ(fmp_heap_holders(root_heap, off), 1);
}

static void
race_moving_holder(int rounds)
{
    struct actor a = {.seed = 1, .body = drop_when_told};
    open_root();
    gate = check_shared(sizeof *gate);
    CHECK_OK(fmp_heap_alloc_shared(root_heap, 800, FMP_BLOCK_DATA, &a.held[0]));
    fmp_heap_hold(root_heap, a.held[0], ID_OF_SLOT(4000));
    fmp_heap_drop(root_heap, a.held[0], root.me);
    uint32_t id = fmp_participant_reserve(&root);
    start(&a, id);
    int64_t end = check_now_ns() + INT64_C(1000000000); /* a busy machine makes fewer rounds */
    for (int i = 0; i < rounds && check_now_ns() < end; i++) {
        move_about(a.held[0], id);
    }
    fmp_store_release(&gate->here, UINT32_MAX);
    finish(&a);
    fmp_heap_drop(root_heap, a.held[0], ID_OF_SLOT(4000));
    munmap(gate, sizeof *gate);
    close_root();
}

static void
test_moving_holder_in_processes(void)
{
    race_moving_holder(30000);
}

static void
test_moving_holder_in_threads(void)
{
    use_threads = true;
    race_moving_holder(30000);
}

static void
test_messages_between_processes(void)
{
    race_messages();
}

static void
test_messages_between_threads(void)
{
    use_threads = true;
    race_messages();
}

static void
test_holders_in_processes(void)
{
    race_holders(20);
}

static void
test_holders_in_threads(void)
{
    use_threads = true;
    race_holders(20);
}

static void
test_last_drop_in_processes(void)
{
    race_drops(60);
}

static void
test_last_drop_in_threads(void)
{
    use_threads = true;
    race_drops(60);
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_messages_between_processes);
    RUN(test_messages_between_threads);
    RUN(test_holders_in_processes);
    RUN(test_holders_in_threads);
    RUN(test_last_drop_in_processes);
    RUN(test_last_drop_in_threads);
    RUN(test_moving_holder_in_processes);
    RUN(test_moving_holder_in_threads);
    return check_done();
}

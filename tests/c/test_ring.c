/* The ring: order, bounds, many producers and consumers, and a process killed at every step. */
#include <pthread.h>

#include "base/fault.h"
#include "ring/layout.h"
#include "ring_kit.h"

/* ---- one process ---- */

static void
test_order_over_many_laps(void)
{
    struct fmp_ring ring;
    make(&ring);
    uint64_t value, in = 0, out = 0;
    for (int lap = 0; lap < 100; lap++) {
        while (push(&ring, in) == 0) {
            in++;
        }
        CHECK_EQ(fmp_ring_count(&ring), LIMIT);
        for (int i = 0; i < 1 + lap % LIMIT; i++) {
            CHECK_OK(pop(&ring, &value));
            CHECK_EQ(value, out++);
        }
        CHECK_EQ(in - out, fmp_ring_count(&ring));
    }
    while (pop(&ring, &value) == 0) {
        CHECK_EQ(value, out++);
    }
    CHECK_EQ(in, out);
    CHECK_EQ(fmp_ring_count(&ring), 0);
    CHECK_EQ(pop(&ring, &value), -EAGAIN);
    fmp_region_close(&region);
}

static void
test_limit_is_exact(void)
{
    struct fmp_ring ring;
    make(&ring);
    uint64_t value;
    for (uint64_t i = 0; i < LIMIT; i++) {
        CHECK_OK(push(&ring, i));
    }
    CHECK_EQ(push(&ring, 0), -EAGAIN);
    CHECK(!fmp_ring_may_push(&ring));
    CHECK_OK(pop(&ring, &value));
    CHECK(fmp_ring_may_push(&ring));
    CHECK_OK(push(&ring, 0));
    CHECK_EQ(push(&ring, 0), -EAGAIN);
    fmp_region_close(&region);
}

static void
test_cancelled_push_is_skipped(void)
{
    struct fmp_ring ring;
    make(&ring);
    struct fmp_ring_ticket t;
    uint64_t value;
    CHECK_OK(push(&ring, 1));
    CHECK_OK(fmp_ring_begin_push(&ring, &t));
    CHECK_OK(push(&ring, 2));
    fmp_ring_cancel_push(&ring, &t);
    CHECK_OK(pop(&ring, &value));
    CHECK_EQ(value, 1);
    CHECK_OK(pop(&ring, &value));
    CHECK_EQ(value, 2);
    CHECK_EQ(pop(&ring, &value), -EAGAIN);
    CHECK_EQ(fmp_ring_count(&ring), 0);
    fmp_region_close(&region);
}

static void
test_a_ring_that_is_none_is_refused(void)
{
    struct fmp_ring ring;
    make(&ring);
    struct fmp_ring_shm *shm = ring.shm;
    uint64_t bytes = fmp_ring_bytes(LIMIT);
    CHECK_EQ(fmp_ring_open(&ring, &region, region.size, bytes), -EPROTO);
    CHECK_EQ(fmp_ring_open(&ring, &region, RING_OFF, bytes - 1), -EPROTO);
    shm->capacity = 3;
    CHECK_EQ(fmp_ring_open(&ring, &region, RING_OFF, bytes), -EPROTO);
    shm->limit = UINT64_MAX;
    CHECK_EQ(fmp_ring_open(&ring, &region, RING_OFF, bytes), -EPROTO);
    CHECK_EQ(fmp_ring_bytes(0), 0);
    fmp_region_close(&region);
}

/* ---- many ---- */

#define ACTORS 3
#define EACH 20000u

struct tally {
    _Atomic uint64_t count, sum;
    _Atomic uint32_t disorder;
};

struct actor {
    struct fmp_region region; /* a copy, for its own `me` */
    struct tally *tally;
    uint64_t number;
    bool produces;
    pthread_t thread;
    pid_t pid;
};

static void
produce(struct actor *a, struct fmp_ring *ring)
{
    for (uint64_t i = 1; i <= EACH; i++) {
        push_wait(ring, a->number << 32 | i);
    }
}

/* Takes until all has come; whatever one consumer sees of one producer is in order. */
static void
consume(struct actor *a, struct fmp_ring *ring)
{
    uint64_t last[ACTORS] = {0}, value;
    while (fmp_load_relaxed(&a->tally->count) < ACTORS * EACH) {
        if (!pop_wait(ring, &value, 0)) {
            check_sleep_ms(1);
            continue;
        }
        uint64_t from = value >> 32, i = value & 0xffffffff;
        if (i <= last[from]) {
            fmp_fetch_add_relaxed(&a->tally->disorder, 1);
        }
        last[from] = i;
        fmp_fetch_add_relaxed(&a->tally->sum, i);
        fmp_fetch_add_relaxed(&a->tally->count, 1);
    }
}

static void
act(struct actor *a)
{
    struct fmp_ring ring;
    CHECK_OK(fmp_participant_join(&a->region));
    open_ring(&ring, &a->region);
    a->produces ? produce(a, &ring) : consume(a, &ring);
    fmp_participant_leave(&a->region);
}

static void *
act_in_thread(void *arg)
{
    act(arg);
    return NULL;
}

static void
act_in_child(void *arg)
{
    act(arg);
}

static void
many_to_many(bool threads)
{
    struct fmp_ring ring;
    make(&ring);
    struct tally *tally = check_shared(sizeof *tally);
    static struct actor actors[2 * ACTORS];
    for (unsigned i = 0; i < 2 * ACTORS; i++) {
        actors[i] = (struct actor){.region = region, .tally = tally, .number = i / 2, .produces = i % 2};
        if (threads) {
            CHECK_EQ(pthread_create(&actors[i].thread, NULL, act_in_thread, &actors[i]), 0);
        } else {
            actors[i].pid = check_fork(act_in_child, &actors[i]);
        }
    }
    for (unsigned i = 0; i < 2 * ACTORS; i++) {
        if (threads) {
            pthread_join(actors[i].thread, NULL);
        } else {
            CHECK_EXITED(actors[i].pid, 0);
        }
    }
    CHECK_EQ(tally->count, ACTORS * EACH);
    CHECK_EQ(tally->sum, ACTORS * (uint64_t)EACH * (EACH + 1) / 2);
    CHECK_EQ(tally->disorder, 0);
    CHECK_EQ(fmp_ring_count(&ring), 0);
    fmp_region_close(&region);
}

static void
test_many_processes(void)
{
    many_to_many(false);
}

static void
test_many_threads(void)
{
    many_to_many(true);
}

/* ---- death ---- */

#ifdef FMP_FAULT_POINTS

struct death {
    const char *point;
    bool producer;
    bool message_arrives; /* a producer killed after publication has sent it */
};

static const struct death deaths[] = {
    {"ring:claimed", true, false},  {"ring:tail-moved", true, false}, {"ring:written", true, false},
    {"ring:published", true, true}, {"ring:taken", false, false},     {"ring:head-moved", false, false},
    {"ring:read", false, false},    {"ring:emptied", false, false},
};

static void
die_at(void *arg)
{
    const struct death *d = arg;
    struct fmp_ring ring;
    uint64_t value;
    join(&ring);
    fmp_fault_arm(d->point, 1);
    (void)(d->producer ? push(&ring, 666) : pop(&ring, &value));
    CHECK_FAIL("%s was not passed", d->point);
}

/* One message before, a death at the point, LIMIT messages after it: whoever lives gets all but, at most, the one in
 * the dead one's hand. */
static void
test_death_at_every_point(void)
{
    for (unsigned i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        struct death d = deaths[i];
        struct fmp_ring ring;
        make(&ring);
        push_wait(&ring, 100);
        CHECK_KILLED(check_fork(die_at, &d), SIGKILL);
        uint64_t value;
        if (d.producer) {
            CHECK(pop_wait(&ring, &value, 5));
            CHECK_EQ(value, 100);
        }
        if (d.message_arrives) {
            CHECK(pop_wait(&ring, &value, 5));
            CHECK_EQ(value, 666);
        }
        for (uint64_t n = 0; n < 3 * LIMIT; n++) {
            push_wait(&ring, n);
            CHECK(pop_wait(&ring, &value, 5));
            CHECK_EQ(value, n);
        }
        CHECK_EQ(fmp_ring_count(&ring), 0);
        fmp_region_close(&region);
    }
}

/* A producer dies with a claim while the ring is full to its limit: the producers that wait get room all the same. */
static void
test_death_in_a_full_ring(void)
{
    struct death d = {.point = "ring:claimed", .producer = true};
    struct fmp_ring ring;
    make(&ring);
    CHECK_KILLED(check_fork(die_at, &d), SIGKILL);
    for (uint64_t n = 0; n < LIMIT; n++) {
        push_wait(&ring, n);
    }
    uint64_t value;
    for (uint64_t n = 0; n < LIMIT; n++) {
        CHECK(pop_wait(&ring, &value, 5));
        CHECK_EQ(value, n);
    }
    fmp_region_close(&region);
}

/* A consumer that only waits wakes by itself when the producer died between publication and the wake. */
static void
test_lost_wake_up_is_only_late(void)
{
    struct death d = {.point = "ring:published", .producer = true};
    struct fmp_ring ring;
    make(&ring);
    pid_t pid = check_fork(die_at, &d);
    uint64_t value;
    CHECK(pop_wait(&ring, &value, 5));
    CHECK_EQ(value, 666);
    CHECK_KILLED(pid, SIGKILL);
    fmp_region_close(&region);
}

static uint32_t seen_owner;
static uint64_t seen_value;

static void
see(void *ctx, uint32_t owner, bool was_taken, uint64_t position, const struct fmp_record *record)
{
    (void)ctx;
    (void)position;
    CHECK(was_taken);
    seen_owner = owner;
    memcpy(&seen_value, record->data, sizeof seen_value);
}

static void
test_recover_shows_what_was_taken(void)
{
    struct death d = {.point = "ring:taken", .producer = false};
    struct fmp_ring ring;
    make(&ring);
    push_wait(&ring, 42);
    CHECK_KILLED(check_fork(die_at, &d), SIGKILL);
    uint32_t dead = (1u << 12) | (FMP_ID_SLOT(region.me) + 1); /* the next slot's first generation */
    ring.on_dead = see;
    fmp_ring_recover(&ring, dead);
    CHECK_EQ(seen_owner, dead);
    CHECK_EQ(seen_value, 42);
    fmp_region_close(&region);
}
#endif

/* ---- damage ---- */

static void
fill(struct fmp_ring *ring, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        CHECK_OK(push(ring, i));
    }
}

/* What cannot be, in lap 0, with head at the cell. */
static const uint64_t impossible[] = {
    0x5555555555555555,
    (uint64_t)FMP_CELL_FULL << FMP_CELL_PHASE_SHIFT | 7, /* full, and somebody's */
    (uint64_t)FMP_CELL_CLAIMED << FMP_CELL_PHASE_SHIFT,  /* claimed by nobody */
    UINT64_C(2) << FMP_CELL_LAP_SHIFT,                   /* far ahead */
    FMP_CELL_LAP_MASK << FMP_CELL_LAP_SHIFT,             /* still empty in the lap before */
};

/* The consumer is told, once, and the messages behind it are there; so is the room. */
static void
test_damaged_cell_of_a_message(void)
{
    struct fmp_ring ring;
    uint64_t value;
    make(&ring);
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        uint64_t head = fmp_load_relaxed(&ring.shm->head);
        fill(&ring, 3);
        uint64_t lap = (head >> ring.log2_capacity) << FMP_CELL_LAP_SHIFT;
        fmp_store_relaxed(&ring.shm->cells[head & (ring.capacity - 1)].state, impossible[i] + lap);
        CHECK(fmp_ring_may_pop(&ring));
        CHECK(fmp_ring_has_record(&ring));
        CHECK_EQ(pop(&ring, &value), -EBADMSG);
        CHECK_OK(pop(&ring, &value));
        CHECK_EQ(value, 1);
        CHECK_OK(pop(&ring, &value));
        CHECK_EQ(pop(&ring, &value), -EAGAIN);
        fill(&ring, LIMIT);
        CHECK_EQ(push(&ring, 0), -EAGAIN);
        for (uint64_t n = 0; n < LIMIT; n++) {
            CHECK_OK(pop(&ring, &value));
        }
    }
    fmp_region_close(&region);
}

/* A producer makes a free cell free again. */
static void
test_damaged_free_cell(void)
{
    struct fmp_ring ring;
    uint64_t value;
    make(&ring);
    fill(&ring, 1);
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        uint64_t tail = fmp_load_relaxed(&ring.shm->tail);
        uint64_t lap = (tail >> ring.log2_capacity) << FMP_CELL_LAP_SHIFT;
        fmp_store_relaxed(&ring.shm->cells[tail & (ring.capacity - 1)].state, impossible[i] + lap);
        CHECK(fmp_ring_may_push(&ring));
        CHECK_OK(push(&ring, i));
        CHECK_OK(pop(&ring, &value));
        CHECK_EQ(value, i == 0 ? 0 : i - 1);
    }
    fmp_region_close(&region);
}

/* Tail or head in a place where it cannot be: an error for the producer, within a lap. */
static void
test_damaged_ends(void)
{
    static const uint64_t places[] = {UINT64_MAX - 50, UINT64_MAX / 2, UINT64_C(1) << 62, 1000, 100000};
    struct fmp_ring ring;
    uint64_t value;
    for (size_t i = 0; i < 2 * sizeof places / sizeof *places; i++) {
        make(&ring);
        fill(&ring, 2);
        fmp_store_relaxed(i % 2 == 0 ? &ring.shm->tail : &ring.shm->head, places[i / 2]);
        open_ring(&ring, &region);
        int rc = 0;
        for (uint64_t n = 0; n <= 2 * ring.capacity && rc == 0; n++) {
            CHECK(fmp_ring_may_push(&ring));
            rc = push(&ring, 5);
        }
        CHECK_EQ(rc, -EBADMSG);
        CHECK(fmp_ring_count(&ring) <= LIMIT);
        for (uint64_t n = 0; n <= 2 * ring.capacity && pop(&ring, &value) != -EAGAIN; n++) {
            CHECK(n < 2 * ring.capacity);
        }
        fmp_region_close(&region);
    }
}

/* What the consumer finds behind tail that nobody has claimed is dropped, and then the ring is as good as new. */
static void
check_is_usable_again(struct fmp_ring *ring)
{
    uint64_t value;
    CHECK(fmp_ring_count(ring) != 0);
    CHECK(fmp_ring_drop_unclaimed(ring));
    CHECK(!fmp_ring_drop_unclaimed(ring));
    CHECK_EQ(fmp_ring_count(ring), 0);
    fill(ring, LIMIT);
    CHECK(!fmp_ring_drop_unclaimed(ring));
    CHECK_EQ(push(ring, 0), -EAGAIN);
    for (uint64_t n = 0; n < LIMIT; n++) {
        CHECK_OK(pop(ring, &value));
        CHECK_EQ(value, n);
    }
    CHECK_EQ(pop(ring, &value), -EAGAIN);
}

static void
test_tail_beyond_what_was_claimed(void)
{
    static const uint64_t steps[] = {1, 5, LIMIT, LIMIT + 1, 1000, UINT64_C(1) << 62};
    struct fmp_ring ring;
    uint64_t value;
    make(&ring);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fill(&ring, 2);
        uint64_t tail = fmp_load_relaxed(&ring.shm->tail);
        fmp_store_relaxed(&ring.shm->tail, tail + steps[i]);
        CHECK_OK(pop(&ring, &value));
        CHECK_OK(pop(&ring, &value));
        CHECK_EQ(pop(&ring, &value), -EAGAIN);
        check_is_usable_again(&ring);
    }
    fmp_region_close(&region);
}

static void
test_message_made_a_free_cell(void)
{
    struct fmp_ring ring;
    uint64_t value;
    make(&ring);
    fill(&ring, 3);
    fmp_store_relaxed(&ring.shm->cells[1].state, fmp_cell_state(0, FMP_CELL_EMPTY, 0));
    CHECK_OK(pop(&ring, &value));
    CHECK_EQ(pop(&ring, &value), -EAGAIN);
    CHECK(fmp_ring_drop_unclaimed(&ring));
    CHECK_OK(pop(&ring, &value));
    CHECK_EQ(value, 2);
    fmp_region_close(&region);
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_order_over_many_laps);
    RUN(test_limit_is_exact);
    RUN(test_cancelled_push_is_skipped);
    RUN(test_a_ring_that_is_none_is_refused);
    RUN(test_many_processes);
    RUN(test_many_threads);
#ifdef FMP_FAULT_POINTS
    RUN(test_death_at_every_point);
    RUN(test_death_in_a_full_ring);
    RUN(test_lost_wake_up_is_only_late);
    RUN(test_recover_shows_what_was_taken);
#endif
    RUN(test_damaged_cell_of_a_message);
    RUN(test_damaged_free_cell);
    RUN(test_damaged_ends);
    RUN(test_tail_beyond_what_was_claimed);
    RUN(test_message_made_a_free_cell);
    return check_done();
}

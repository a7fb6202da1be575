/* Messages in a row: tail is behind for a while, and nobody is deceived by it. */
#include <sched.h>

#include "base/fault.h"
#include "ring/layout.h"
#include "ring_kit.h"

static int
push_in_row(struct fmp_ring *ring, uint64_t value)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_push_in_row(ring, &t);
    if (rc == 0) {
        write_value(&t, value);
        fmp_ring_end_push_in_row(ring, &t);
    }
    return rc;
}

static int
pop_in_row(struct fmp_ring *ring, uint64_t *value)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_pop(ring, &t);
    if (rc == 0) {
        memcpy(value, t.cell->record.data, sizeof *value);
        fmp_ring_end_pop_in_row(ring, &t);
    }
    return rc;
}

/* How far head or tail is behind `place`. */
static uint64_t
lag(_Atomic uint64_t *end, uint64_t place)
{
    return place - fmp_load_relaxed(end);
}

/* The words are behind, by no more than the lag; what another handle counts is exact, and the end of a row is too. */
static void
test_ends_follow(void)
{
    struct fmp_ring ring, other;
    uint64_t value, most = 0;
    make(&ring);
    open_ring(&other, &region);
    for (uint64_t in = 0; in < LIMIT; in++) {
        CHECK_OK(push_in_row(&ring, in));
        CHECK(lag(&ring.shm->tail, in + 1) < FMP_RING_LAG);
        most = lag(&ring.shm->tail, in + 1) > most ? lag(&ring.shm->tail, in + 1) : most;
        CHECK_EQ(fmp_ring_count(&other), in + 1);
    }
    CHECK_EQ(most, FMP_RING_LAG - 1);
    CHECK_EQ(push_in_row(&ring, 0), -EAGAIN);
    CHECK_EQ(push(&other, 0), -EAGAIN);
    fmp_ring_end_push_row(&ring);
    CHECK_EQ(lag(&ring.shm->tail, LIMIT), 0);
    for (uint64_t out = 0; out < LIMIT - 1; out++) {
        CHECK_OK(pop_in_row(&ring, &value));
        CHECK_EQ(value, out);
        CHECK(lag(&ring.shm->head, out + 1) < FMP_RING_LAG);
        CHECK_EQ(fmp_ring_count(&other), LIMIT - 1 - out);
        CHECK(fmp_ring_may_push(&other));
    }
    fmp_ring_end_pop_row(&ring);
    CHECK_EQ(lag(&ring.shm->head, LIMIT - 1), 0);
    CHECK_OK(pop_in_row(&ring, &value));
    CHECK_EQ(pop_in_row(&ring, &value), -EAGAIN);
    CHECK_EQ(lag(&ring.shm->head, LIMIT), 0); /* who finds nothing has helped */
    fmp_region_close(&region);
}

/* The end of a row brings the word up, before anybody has helped. */
static void
test_end_brings_the_words_up(void)
{
    struct fmp_ring ring;
    uint64_t value;
    make(&ring);
    for (uint64_t in = 0; in < 5; in++) {
        CHECK_OK(push_in_row(&ring, in));
    }
    CHECK_EQ(lag(&ring.shm->tail, 5), 5);
    fmp_ring_end_push_row(&ring);
    CHECK_EQ(lag(&ring.shm->tail, 5), 0);
    for (uint64_t out = 0; out < 5; out++) {
        CHECK_OK(pop_in_row(&ring, &value));
    }
    fmp_ring_end_pop_row(&ring);
    CHECK_EQ(lag(&ring.shm->head, 5), 0);
    fmp_region_close(&region);
}

/* Others push and pop in between: first in, first out, and the room is what it was. */
static void
test_others_in_between(void)
{
    struct fmp_ring ring, other;
    uint64_t value, in = 0, out = 0;
    make(&ring);
    open_ring(&other, &region);
    for (unsigned i = 0; i < 5000; i++) {
        struct fmp_ring *pusher = i % 7 < 5 ? &ring : &other, *popper = i % 11 < 8 ? &ring : &other;
        for (unsigned n = 0; n <= i % 13; n++) {
            int rc = i % 3 == 0 ? push(pusher, in) : push_in_row(pusher, in);
            CHECK_EQ(rc, in - out == LIMIT ? -EAGAIN : 0);
            in += rc == 0;
        }
        for (unsigned n = 0; n <= i % 12; n++) {
            int rc = i % 4 == 0 ? pop(popper, &value) : pop_in_row(popper, &value);
            CHECK_EQ(rc, in == out ? -EAGAIN : 0);
            CHECK_EQ(rc == 0 ? value : out, out);
            out += rc == 0;
        }
        CHECK_EQ(fmp_ring_count(&other), in - out);
    }
    CHECK(out > 5000);
    fmp_region_close(&region);
}

/* ---- many ---- */

#define ACTORS 3
#define EACH 20000u
#define ROW 5

struct tally {
    _Atomic uint64_t count, sum;
    _Atomic uint32_t disorder;
};

static struct tally *tally;

static void
produce(void *arg)
{
    struct fmp_ring ring;
    uint64_t number = *(uint64_t *)arg;
    join(&ring);
    for (uint64_t i = 1; i <= EACH; i++) {
        if (push_in_row(&ring, number << 32 | i) != 0) {
            fmp_ring_end_push_row(&ring);
            push_wait(&ring, number << 32 | i);
        } else if (i % ROW == 0) {
            fmp_ring_end_push_row(&ring);
        }
    }
    fmp_ring_end_push_row(&ring);
    fmp_participant_leave(&region);
}

static bool
take(struct fmp_ring *ring, uint64_t *value, unsigned n)
{
    if (n % ROW != 0 && pop_in_row(ring, value) == 0) {
        return true;
    }
    fmp_ring_end_pop_row(ring);
    return pop(ring, value) == 0;
}

static void
consume(void *arg)
{
    struct fmp_ring ring;
    uint64_t last[ACTORS] = {0}, value;
    (void)arg;
    join(&ring);
    for (unsigned n = 0; fmp_load_relaxed(&tally->count) < ACTORS * EACH; n++) {
        if (!take(&ring, &value, n)) {
            sched_yield();
            continue;
        }
        uint64_t from = value >> 32, i = value & 0xffffffff;
        fmp_fetch_add_relaxed(&tally->disorder, i <= last[from]);
        last[from] = i;
        fmp_fetch_add_relaxed(&tally->sum, i);
        fmp_fetch_add_relaxed(&tally->count, 1);
    }
    fmp_ring_end_pop_row(&ring);
    fmp_participant_leave(&region);
}

static void
test_rows_of_many(void)
{
    struct fmp_ring ring;
    make(&ring);
    tally = check_shared(sizeof *tally);
    pid_t pids[2 * ACTORS];
    for (uint64_t i = 0; i < ACTORS; i++) {
        pids[2 * i] = check_fork(produce, &i);
        pids[2 * i + 1] = check_fork(consume, &i);
    }
    for (unsigned i = 0; i < 2 * ACTORS; i++) {
        CHECK_EXITED(pids[i], 0);
    }
    CHECK_EQ(tally->count, ACTORS * EACH);
    CHECK_EQ(tally->sum, ACTORS * (uint64_t)EACH * (EACH + 1) / 2);
    CHECK_EQ(tally->disorder, 0);
    CHECK_EQ(fmp_ring_count(&ring), 0);
    fmp_region_close(&region);
}

/* ---- death ---- */

#ifdef FMP_FAULT_POINTS

struct death {
    const char *point;
    uint64_t nth;     /* message of the row */
    uint64_t arrived; /* of those that were to be pushed; or, for a consumer, gone with it */
    bool producer;
};

#define LONG_ROW 9 /* one more than the lag */

static const struct death deaths[] = {
    {"ring:claimed", 6, 5, true},
    {"ring:written", 6, 5, true},
    {"ring:published", 6, 6, true},
    {"ring:claimed", 8, 7, true},
    {"ring:claimed", 1, 0, true},
    {"ring:row-published", 1, LONG_ROW, true},
    {"ring:taken", 6, 6, false},
    {"ring:read", 6, 6, false},
    {"ring:emptied", 6, 6, false},
    {"ring:taken", 8, 8, false},
    {"ring:row-emptied", 1, LONG_ROW, false},
};

static void
die_at(void *arg)
{
    const struct death *d = arg;
    struct fmp_ring ring;
    uint64_t value;
    join(&ring);
    fmp_fault_arm(d->point, (unsigned)d->nth);
    for (uint64_t i = 0; i < LONG_ROW; i++) {
        (void)(d->producer ? push_in_row(&ring, i) : pop_in_row(&ring, &value));
    }
    d->producer ? fmp_ring_end_push_row(&ring) : fmp_ring_end_pop_row(&ring);
    CHECK_FAIL("%s was not passed", d->point);
}

/* What was published is there, what was taken is gone, and the ring goes on, wherever the words have stayed behind. */
static void
test_death_in_a_row(void)
{
    for (unsigned i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        struct death d = deaths[i];
        struct fmp_ring ring;
        uint64_t value;
        make(&ring);
        for (uint64_t n = 0; n < 10 && !d.producer; n++) {
            push_wait(&ring, n);
        }
        CHECK_KILLED(check_fork(die_at, &d), SIGKILL);
        uint64_t first = d.producer ? 0 : d.arrived, end = d.producer ? d.arrived : 10;
        uint64_t claimed = d.producer && strcmp(d.point, "ring:published") != 0 && d.arrived < LONG_ROW;
        CHECK_EQ(fmp_ring_count(&ring), end - first + claimed); /* before anybody has helped */
        for (uint64_t n = first; n < end; n++) {
            CHECK(pop_wait(&ring, &value, 5));
            CHECK_EQ(value, n);
        }
        for (uint64_t n = 0; n < 3 * LIMIT; n++) {
            push_wait(&ring, n);
            CHECK(pop_wait(&ring, &value, 5));
            CHECK_EQ(value, n);
        }
        CHECK_EQ(fmp_ring_count(&ring), 0);
        for (uint64_t n = 0; n < LIMIT; n++) {
            CHECK_OK(push(&ring, n));
        }
        CHECK_EQ(push(&ring, 0), -EAGAIN);
        fmp_region_close(&region);
    }
}

#endif

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_ends_follow);
    RUN(test_end_brings_the_words_up);
    RUN(test_others_in_between);
    RUN(test_rows_of_many);
#ifdef FMP_FAULT_POINTS
    RUN(test_death_in_a_row);
#endif
    return check_done();
}

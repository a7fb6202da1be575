/* The pace of a ring's two sides: a moment in a stream, and none else. */
#include <pthread.h>

#include "ring/pace.h"
#include "ring_kit.h"

/* As of a call that has not paused yet. */
static bool
lets_fill(struct fmp_ring *ring)
{
    bool may = true, is_fill = fmp_ring_let_fill(ring, &may);
    CHECK_EQ(may, !is_fill);
    return is_fill;
}

static bool
lets_drain(struct fmp_ring *ring)
{
    bool may = true, is_drain = fmp_ring_let_drain(ring, &may);
    CHECK_EQ(may, !is_drain);
    return is_drain;
}

static void
push_and_pop(struct fmp_ring *ring, unsigned count)
{
    uint64_t value;
    for (unsigned i = 0; i < count; i++) {
        CHECK_OK(push(ring, i));
    }
    for (unsigned i = 0; i < count; i++) {
        CHECK_OK(pop(ring, &value));
    }
}

/* On a single core there is never a moment. */
static void
test_a_moment_in_a_stream_only(void)
{
    struct fmp_ring ring;
    make(&ring);
    CHECK(!lets_fill(&ring));
    for (int i = 0; i < 3; i++) { /* round trips */
        push_and_pop(&ring, 1);
        CHECK(!lets_fill(&ring));
    }
    uint64_t last_ns = 0;
    for (int i = 0; i < 20; i++) {
        push_and_pop(&ring, LIMIT);
        CHECK_EQ(lets_fill(&ring), fmp_spin_helps());
        CHECK(ring.pop_pace.moment_ns >= last_ns);
        last_ns = ring.pop_pace.moment_ns;
    }
    CHECK(last_ns < FMP_NS_PER_MS / 100);
    CHECK(!lets_fill(&ring)); /* nothing has come meanwhile: the stream is over */
    CHECK_EQ(ring.pop_pace.moment_ns, 0);
    fmp_region_close(&region);
}

static void
test_a_full_ring_that_nobody_reads_is_not_waited_for(void)
{
    struct fmp_ring ring;
    make(&ring);
    while (push(&ring, 0) == 0) {
    }
    CHECK(!lets_drain(&ring));
    fmp_region_close(&region);
}

static void *
pop_all(void *arg)
{
    struct fmp_ring ring;
    open_ring(&ring, &region);
    uint64_t value;
    _Atomic bool *may_end = arg;
    while (!fmp_load_relaxed(may_end)) { /* relaxed: a flag alone */
        (void)pop(&ring, &value);
    }
    return NULL;
}

static void
test_a_full_ring_that_is_read_drains(void)
{
    struct fmp_ring ring;
    make(&ring);
    _Atomic bool may_end = false;
    pthread_t reader;
    CHECK_EQ(pthread_create(&reader, NULL, pop_all, &may_end), 0);
    bool has_drained = !fmp_spin_helps();
    for (int64_t end = check_now_ns() + (int64_t)(30 * FMP_NS_PER_S); !has_drained && check_now_ns() < end;) {
        has_drained = push(&ring, 0) != 0 && lets_drain(&ring);
    }
    CHECK(has_drained);
    fmp_store_relaxed(&may_end, true);
    pthread_join(reader, NULL);
    fmp_region_close(&region);
}
int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_a_moment_in_a_stream_only);
    RUN(test_a_full_ring_that_nobody_reads_is_not_waited_for);
    RUN(test_a_full_ring_that_is_read_drains);
    return check_done();
}

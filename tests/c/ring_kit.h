/* For the unit programs of ring/: one ring in a region of its own, pushing and popping numbers. */
#ifndef FMP_TESTS_RING_KIT_H
#define FMP_TESTS_RING_KIT_H

#include "check.h"
#include "ring/ring.h"

#define LIMIT 16
#define RING_OFF FMP_HEAP_OFF /* no heap here: the ring lies where it would begin */

static struct fmp_region region;

static void
open_ring(struct fmp_ring *ring, struct fmp_region *r)
{
    CHECK_OK(fmp_ring_open(ring, r, RING_OFF, fmp_ring_bytes(LIMIT)));
}

static void
make(struct fmp_ring *ring)
{
    CHECK_OK(fmp_region_create(&region, 1 << 24));
    CHECK_OK(fmp_participant_join(&region));
    CHECK_OK(fmp_ring_init(fmp_at(&region, RING_OFF), LIMIT));
    open_ring(ring, &region);
}

/* In a child: as a process of its own. */
CHECK_UNUSED static void
join(struct fmp_ring *ring)
{
    region.me = 0;
    CHECK_OK(fmp_participant_join(&region));
    open_ring(ring, &region);
}

static void
write_value(const struct fmp_ring_ticket *t, uint64_t value)
{
    t->cell->record.bytes = sizeof value;
    t->cell->record.block = 0;
    memcpy(t->cell->record.data, &value, sizeof value);
}

static int
push(struct fmp_ring *ring, uint64_t value)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_push(ring, &t);
    if (rc == 0) {
        write_value(&t, value);
        fmp_ring_end_push(ring, &t);
    }
    return rc;
}

static int
pop(struct fmp_ring *ring, uint64_t *value)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_pop(ring, &t);
    if (rc == 0) {
        memcpy(value, t.cell->record.data, sizeof *value);
        fmp_ring_end_pop(ring, &t);
    }
    return rc;
}
CHECK_UNUSED static void
push_wait(struct fmp_ring *ring, uint64_t value)
{
    struct fmp_spin spin = {0};
    while (push(ring, value) != 0) {
        (void)fmp_ec_await(&ring->shm->space, fmp_ring_may_push, ring, FMP_NEVER, &spin);
    }
}

/* False when nothing has come for `seconds`. */
CHECK_UNUSED static bool
pop_wait(struct fmp_ring *ring, uint64_t *value, int seconds)
{
    struct fmp_spin spin = {0};
    uint64_t deadline = (uint64_t)check_now_ns() + (uint64_t)seconds * FMP_NS_PER_S;
    while (pop(ring, value) != 0) {
        if (fmp_ec_await(&ring->shm->items, fmp_ring_may_pop, ring, deadline, &spin) == -ETIMEDOUT) {
            return false;
        }
    }
    return true;
}

#endif

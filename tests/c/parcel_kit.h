/* What the programs on parcels share: a region with two participants and a ring that messages are sent through. */
#ifndef FMP_TESTS_PARCEL_KIT_H
#define FMP_TESTS_PARCEL_KIT_H

#include "check.h"
#include "heap/internal.h"
#include "heap/parcels.h"

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

#endif

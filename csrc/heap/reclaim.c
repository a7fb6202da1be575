/*
 * What the dead held is given back; see heap.h.
 *
 * One sweep serves all participants that are marked dead: OWNED(dead) blocks are freed, the dead's holder bits are
 * cleared, blocks in TRANSIT that no cell names any more are freed, and then the dead are buried. Each block goes
 * through OWNED(reclaimer), so a reclaimer that is killed is just one more dead owner. A sweep may be repeated.
 *
 * One process sweeps a region at a time: were there two, the slower could clear the bit of a slot that the faster has
 * buried and that has a new user. Who finds another at work leaves its dead, marked, to him: he looks again after he
 * has let go of the sweep. So nobody waits, and no dead participant is forgotten.
 */
#include "base/fault.h"
#include "heap/internal.h"

#define DEAD_PER_SWEEP 64u

struct dead {
    uint32_t ids[DEAD_PER_SWEEP];
    unsigned count;
};

static bool
is_among(const struct dead *dead, uint32_t id)
{
    for (unsigned i = 0; i < dead->count; i++) {
        if (dead->ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* All participants that are marked dead, up to DEAD_PER_SWEEP: the others come in the next sweep. */
static void
find_dead(struct fmp_region *r, struct dead *dead)
{
    dead->count = 0;
    for (uint32_t slot = 0; slot < FMP_PARTICIPANTS_MAX && dead->count < DEAD_PER_SWEEP; slot++) {
        uint32_t id = fmp_participant_dead_in_slot(r, slot);
        if (id != 0) {
            dead->ids[dead->count++] = id;
        }
    }
}

static bool
enter(struct fmp_heap *heap)
{
    _Atomic uint32_t *reclaimer = &heap->shm->reclaimer;
    uint32_t other = 0;
    /* H17: after our marks, before our look at the reclaimer. Pairs with the fence in leave. */
    fmp_fence_seq_cst();
    if (fmp_cas_acquire(reclaimer, &other, heap->region->me)) { /* H16: pairs with the CAS in leave */
        return true;
    }
    return fmp_participant_fate(heap->region, other) != FMP_ALIVE &&
           fmp_cas_acquire(reclaimer, &other, heap->region->me); /* H16: he was killed at work */
}

static void
leave(struct fmp_heap *heap)
{
    uint32_t me = heap->region->me;
    fmp_cas_release(&heap->shm->reclaimer, &me, 0); /* H16: pairs with the CAS in enter */
    /* H17: after we let go, before our look for more dead. Pairs with the fence in enter. */
    fmp_fence_seq_cst();
}

/* `state` -> OWNED(me) -> FREE, unless somebody was faster. */
static void
seize(struct fmp_heap *heap, const struct fmp_block *block, uint64_t state, const struct dead *dead)
{
    uint64_t mine = fmp_state_next(state, FMP_OWNED, heap->region->me);
    if (!fmp_cas_acq_rel(&block->shm->state, &state, mine)) { /* H4: pairs with H3, as a receiver's does */
        return;
    }
    FMP_FAULT("heap:seized");
    fmp_holders_forget(heap, block, dead->ids, dead->count); /* killed on the way to SHARED */
    fmp_block_free(heap, block, mine);
}

/* Also of those who left in order and forgot it. */
static bool
is_left_behind(const struct fmp_heap *heap, uint64_t state, const struct dead *dead)
{
    uint32_t owner = fmp_state_owner(state);
    return fmp_state_phase(state) == FMP_OWNED &&
           (is_among(dead, owner) || fmp_participant_has_ended(heap->region, owner));
}

static void
sweep_block(struct fmp_heap *heap, const struct fmp_block *block, const struct dead *dead)
{
    uint64_t state = fmp_load_acquire(&block->shm->state); /* H5: pairs with H6 */
    if (is_left_behind(heap, state, dead)) {
        seize(heap, block, state, dead);
    } else if (fmp_state_phase(state) == FMP_SHARED) {
        fmp_holders_clear(heap, block, dead->ids, dead->count);
    }
}

static bool
is_carried(struct fmp_heap *heap, fmp_off ring, uint64_t position)
{
    struct fmp_block block;
    if (!fmp_block_around(heap, ring, &block) ||
        fmp_state_phase(fmp_load_acquire(&block.shm->state)) != FMP_SHARED) { /* H5: pairs with H6 */
        return false;                                                         /* the ring itself is gone */
    }
    uint64_t before = ring - block.payload, bytes = fmp_backing_bytes(heap, &block);
    return before < bytes && (heap->carried == NULL || heap->carried(heap->region, ring, bytes - before, position));
}

/* The receiver owns a block before it empties the cell: a block still in TRANSIT that no cell names is nobody's. */
static void
sweep_transit(struct fmp_heap *heap, const struct dead *dead)
{
    struct fmp_walk walk = {0};
    struct fmp_block block;
    while (fmp_walk_next(heap, &walk, &block)) {
        uint64_t state = fmp_load_acquire(&block.shm->state); /* H5: pairs with H3 */
        if (fmp_state_phase(state) == FMP_TRANSIT &&
            !is_carried(heap, fmp_load_relaxed(&block.shm->ring), fmp_load_relaxed(&block.shm->position))) {
            seize(heap, &block, state, dead); /* fails if it has moved on since, be it to another ring */
        }
    }
}

static void
sweep(struct fmp_heap *heap, const struct dead *dead)
{
    struct fmp_walk walk = {0};
    struct fmp_block block;
    int64_t warm = 0;
    while (fmp_walk_next(heap, &walk, &block)) {
        sweep_block(heap, &block, dead);
        warm += fmp_backing_warm(heap, &block);
    }
    fmp_store_relaxed(&heap->shm->warm_bytes, warm); /* relaxed: a hint, which the killed have left wrong */
    FMP_FAULT("heap:swept");
    sweep_transit(heap, dead); /* in a second walk: the first may have freed rings */
    for (unsigned i = 0; i < dead->count; i++) {
        fmp_participant_bury(heap->region, dead->ids[i]);
    }
}

void
fmp_heap_reclaim(struct fmp_heap *heap, uint32_t id)
{
    struct fmp_region *r = heap->region;
    if (r->me == 0 || !fmp_participant_is_killed(r, id) || !fmp_participant_mark_dead(r, id)) {
        return;
    }
    struct dead dead;
    for (find_dead(r, &dead); dead.count > 0 && enter(heap); find_dead(r, &dead)) {
        find_dead(r, &dead); /* whoever was at work before us may have buried some */
        sweep(heap, &dead);
        leave(heap);
    }
}

void
fmp_reclaim_cargo(struct fmp_heap *heap, const struct fmp_block *ring)
{
    const struct dead nobody = {.count = 0};
    uint64_t bytes = heap->classes[ring->cls].payload;
    struct fmp_walk walk = {0};
    struct fmp_block block;
    while (fmp_walk_next(heap, &walk, &block)) {
        uint64_t state = fmp_load_acquire(&block.shm->state); /* H5: pairs with H3 */
        uint64_t named = fmp_load_relaxed(&block.shm->ring);
        if (fmp_state_phase(state) == FMP_TRANSIT && named >= ring->payload && named - ring->payload < bytes) {
            seize(heap, &block, state, &nobody);
        }
    }
}

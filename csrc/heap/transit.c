/* A block's way through a ring; see heap.h. */
#include "base/fault.h"
#include "heap/internal.h"

/* The ring carries a block: when its own block is freed, all blocks are looked at, which takes long if there are many
 * rings. Most never carry any. */
static void
note_carrier(struct fmp_heap *heap, fmp_off ring)
{
    if (FMP_UNLIKELY(heap->carrier != ring || heap->carrier_block == NULL)) {
        struct fmp_block block;
        if (!fmp_block_around(heap, ring, &block)) {
            return;
        }
        heap->carrier = ring;
        heap->carrier_block = block.shm;
    }
    struct fmp_block_shm *block = heap->carrier_block;
    if (fmp_load_relaxed(&block->position) == 0 &&
        fmp_state_phase(fmp_load_relaxed(&block->state)) == FMP_SHARED) { /* relaxed: we hold it */
        fmp_store_relaxed(&block->position, 1); /* relaxed: before H3, and before we let go of the ring */
    }
}

int
fmp_heap_send(struct fmp_heap *heap, fmp_off off, fmp_off ring, uint64_t position)
{
    struct fmp_block block;
    if (!fmp_block_at_latest(heap, off, &block)) {
        return -EINVAL;
    }
    uint32_t me = heap->region->me;
    uint64_t state = fmp_load_relaxed(&block.shm->state); /* relaxed: it is ours */
    if (!fmp_state_is(state, FMP_OWNED, me)) {
        return -EINVAL;
    }
    note_carrier(heap, ring);
    fmp_store_relaxed(&block.shm->ring, ring);
    fmp_store_relaxed(&block.shm->position, position);
    FMP_FAULT("heap:sending");
    /* H3: publish the payload and where it is named. Pairs with H4 in fmp_heap_receive and H5 in the sweep. */
    if (!fmp_cas_release(&block.shm->state, &state, fmp_state_next(state, FMP_TRANSIT, me))) {
        return -EINVAL;
    }
    FMP_FAULT("heap:transit");
    fmp_hints_sent(heap, &block);
    return 0;
}

static bool
is_named_at(const struct fmp_block *block, fmp_off ring, uint64_t position)
{
    return fmp_load_relaxed(&block->shm->ring) == ring && fmp_load_relaxed(&block->shm->position) == position;
}

int
fmp_heap_receive_usable(struct fmp_heap *heap, fmp_off off, fmp_off ring, uint64_t position, uint64_t *usable)
{
    struct fmp_block block;
    if (heap->region->me == 0 || !fmp_block_at(heap, off, &block)) {
        return -EBADMSG;
    }
    uint64_t state = fmp_load_acquire(&block.shm->state); /* H4: pairs with H3 in fmp_heap_send */
    if (fmp_state_phase(state) != FMP_TRANSIT || !is_named_at(&block, ring, position)) {
        return -EBADMSG;
    }
    /* H4: fails if it is in another message since we looked, or if two cells name it. */
    if (!fmp_cas_acquire(&block.shm->state, &state, fmp_state_next(state, FMP_OWNED, heap->region->me))) {
        return -EBADMSG;
    }
    FMP_FAULT("heap:received");
    heap->latest = block;
    *usable = fmp_backing_bytes(heap, &block);
    return 0;
}

int
fmp_heap_receive(struct fmp_heap *heap, fmp_off off, fmp_off ring, uint64_t position)
{
    uint64_t usable;
    return fmp_heap_receive_usable(heap, off, ring, position, &usable);
}

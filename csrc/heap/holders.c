/*
 * The holders of SHARED blocks: one bit per participant slot; see heap.h.
 *
 * The block is free when its last holder lets go, and "the bitmap is empty" is not one atomic read: it has 64 words. So
 * every clear goes in four steps:
 *
 *   bump   the version of the state word (CAS, v -> v+1)                    H7
 *   clear  the bit                                                          H9
 *   scan   all words; a bit somewhere: done, another holder will see to it   H10
 *   last   CAS the state from the value bumped to, to OWNED(me)             H11
 *          if it fails because somebody else has bumped: scan again from his value
 *
 * and a hold, which only a holder may do, sets the new bit while the holder's own is set (H8). No bump is needed there.
 *
 * Claim: if the CAS from version v succeeds, no bit is set. Proof: take the holders of this life of the block in the
 * order in which they became one. The scan saw each of them gone:
 *
 * The first one's bit was set before the block was SHARED, so before v was read. The scan read 0, so it read this bit's
 * clear, or something later. Before that clear, in the same process (or, after its death, in the reclaimer), came a
 * bump, which is thus before the CAS; as the CAS found v, that bump made v or an older version.
 *
 * Any other one, X, was made a holder by an earlier one, Y, whose bump made v or an older version, by the same
 * argument. Y set X's bit before Y's bump (a holder lets go last; a reclaimer comes after death). Reading v thus came
 * after X's bit was set, and so did the scan. It read 0, so it read X's clear, whose bump made v or an older version.
 * And so on.
 *
 * Had a hold bumped *before* it sets the bit, and a drop not at all, a scan that began in between would miss the bit
 * (tests/model/holders.pml, BROKEN_BUMP_BEFORE_HOLD).
 *
 * References in messages (parcels.h) are holders without a bit: a parcel is made while its maker's bit is set, and who
 * opens it sets his bit, bumps, and only then ends the parcel. The scan is of the bits first and then of the parcels,
 * and the claim becomes: if the CAS from version v succeeds, no bit is set and no parcel names the block. The chain of
 * references is longer, the argument the same: a parcel whose maker's clear was read was made before v was read, so the
 * scan found it, or its end; before its end came the opener's bump, so v is from after it, and the opener's bit was set
 * before v was read: it is the next link. That is tests/model/parcels.pml.
 *
 * Two who both find the bitmap empty: the CAS is from the same value, one wins. A version never comes twice, so a late
 * CAS cannot hit the block's next life. A late *clear* could, so a bit is cleared by one actor only: its process while
 * it lives, and the one reclaimer of the region afterwards (reclaim.c), before the slot is given to somebody else.
 */
#include "base/fault.h"
#include "heap/internal.h"

static _Atomic uint64_t *
word_of(const struct fmp_heap *heap, const struct fmp_block *block, uint32_t id)
{
    return (_Atomic uint64_t *)fmp_at(heap->region, fmp_bitmap_off(heap, block)) + FMP_ID_SLOT(id) / 64;
}

static uint64_t
bit_of(uint32_t id)
{
    return UINT64_C(1) << FMP_ID_SLOT(id) % 64;
}

static_assert(FMP_PARTICIPANTS_MAX == FMP_BITMAP_BYTES * 8, "a bit for each slot");

static void
clear_bits(const struct fmp_heap *heap, const struct fmp_block *block, const uint32_t *ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        fmp_fetch_and_acq_rel(word_of(heap, block, ids[i]), ~bit_of(ids[i])); /* H9: pairs with H10 */
    }
}

static bool
is_empty(const struct fmp_heap *heap, const struct fmp_block *block)
{
    _Atomic uint64_t *word = word_of(heap, block, 0);
    for (unsigned i = 0; i < FMP_BITMAP_WORDS; i++) {
        if (fmp_load_acquire(&word[i]) != 0) { /* H10: pairs with H8 and H9 */
            return false;
        }
    }
    return true;
}

static bool
holds_any(const struct fmp_heap *heap, const struct fmp_block *block, const uint32_t *ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fmp_load_acquire(word_of(heap, block, ids[i])) & bit_of(ids[i])) { /* H10: pairs with H8 */
            return true;
        }
    }
    return false;
}

/* The new state, or the one found if it is not SHARED. */
static uint64_t
bump(const struct fmp_block *block)
{
    uint64_t state = fmp_load_relaxed(&block->shm->state);
    while (fmp_state_phase(state) == FMP_SHARED) {
        uint64_t next = fmp_state_next(state, FMP_SHARED, 0);
        if (fmp_cas_acq_rel(&block->shm->state, &state, next)) { /* H7: pairs with itself */
            return next;
        }
    }
    return state;
}

/* SHARED, without holders, and in no message -> OWNED(me) -> FREE. */
static void
free_if_unheld(struct fmp_heap *heap, const struct fmp_block *block, uint64_t state)
{
    uint64_t mine;
    /* H20: after the clear of a bit, or the end of a parcel, that brought us here. Pairs with itself. */
    fmp_fence_seq_cst();
    do {
        if (fmp_state_phase(state) != FMP_SHARED || !is_empty(heap, block) || fmp_parcels_name(heap, block)) {
            return;
        }
        FMP_FAULT("heap:unheld");
        mine = fmp_state_next(state, FMP_OWNED, heap->region->me);
    } while (!fmp_cas_acq_rel(&block->shm->state, &state, mine)); /* H11: pairs with H7 */
    FMP_FAULT("heap:last");
    /* relaxed: written before their writer's bit was cleared (H7), or by one who is dead */
    if (fmp_load_relaxed(&block->shm->kind) == FMP_BLOCK_RING && fmp_load_relaxed(&block->shm->position) != 0) {
        fmp_reclaim_cargo(heap, block);
    }
    fmp_block_free(heap, block, mine);
}

bool
fmp_holders_include(const struct fmp_heap *heap, const struct fmp_block *block, uint32_t id)
{
    return id != 0 && fmp_state_phase(fmp_load_acquire(&block->shm->state)) == FMP_SHARED && /* H5: pairs with H6 */
           holds_any(heap, block, &id, 1);
}

static void
settle_all(struct fmp_heap *heap)
{
    struct fmp_walk walk = {0};
    struct fmp_block block;
    while (fmp_walk_next(heap, &walk, &block)) {
        if (fmp_load_relaxed(&block.shm->made) != 0) {                         /* relaxed: it was in a parcel of ours */
            free_if_unheld(heap, &block, fmp_load_acquire(&block.shm->state)); /* H7 */
        }
    }
}

/* A queue that is freed frees the parcels in it, and these perhaps queues in turn: they are looked for afterwards, not
 * one within the other. */
static void
settle(struct fmp_heap *heap, const struct fmp_block *block, uint64_t state)
{
    if (heap->settling) {
        heap->unsettled = true;
        return;
    }
    heap->settling = true;
    free_if_unheld(heap, block, state);
    while (heap->unsettled) {
        heap->unsettled = false;
        settle_all(heap);
    }
    heap->settling = false;
}

void
fmp_holders_settle(struct fmp_heap *heap, const struct fmp_block *block)
{
    settle(heap, block, fmp_load_acquire(&block->shm->state)); /* H7: as good as a bump, as we clear nothing */
}

int
fmp_holders_join(struct fmp_heap *heap, const struct fmp_block *block, uint32_t id)
{
    if (fmp_state_phase(fmp_load_acquire(&block->shm->state)) != FMP_SHARED) { /* H5: pairs with H6 */
        return -ENOENT;
    }
    fmp_fetch_or_acq_rel(word_of(heap, block, id), bit_of(id)); /* H8: pairs with H10 */
    FMP_FAULT("heap:joining");
    (void)bump(block);
    return 0;
}

void
fmp_holders_clear(struct fmp_heap *heap, const struct fmp_block *block, const uint32_t *ids, unsigned count)
{
    uint64_t state = fmp_load_acquire(&block->shm->state); /* H7: as good as a bump if there is nothing to clear */
    if (holds_any(heap, block, ids, count)) {
        state = bump(block);
        if (fmp_state_phase(state) != FMP_SHARED) {
            return; /* freed by now: its next life is not ours to touch */
        }
        FMP_FAULT("heap:dropping");
        clear_bits(heap, block, ids, count);
        FMP_FAULT("heap:drop-cleared");
    }
    settle(heap, block, state);
}

void
fmp_holders_forget(struct fmp_heap *heap, const struct fmp_block *block, const uint32_t *ids, unsigned count)
{
    if (fmp_load_relaxed(&block->shm->has_bitmap) != 0) {
        clear_bits(heap, block, ids, count);
    }
}

int
fmp_block_share(struct fmp_heap *heap, const struct fmp_block *block, enum fmp_block_kind kind)
{
    uint32_t me = heap->region->me;
    uint64_t state = fmp_load_relaxed(&block->shm->state); /* relaxed: it is ours */
    if (!fmp_state_is(state, FMP_OWNED, me)) {
        return -EINVAL;
    }
    int rc = fmp_backing_bitmap(heap, block);
    if (rc != 0) {
        return rc;
    }
    fmp_store_relaxed(&block->shm->kind, (uint32_t)kind);
    fmp_store_relaxed(&block->shm->position, 0);
    fmp_fetch_or_acq_rel(word_of(heap, block, me), bit_of(me)); /* H8: pairs with H10 */
    FMP_FAULT("heap:held");
    uint64_t shared = fmp_state_next(state, FMP_SHARED, 0);
    fmp_store_relaxed(&block->shm->life, fmp_state_version(shared));
    /* H6: publish kind, life, holder and contents. Pairs with H5 and H7. */
    return fmp_cas_release(&block->shm->state, &state, shared) ? 0 : -EINVAL;
}

int
fmp_heap_share(struct fmp_heap *heap, fmp_off off)
{
    struct fmp_block block;
    return fmp_block_at(heap, off, &block) ? fmp_block_share(heap, &block, FMP_BLOCK_DATA) : -EINVAL;
}

static bool
shared_block_at(const struct fmp_heap *heap, fmp_off off, struct fmp_block *block)
{
    return fmp_block_at(heap, off, block) &&
           fmp_state_phase(fmp_load_acquire(&block->shm->state)) == FMP_SHARED; /* H5: pairs with H6 */
}

void
fmp_heap_hold(struct fmp_heap *heap, fmp_off off, uint32_t id)
{
    struct fmp_block block;
    if (id != 0 && shared_block_at(heap, off, &block)) {
        fmp_fetch_or_acq_rel(word_of(heap, &block, id), bit_of(id)); /* H8: pairs with H10 */
        FMP_FAULT("heap:hold");
    }
}

void
fmp_heap_drop(struct fmp_heap *heap, fmp_off off, uint32_t id)
{
    struct fmp_block block;
    if (id != 0 && shared_block_at(heap, off, &block)) {
        fmp_holders_clear(heap, &block, &id, 1);
    }
}

unsigned
fmp_heap_holders(struct fmp_heap *heap, fmp_off off)
{
    struct fmp_block block;
    unsigned count = 0;
    if (shared_block_at(heap, off, &block)) {
        for (uint32_t slot = 0; slot < FMP_PARTICIPANTS_MAX; slot += 64) {
            count += (unsigned)__builtin_popcountll(fmp_load_acquire(word_of(heap, &block, slot))); /* H10 */
        }
    }
    return count;
}

uint64_t
fmp_heap_life(struct fmp_heap *heap, fmp_off off)
{
    struct fmp_block block;
    return shared_block_at(heap, off, &block) ? fmp_load_relaxed(&block.shm->life) : 0; /* relaxed: behind H5 */
}

bool
fmp_heap_is_held(struct fmp_heap *heap, fmp_off off, uint64_t life, enum fmp_block_kind kind, uint64_t bytes)
{
    struct fmp_block block;
    uint32_t me = heap->region->me;
    /* Nobody clears our bit but we, so what is found in a block that we hold stays. */
    return me != 0 && shared_block_at(heap, off, &block) && holds_any(heap, &block, &me, 1) &&
           fmp_load_relaxed(&block.shm->life) == life && fmp_load_relaxed(&block.shm->kind) == (uint32_t)kind &&
           fmp_backing_bytes(heap, &block) >= bytes;
}

void
fmp_heap_drop_all(struct fmp_heap *heap, uint32_t id, uint32_t heir)
{
    struct fmp_walk walk = {0};
    struct fmp_block block;
    while (fmp_walk_next(heap, &walk, &block)) {
        bool shared = fmp_state_phase(fmp_load_acquire(&block.shm->state)) == FMP_SHARED; /* H5: pairs with H6 */
        if (!shared || !holds_any(heap, &block, &id, 1)) {
            continue;
        }
        if (heir != 0) {
            fmp_fetch_or_acq_rel(word_of(heap, &block, heir), bit_of(heir)); /* H8: pairs with H10 */
            FMP_FAULT("heap:inherited");
        }
        fmp_holders_clear(heap, &block, &id, 1);
    }
}

/*
 * Parcels: making, opening, ending, and the look for those that name a block; see parcels.h.
 *
 * `made` and `returned` of the named block tell in two loads that no parcel names it. They only grow, through all lives
 * of the block: an end that is counted late, in another life, is that of a parcel that was counted as made. Whoever is
 * killed between two steps leaves them unequal for good, and then all parcels are looked at: they are the truth.
 *
 * Order of the steps. make: count, name, lend. open: bit, bump. end: take (a loan may be taken by somebody else at the
 * same time), un-name, count, settle. Each pair that is turned round is a broken variant of the model.
 */
#include "heap/parcels.h"

#include "base/fault.h"
#include "heap/internal.h"

static bool
parcel_at(const struct fmp_heap *heap, fmp_off off, struct fmp_block *parcel)
{
    return fmp_block_at(heap, off, parcel) && parcel->cls == FMP_PARCEL_CLASS;
}

static bool
is_mine(const struct fmp_heap *heap, uint64_t state)
{
    return heap->region->me != 0 && fmp_state_is(state, FMP_OWNED, heap->region->me);
}

/* ---- make, open, end ---- */

/* The parcel is complete: whoever has the ticket may take it. */
static uint64_t
lend(const struct fmp_block *parcel, uint32_t me)
{
    uint64_t state = fmp_load_relaxed(&parcel->shm->state), lent = fmp_state_next(state, FMP_OWNED, me);
    /* H21: publish the reference. Pairs with H21 in fmp_parcel_take. Never fails: nobody else knows of it. */
    (void)fmp_cas_release(&parcel->shm->state, &state, lent);
    return lent;
}

int
fmp_parcel_make(struct fmp_heap *heap, fmp_off target, fmp_off *parcel, uint64_t *ticket)
{
    struct fmp_block named, block;
    if (!fmp_block_at(heap, target, &named) || !fmp_holders_include(heap, &named, heap->region->me)) {
        return -EINVAL;
    }
    int rc = fmp_block_take_parcel(heap, &block);
    if (rc != 0) {
        return rc;
    }
    /* relaxed, all three: published by the bump with which we let go of the block */
    fmp_fetch_add_relaxed(&named.shm->made, 1);
    FMP_FAULT("parcel:counted");
    fmp_store_relaxed(&block.shm->reference, target);
    fmp_store_relaxed(&named.shm->reference, block.payload);
    FMP_FAULT("parcel:made");
    *ticket = lend(&block, heap->region->me);
    *parcel = block.payload;
    return 0;
}

bool
fmp_parcel_is_loan(struct fmp_heap *heap, fmp_off parcel, uint64_t ticket)
{
    struct fmp_block block;
    return parcel_at(heap, parcel, &block) && fmp_load_relaxed(&block.shm->state) == ticket;
}

int
fmp_parcel_take(struct fmp_heap *heap, fmp_off parcel, uint64_t ticket)
{
    struct fmp_block block;
    uint32_t me = heap->region->me;
    if (me == 0 || fmp_state_phase(ticket) != FMP_OWNED || !parcel_at(heap, parcel, &block)) {
        return -ENOENT;
    }
    uint64_t state = ticket;
    /* H21: a version never comes twice, so this is the very parcel. Pairs with H21 in lend. */
    if (!fmp_cas_acq_rel(&block.shm->state, &state, fmp_state_next(state, FMP_OWNED, me))) {
        return -ENOENT;
    }
    FMP_FAULT("parcel:taken");
    return 0;
}

int
fmp_parcel_open(struct fmp_heap *heap, fmp_off parcel, fmp_off *target)
{
    struct fmp_block block, named;
    if (!parcel_at(heap, parcel, &block) || !is_mine(heap, fmp_load_relaxed(&block.shm->state))) { /* relaxed: ours */
        return -ENOENT;
    }
    *target = fmp_load_relaxed(&block.shm->reference); /* relaxed: ours since H4 or H21 */
    if (*target == 0 || !fmp_block_at(heap, *target, &named)) {
        return -ENOENT;
    }
    int rc = fmp_holders_join(heap, &named, heap->region->me);
    FMP_FAULT("parcel:opened");
    return rc;
}

void
fmp_parcel_end(struct fmp_heap *heap, const struct fmp_block *parcel, uint64_t state)
{
    uint64_t mine = fmp_state_next(state, FMP_OWNED, heap->region->me);
    /* H21: a loan that somebody else is just taking is his. */
    if (!fmp_cas_acq_rel(&parcel->shm->state, &state, mine)) {
        return;
    }
    FMP_FAULT("parcel:ending");
    /* H18: our bit and our bump in the block, if we have opened it, come before. Pairs with H18 in names. */
    fmp_off target = fmp_exchange_acq_rel(&parcel->shm->reference, 0);
    FMP_FAULT("parcel:ended");
    fmp_block_give(heap, parcel, mine);
    struct fmp_block named;
    if (target != 0 && fmp_block_at(heap, target, &named)) {
        fmp_fetch_add_release(&named.shm->returned, 1); /* H19: pairs with H19 in fmp_parcels_name */
        FMP_FAULT("parcel:returned");
        fmp_holders_settle(heap, &named);
    }
}

/* ---- with a message ---- */

int
fmp_parcel_send(struct fmp_heap *heap, fmp_off parcel, fmp_off ring, uint64_t position)
{
    struct fmp_block block;
    return parcel_at(heap, parcel, &block) ? fmp_heap_send(heap, parcel, ring, position) : -EINVAL;
}

int
fmp_parcel_receive(struct fmp_heap *heap, fmp_off parcel, fmp_off ring, uint64_t position)
{
    struct fmp_block block;
    return parcel_at(heap, parcel, &block) ? fmp_heap_receive(heap, parcel, ring, position) : -EBADMSG;
}

void
fmp_parcel_free(struct fmp_heap *heap, fmp_off parcel)
{
    struct fmp_block block;
    if (parcel_at(heap, parcel, &block)) {
        fmp_heap_free(heap, parcel);
    }
}

/* ---- all parcels ---- */

/* Is it on its way in the very block that it names: a queue that was put into itself? Only a holder of the block could
 * take it out. */
static bool
is_inside(const struct fmp_block *parcel, fmp_off payload, uint64_t bytes)
{
    uint64_t state = fmp_load_acquire(&parcel->shm->state); /* H5: pairs with H3 */
    fmp_off ring = fmp_load_relaxed(&parcel->shm->ring);
    return fmp_state_phase(state) == FMP_TRANSIT && ring >= payload && ring - payload < bytes &&
           fmp_load_acquire(&parcel->shm->state) == state; /* H5 */
}

static bool
names(const struct fmp_heap *heap, const struct fmp_block *parcel, const struct fmp_block *block)
{
    return fmp_load_acquire(&parcel->shm->reference) == block->payload && /* H18: pairs with H18 in fmp_parcel_end */
           !is_inside(parcel, block->payload, heap->classes[block->cls].payload);
}

bool
fmp_parcels_name(const struct fmp_heap *heap, const struct fmp_block *block)
{
    uint32_t returned = fmp_load_acquire(&block->shm->returned); /* H19: pairs with H19 in fmp_parcel_end */
    if (fmp_load_relaxed(&block->shm->made) == returned) {       /* relaxed: read after it, and it only grows */
        return false;
    }
    struct fmp_block parcel;
    if (parcel_at(heap, fmp_load_relaxed(&block->shm->reference), &parcel) && names(heap, &parcel, block)) {
        return true;
    }
    struct fmp_walk walk = {0};
    while (fmp_walk_next_of(heap, FMP_PARCEL_CLASS, &walk, &parcel)) {
        if (names(heap, &parcel, block)) {
            return true;
        }
    }
    return false;
}

void
fmp_parcels_leave(struct fmp_heap *heap)
{
    struct fmp_walk walk = {0};
    struct fmp_block parcel;
    while (fmp_walk_next_of(heap, FMP_PARCEL_CLASS, &walk, &parcel)) {
        uint64_t state = fmp_load_relaxed(&parcel.shm->state); /* relaxed: ours, or not ours to look into */
        if (is_mine(heap, state)) {
            fmp_parcel_end(heap, &parcel, state);
        }
    }
}

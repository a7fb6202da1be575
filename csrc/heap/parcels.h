/*
 * References in messages: a parcel is a small block that names a SHARED block and keeps it alive on its way from one
 * process to another, also when the sender drops the block, ends or is killed. Called by: pyrt/travel.c, wire/, conn/.
 *
 * A parcel is a block like any other, and freed as any other: with the message that is lost, with the ring it lies in,
 * with the killed process that owns it. Whoever frees it looks after the block that it named. Modelled in
 * tests/model/parcels.pml; the proof is in holders.c.
 *
 *   in a message   made while the object is pickled; sent with the position of the message's cell before the cell is
 *                  published, received before it is emptied, freed when the message has been decoded or dropped. While
 *                  it is OWNED by the receiver, fmp_parcel_open makes him a holder, as often as he likes.
 *   a loan         where a pickle goes by bytes (a descriptor, a file): it stays OWNED by its maker until somebody
 * takes it, once, by its ticket; it ends with the process that made it.
 *
 * Invariant: while a parcel's `reference` is not 0, that block is SHARED, in one and the same life.
 */
#ifndef FMP_HEAP_PARCELS_H
#define FMP_HEAP_PARCELS_H

#include "heap/heap.h"

/* A parcel that names the SHARED block at `target`, which this process holds; OWNED by this process. The ticket takes
 * it as a loan, once. 0, -ENOSPC, -EINVAL. */
int fmp_parcel_make(struct fmp_heap *heap, fmp_off target, fmp_off *parcel, uint64_t *ticket);
/* A loan becomes this process's: 0; -ENOENT if it was taken, or has ended with its maker. */
int fmp_parcel_take(struct fmp_heap *heap, fmp_off parcel, uint64_t ticket);
/* This process, which owns the parcel, becomes a holder of the block that it names (or stays one). 0; -ENOENT if there
 * is no such parcel. */
int fmp_parcel_open(struct fmp_heap *heap, fmp_off parcel, fmp_off *target);
/* Has the parcel been sent or taken since it was made? */
bool fmp_parcel_is_loan(struct fmp_heap *heap, fmp_off parcel, uint64_t ticket);
/* fmp_heap_send and fmp_heap_receive, and fmp_heap_free, for parcels only: -EINVAL, -EBADMSG for other blocks. */
int fmp_parcel_send(struct fmp_heap *heap, fmp_off parcel, fmp_off ring, uint64_t position);
int fmp_parcel_receive(struct fmp_heap *heap, fmp_off parcel, fmp_off ring, uint64_t position);
void fmp_parcel_free(struct fmp_heap *heap, fmp_off parcel);
/* This process leaves: all parcels that it owns end. */
void fmp_parcels_leave(struct fmp_heap *heap);

#endif

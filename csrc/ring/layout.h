/* The ring's cell state word: {lap:38 | phase:2 | owner:24}. Called by: ring.c, row.c, recovery.c. */
#ifndef FMP_RING_LAYOUT_H
#define FMP_RING_LAYOUT_H

#include "base/fault.h"
#include "ring/ring.h"

enum { FMP_CELL_EMPTY, FMP_CELL_CLAIMED, FMP_CELL_FULL, FMP_CELL_TAKEN };

#define FMP_CELL_PHASE_SHIFT FMP_ID_BITS
#define FMP_CELL_LAP_SHIFT (FMP_ID_BITS + 2)
/* Laps are compared modulo 2^38: to be mistaken, a process must stop between a look and its CAS for that many laps of
 * the ring. */
#define FMP_CELL_LAP_MASK ((UINT64_C(1) << 38) - 1)

/* As many messages as a semaphore counts: the standard library's bound on maxsize. */
#define FMP_RING_LIMIT_MAX UINT64_C(0x7fffffff)

static_assert(sizeof(struct fmp_cell_shm) == FMP_RING_CELL_BYTES, "two cache lines");
static_assert(offsetof(struct fmp_ring_shm, tail) == 64, "producers' line");
static_assert(offsetof(struct fmp_ring_shm, head) == 128, "consumers' line");
static_assert(offsetof(struct fmp_ring_shm, items) == 192, "waiters' line");
static_assert(offsetof(struct fmp_ring_shm, cells) == 256, "cells are aligned");

FMP_INLINE uint64_t
fmp_cell_state(uint64_t lap, unsigned phase, uint32_t owner)
{
    return (lap & FMP_CELL_LAP_MASK) << FMP_CELL_LAP_SHIFT | (uint64_t)phase << FMP_CELL_PHASE_SHIFT | owner;
}

FMP_INLINE uint64_t
fmp_cell_lap(uint64_t state)
{
    return state >> FMP_CELL_LAP_SHIFT;
}

FMP_INLINE unsigned
fmp_cell_phase(uint64_t state)
{
    return (unsigned)(state >> FMP_CELL_PHASE_SHIFT) & 3;
}

FMP_INLINE uint32_t
fmp_cell_owner(uint64_t state)
{
    return (uint32_t)state & FMP_ID_MASK;
}

/* Does the cell still belong to the lap before `lap`? */
FMP_INLINE bool
fmp_cell_is_before(uint64_t state, uint64_t lap)
{
    return fmp_cell_lap(state) == ((lap - 1) & FMP_CELL_LAP_MASK);
}

/* Has the position of `lap` been taken or skipped already? */
FMP_INLINE bool
fmp_cell_is_passed(uint64_t state, uint64_t lap)
{
    uint64_t cell_lap = fmp_cell_lap(state);
    return cell_lap == lap ? fmp_cell_phase(state) == FMP_CELL_TAKEN : cell_lap == ((lap + 1) & FMP_CELL_LAP_MASK);
}

/* Can a cell be in this state while head or tail stands at it in `lap`? Only its last user may still be in the lap
 * before; one and no other is whose it is while it is claimed or taken. What cannot be is damage. */
FMP_INLINE bool
fmp_cell_is_sound(uint64_t state, uint64_t lap)
{
    unsigned phase = fmp_cell_phase(state);
    bool is_held = phase == FMP_CELL_CLAIMED || phase == FMP_CELL_TAKEN;
    if (is_held != (fmp_cell_owner(state) != 0)) {
        return false;
    }
    uint64_t ahead = (fmp_cell_lap(state) - lap) & FMP_CELL_LAP_MASK;
    return ahead <= 1 || (ahead == FMP_CELL_LAP_MASK && phase == FMP_CELL_TAKEN);
}

FMP_INLINE uint64_t
fmp_ring_lap(const struct fmp_ring *ring, uint64_t position)
{
    return (position >> ring->log2_capacity) & FMP_CELL_LAP_MASK;
}

FMP_INLINE struct fmp_cell_shm *
fmp_ring_cell(const struct fmp_ring *ring, uint64_t position)
{
    return &ring->shm->cells[position & (ring->capacity - 1)];
}

/* Moves head or tail from `position` to the next one, unless somebody has done it already. */
FMP_INLINE void
fmp_ring_help(_Atomic uint64_t *end, uint64_t position)
{
    fmp_cas_release(end, &position, position + 1); /* R3 */
}

/* Is `position` the limit or more ahead of head? The last value seen of head is asked first: it only grows. */
FMP_INLINE bool
fmp_ring_is_at_limit(struct fmp_ring *ring, uint64_t position)
{
    if (FMP_LIKELY(position - ring->head_seen < ring->limit)) {
        return false;
    }
    ring->head_seen = fmp_load_acquire(&ring->shm->head); /* A3 */
    return (int64_t)(position - ring->head_seen) >= (int64_t)ring->limit;
}

/* Claimed, and written: now a consumer may take it. */
FMP_INLINE void
fmp_ring_publish(struct fmp_ring *ring, const struct fmp_ring_ticket *t)
{
    FMP_FAULT("ring:written");
    fmp_store_release(&t->cell->state, fmp_cell_state(fmp_ring_lap(ring, t->position), FMP_CELL_FULL, 0)); /* R1 */
    FMP_FAULT("ring:published");
    /* The cell of the next push but one lies in a consumer's cache: fetch it while the caller encodes. */
    __builtin_prefetch(fmp_ring_cell(ring, t->position + 2), 1);
}

/* Taken, and read: now a producer may write it anew. */
FMP_INLINE void
fmp_ring_empty(struct fmp_ring *ring, const struct fmp_ring_ticket *t)
{
    FMP_FAULT("ring:read");
    fmp_store_release(&t->cell->state, fmp_cell_state(fmp_ring_lap(ring, t->position) + 1, FMP_CELL_EMPTY, 0)); /* R2 */
    FMP_FAULT("ring:emptied");
}

/* recovery.c: has the cell at `position`, where `end` (head or tail) stands, a state that cannot be? Then it is in
 * *state. */
bool fmp_ring_cell_is_damaged(const struct fmp_ring *ring, const _Atomic uint64_t *end, uint64_t position,
                              uint64_t *state);
/* recovery.c: is tail where it cannot be, beyond the limit or far behind head? */
bool fmp_ring_tail_is_damaged(const struct fmp_ring *ring);
/* recovery.c: empties `cell` if its state is a claim of an owner that a look of this handle has found dead. True if it
 * did, or if somebody else has. */
bool fmp_ring_recover_cell(struct fmp_ring *ring, struct fmp_cell_shm *cell, uint64_t state);

#endif

/*
 * The ring's recovery from killed owners, and the looks of those who wait; see ring.h.
 *
 * Whoever is held up by a cell that somebody else has claimed or taken comes here: the kernel is asked about the owner,
 * at most once per SUSPECT_NS per handle, and only the exact state of the dead owner is replaced, by CAS, by EMPTY of
 * the next lap. Head and tail then follow by the ordinary rule. R4  recover  CAS acq_rel -> EMPTY(lap+1)  with A2 and
 * A3 of ring.c; acquires the record that the dead owner wrote (R1), as far as it came
 */
#include "base/fault.h"
#include "ring/layout.h"
#include "sys/clock.h"

/* A holder-up is first given the time of a preemption before the kernel is asked about him: a question costs about 20
 * us. */
#define SUSPECT_NS (4 * FMP_NS_PER_MS)

static bool
recover_cell(struct fmp_ring *ring, struct fmp_cell_shm *cell, uint64_t state)
{
    struct fmp_record record = cell->record; /* copied first: after the CAS the cell is anybody's */
    uint64_t emptied = fmp_cell_state(fmp_cell_lap(state) + 1, FMP_CELL_EMPTY, 0);
    uint32_t owner = fmp_cell_owner(state);
    bool was_taken = fmp_cell_phase(state) == FMP_CELL_TAKEN;
    if (!fmp_cas_acq_rel(&cell->state, &state, emptied)) { /* R4 */
        return false;                                      /* somebody else has done it */
    }
    FMP_FAULT("ring:recovered");
    if (ring->on_dead != NULL) {
        ring->on_dead(ring->on_dead_ctx, owner, was_taken, &record);
    }
    fmp_ec_notify(&ring->shm->space, INT32_MAX);
    fmp_ec_notify(&ring->shm->items, INT32_MAX);
    return true;
}

static bool
is_held(uint64_t state)
{
    unsigned phase = fmp_cell_phase(state);
    return phase == FMP_CELL_CLAIMED || phase == FMP_CELL_TAKEN;
}

/* Is the owner dead, as far as we care to ask now? */
static bool
owner_is_dead(struct fmp_ring *ring, uint32_t owner)
{
    uint64_t now = sys_now_ns();
    if (ring->suspect != owner) {
        ring->suspect = owner;
        ring->suspect_until_ns = now + SUSPECT_NS;
        return false;
    }
    if (now < ring->suspect_until_ns) {
        return false;
    }
    ring->suspect_until_ns = now + SUSPECT_NS;
    return fmp_participant_fate(ring->region, owner) != FMP_ALIVE;
}

/* Looks at the cell that is in the way; true if it was recovered. */
static bool
unblock(struct fmp_ring *ring, struct fmp_cell_shm *cell)
{
    uint64_t state = fmp_load_acquire(&cell->state); /* R4 */
    return is_held(state) && owner_is_dead(ring, fmp_cell_owner(state)) && recover_cell(ring, cell, state);
}

static struct fmp_cell_shm *
cell_at(const struct fmp_ring *ring, uint64_t position)
{
    return &ring->shm->cells[position & (ring->capacity - 1)];
}

bool
fmp_ring_may_pop(void *ctx)
{
    struct fmp_ring *ring = ctx;
    uint64_t head = fmp_load_acquire(&ring->shm->head); /* A3 */
    struct fmp_cell_shm *cell = cell_at(ring, head);
    uint64_t lap = (head >> ring->log2_capacity) & FMP_CELL_LAP_MASK;
    uint64_t state = fmp_load_acquire(&cell->state); /* A1 */
    if (state == fmp_cell_state(lap, FMP_CELL_EMPTY, 0)) {
        return false;
    }
    if (state == fmp_cell_state(lap, FMP_CELL_CLAIMED, fmp_cell_owner(state))) {
        return unblock(ring, cell);
    }
    return true; /* full, or head is behind: begin_pop finds out */
}

bool
fmp_ring_may_push(void *ctx)
{
    struct fmp_ring *ring = ctx;
    uint64_t tail = fmp_load_acquire(&ring->shm->tail); /* A3 */
    uint64_t head = fmp_load_acquire(&ring->shm->head); /* A3 */
    struct fmp_cell_shm *cell = cell_at(ring, tail);
    uint64_t state = fmp_load_acquire(&cell->state); /* A2 */
    uint64_t lap = (tail >> ring->log2_capacity) & FMP_CELL_LAP_MASK;
    bool room = (int64_t)(tail - head) < (int64_t)ring->limit;
    if (room && !fmp_cell_is_before(state, lap)) {
        return true;
    }
    /* What holds us up is the cell of this place in the lap before, or, under a limit below the capacity, the one that
     * head is at. */
    struct fmp_cell_shm *front = cell_at(ring, head);
    uint64_t front_state = fmp_load_acquire(&front->state); /* A1 */
    if (!room && fmp_cell_is_passed(front_state, (head >> ring->log2_capacity) & FMP_CELL_LAP_MASK)) {
        fmp_cas_release(&ring->shm->head, &head, head + 1); /* R3: its taker was killed before he moved head */
        return true;
    }
    return unblock(ring, room ? cell : front);
}

bool
fmp_ring_carries(const struct fmp_ring *ring, uint64_t position)
{
    uint64_t state = fmp_load_acquire(&cell_at(ring, position)->state); /* A1 */
    uint64_t lap = (position >> ring->log2_capacity) & FMP_CELL_LAP_MASK;
    return fmp_cell_lap(state) == lap && fmp_cell_phase(state) != FMP_CELL_EMPTY;
}

void
fmp_ring_recover(struct fmp_ring *ring, uint32_t dead)
{
    for (uint64_t i = 0; i < ring->capacity; i++) {
        struct fmp_cell_shm *cell = &ring->shm->cells[i];
        uint64_t state = fmp_load_acquire(&cell->state); /* R4 */
        if (is_held(state) && fmp_cell_owner(state) == dead) {
            recover_cell(ring, cell, state);
        }
    }
}

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

static void
recover(struct fmp_ring *ring, struct fmp_cell_shm *cell, uint64_t state)
{
    struct fmp_record record = cell->record; /* copied first: after the CAS the cell is anybody's */
    uint64_t emptied = fmp_cell_state(fmp_cell_lap(state) + 1, FMP_CELL_EMPTY, 0);
    uint64_t position = fmp_cell_lap(state) << ring->log2_capacity | (uint64_t)(cell - ring->shm->cells);
    uint32_t owner = fmp_cell_owner(state);
    bool was_taken = fmp_cell_phase(state) == FMP_CELL_TAKEN;
    if (!fmp_cas_acq_rel(&cell->state, &state, emptied)) { /* R4 */
        return;                                            /* somebody else has done it */
    }
    FMP_FAULT("ring:recovered");
    if (ring->on_dead != NULL) {
        ring->on_dead(ring->on_dead_ctx, owner, was_taken, position, &record);
    }
    fmp_ec_notify(&ring->shm->space, INT32_MAX);
    fmp_ec_notify(&ring->shm->items, INT32_MAX);
}

static bool
is_held(uint64_t state)
{
    unsigned phase = fmp_cell_phase(state);
    return phase == FMP_CELL_CLAIMED || phase == FMP_CELL_TAKEN;
}

bool
fmp_ring_recover_cell(struct fmp_ring *ring, struct fmp_cell_shm *cell, uint64_t state)
{
    if (!is_held(state) || !ring->suspect_is_dead || fmp_cell_owner(state) != ring->suspect) {
        return false;
    }
    recover(ring, cell, state);
    return true;
}

/* Is the owner dead, as far as we care to ask now? */
static bool
owner_is_dead(struct fmp_ring *ring, uint32_t owner)
{
    uint64_t now = sys_now_ns();
    if (ring->suspect != owner) {
        ring->suspect_is_dead = false;
        ring->suspect = owner;
        ring->ask_again_ns = now + SUSPECT_NS;
    } else if (!ring->suspect_is_dead && now >= ring->ask_again_ns) {
        ring->ask_again_ns = now + SUSPECT_NS;
        ring->suspect_is_dead = fmp_participant_fate(ring->region, owner) != FMP_ALIVE;
    }
    return ring->suspect_is_dead;
}

/* Looks at the cell that is in the way: can it be recovered? */
static bool
is_abandoned(struct fmp_ring *ring, struct fmp_cell_shm *cell)
{
    uint64_t state = fmp_load_acquire(&cell->state); /* R4 */
    return is_held(state) && !ring->bystander && owner_is_dead(ring, fmp_cell_owner(state));
}

bool
fmp_ring_cell_is_damaged(const struct fmp_ring *ring, const _Atomic uint64_t *end, uint64_t position, uint64_t *state)
{
    uint64_t lap = fmp_ring_lap(ring, position);
    /* A1: the look at `end` comes after the one at the cell. It stood there before, and only grows: so it stood there
     * while we looked, and the cell was in its turn. */
    *state = fmp_load_acquire(&fmp_ring_cell(ring, position)->state);
    return position == fmp_load_relaxed(end) && !fmp_cell_is_sound(*state, lap);
}

bool
fmp_ring_tail_is_damaged(const struct fmp_ring *ring)
{
    /* Head is read after tail: what was claimed was within the limit of an older head, and tail is a few behind at
     * most. If both move meanwhile, tail seems farther behind than it is: it is read again. */
    uint64_t tail = fmp_load_acquire(&ring->shm->tail); /* A3 */
    uint64_t head = fmp_load_acquire(&ring->shm->head); /* A3 */
    int64_t ahead = (int64_t)(tail - head);
    return ahead > (int64_t)ring->limit ||
           (ahead < -(int64_t)FMP_RING_LAG && tail == fmp_load_relaxed(&ring->shm->tail));
}

bool
fmp_ring_may_pop(void *ctx)
{
    struct fmp_ring *ring = ctx;
    uint64_t head = fmp_load_acquire(&ring->shm->head); /* A3 */
    struct fmp_cell_shm *cell = fmp_ring_cell(ring, head);
    uint64_t lap = fmp_ring_lap(ring, head);
    uint64_t state = fmp_load_acquire(&cell->state); /* A1 */
    if (state == fmp_cell_state(lap, FMP_CELL_FULL, 0) || fmp_cell_is_passed(state, lap)) {
        return true; /* passed: head is behind, begin_pop helps it */
    }
    bool claimed = fmp_cell_lap(state) == lap && fmp_cell_phase(state) == FMP_CELL_CLAIMED;
    if ((claimed || fmp_cell_is_before(state, lap)) && is_abandoned(ring, cell)) {
        return true;
    }
    /* Otherwise EMPTY, or in somebody's hand; or damaged, which begin_pop tells. */
    return fmp_ring_cell_is_damaged(ring, &ring->shm->head, head, &state);
}

bool
fmp_ring_may_push(void *ctx)
{
    struct fmp_ring *ring = ctx;
    uint64_t tail = fmp_load_acquire(&ring->shm->tail); /* A3 */
    uint64_t head = fmp_load_acquire(&ring->shm->head); /* A3 */
    if ((int64_t)(tail - head) < (int64_t)ring->limit) {
        struct fmp_cell_shm *cell = fmp_ring_cell(ring, tail);
        uint64_t state = fmp_load_acquire(&cell->state); /* A2 */
        return !fmp_cell_is_before(state, fmp_ring_lap(ring, tail)) || is_abandoned(ring, cell) ||
               fmp_ring_cell_is_damaged(ring, &ring->shm->tail, tail, &state);
    }
    /* At the limit: room comes when head moves on, past a taken cell or one that a dead producer claimed. */
    struct fmp_cell_shm *front = fmp_ring_cell(ring, head);
    uint64_t state = fmp_load_acquire(&front->state); /* A1 */
    return fmp_cell_is_passed(state, fmp_ring_lap(ring, head)) || is_abandoned(ring, front) ||
           fmp_ring_tail_is_damaged(ring);
}

bool
fmp_ring_pop_is_held_up(void *ctx)
{
    struct fmp_ring *ring = ctx;
    uint64_t head = fmp_load_acquire(&ring->shm->head);                   /* A3 */
    uint64_t state = fmp_load_acquire(&fmp_ring_cell(ring, head)->state); /* A1 */
    return state != fmp_cell_state(fmp_ring_lap(ring, head), FMP_CELL_EMPTY, 0);
}

bool
fmp_ring_push_is_held_up(void *ctx)
{
    struct fmp_ring *ring = ctx;
    uint64_t tail = fmp_load_acquire(&ring->shm->tail);                   /* A3 */
    uint64_t head = fmp_load_acquire(&ring->shm->head);                   /* A3 */
    uint64_t state = fmp_load_acquire(&fmp_ring_cell(ring, head)->state); /* A1 */
    /* Below the limit it is a cell of the lap before that is still being emptied. */
    return (int64_t)(tail - head) < (int64_t)ring->limit ||
           state != fmp_cell_state(fmp_ring_lap(ring, head), FMP_CELL_FULL, 0);
}

/* Once its maker is dead, what the ring does not name it never will. So he is asked first. */
static bool
carries_side_of(const struct fmp_ring *ring, uint32_t maker)
{
    return fmp_participant_fate(ring->region, maker) == FMP_ALIVE ||
           ((uint32_t)fmp_load_acquire(&ring->shm->side) & FMP_ID_MASK) == maker; /* N2: pairs with N1 in conn/side.c */
}

bool
fmp_ring_carries(const struct fmp_ring *ring, uint64_t position)
{
    if (FMP_UNLIKELY((position & FMP_RING_SIDE) != 0)) {
        return carries_side_of(ring, (uint32_t)position & FMP_ID_MASK);
    }
    uint64_t state = fmp_load_acquire(&fmp_ring_cell(ring, position)->state); /* A1 */
    uint64_t lap = fmp_ring_lap(ring, position);
    if (fmp_cell_lap(state) != lap || fmp_cell_phase(state) == FMP_CELL_EMPTY) {
        return false;
    }
    /* Nobody reads what a dead hand holds, even if nobody has emptied the cell yet. */
    return !is_held(state) || fmp_participant_fate(ring->region, fmp_cell_owner(state)) == FMP_ALIVE;
}

void
fmp_ring_recover(struct fmp_ring *ring, uint32_t dead)
{
    for (uint64_t i = 0; i < ring->capacity; i++) {
        struct fmp_cell_shm *cell = &ring->shm->cells[i];
        uint64_t state = fmp_load_acquire(&cell->state); /* R4 */
        if (is_held(state) && fmp_cell_owner(state) == dead) {
            recover(ring, cell, state);
        }
    }
}

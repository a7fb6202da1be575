/*
 * The ring's fast path; see ring.h.
 *
 * Order table (memory-model.md explains the form)
 *   R1  end_push       store release FULL          with A1  the record before its publication
 *   A1  begin_pop      CAS acquire FULL -> TAKEN   with R1
 *   R2  end_pop        store release EMPTY(lap+1)  with A2  the record is read before its cell is written again
 *   A2  begin_push     CAS acquire EMPTY -> CLAIMED with R2
 *   R3  help           CAS release head or tail    with A3  who sees a position sees the cell states that led to it
 *   A3  begin_*, count load acquire head or tail   with R3
 */
#include "ring/ring.h"

#include "base/fault.h"
#include "ring/layout.h"

/* At the limit, with head at `head`: true if head could be helped past a cell that is done with, or that a dead
 * producer left. */
static FMP_COLD bool
advance_head(struct fmp_ring *ring, uint64_t head)
{
    struct fmp_cell_shm *cell = fmp_ring_cell(ring, head);
    uint64_t state = fmp_load_acquire(&cell->state); /* A1 */
    if (fmp_cell_is_passed(state, fmp_ring_lap(ring, head))) {
        fmp_ring_help(&ring->shm->head, head);
        return true;
    }
    return fmp_ring_recover_cell(ring, cell, state);
}

/* The cell at tail is in a state that cannot be. It is free, whatever stands in it, if tail is where it can be. False
 * if tail is not. */
static FMP_COLD bool
repair_free_cell(struct fmp_ring *ring, uint64_t position)
{
    uint64_t state;
    if (fmp_ring_cell_is_damaged(ring, &ring->shm->tail, position, &state)) {
        if (fmp_ring_tail_is_damaged(ring)) {
            return false;
        }
        fmp_cas_acquire(&fmp_ring_cell(ring, position)->state, &state,
                        fmp_cell_state(fmp_ring_lap(ring, position), FMP_CELL_EMPTY, 0)); /* A2 */
    }
    return true;
}

static void
wake_all(struct fmp_ring *ring)
{
    fmp_ec_notify(&ring->shm->space, INT32_MAX);
    fmp_ec_notify(&ring->shm->items, INT32_MAX);
}

/* The cell at head is in a state that cannot be: there is no record to be had. True if we have emptied it, and must
 * say so. */
static FMP_COLD bool
drop_damaged(struct fmp_ring *ring, uint64_t position)
{
    uint64_t state;
    if (!fmp_ring_cell_is_damaged(ring, &ring->shm->head, position, &state) ||
        !fmp_cas_release(&fmp_ring_cell(ring, position)->state, &state,
                         fmp_cell_state(fmp_ring_lap(ring, position) + 1, FMP_CELL_EMPTY, 0))) { /* R2 */
        return false;
    }
    fmp_ring_help(&ring->shm->head, position);
    wake_all(ring);
    return true;
}

/* Has tail come to where it cannot be? It starts at head anew: producers help it past what is claimed. */
static bool
bring_tail_back(struct fmp_ring *ring, uint64_t tail, uint64_t head)
{
    return (int64_t)(tail - head) > (int64_t)ring->limit && fmp_cas_release(&ring->shm->tail, &tail, head); /* R3 */
}

/* Passes the cell at head if it is free. */
static bool
pass_free_cell(struct fmp_ring *ring, uint64_t head)
{
    uint64_t state = fmp_cell_state(fmp_ring_lap(ring, head), FMP_CELL_EMPTY, 0);
    bool was_free = fmp_cas_release(&fmp_ring_cell(ring, head)->state, &state,
                                    fmp_cell_state(fmp_ring_lap(ring, head) + 1, FMP_CELL_EMPTY, 0)); /* R2 */
    if (was_free) {
        fmp_ring_help(&ring->shm->head, head);
    }
    return was_free;
}

bool
fmp_ring_drop_unclaimed(struct fmp_ring *ring)
{
    bool dropped = false, again;
    do {
        /* Head is read after tail, and only grows: so tail was not farther ahead. The cell is looked at after both: who
         * sees that tail has passed a cell sees its claim. */
        uint64_t tail = fmp_load_acquire(&ring->shm->tail); /* A3 */
        uint64_t head = fmp_load_acquire(&ring->shm->head); /* A3 */
        again = bring_tail_back(ring, tail, head) || ((int64_t)(tail - head) > 0 && pass_free_cell(ring, head));
        dropped |= again;
    } while (again);
    if (dropped) {
        wake_all(ring);
    }
    return dropped;
}

/*
 * The cell at `position` has come to its new phase: wakes one waiter, or all if the next cell was there before it. The
 * wake-up for that one found the way blocked by us and was in vain, so it is ours to repeat (tests/model/wakeups.pml).
 */
FMP_INLINE void
notify_in_turn(struct fmp_ring *ring, struct fmp_ec_shm *ec, uint64_t position, uint64_t next_state)
{
    uint64_t word = fmp_ec_look(ec);
    if (FMP_UNLIKELY((word & FMP_EC_WAITERS) != 0)) {
        /* relaxed: ordered by E1 of fmp_ec_look on both sides */
        bool gap_filled = fmp_load_relaxed(&fmp_ring_cell(ring, position + 1)->state) == next_state;
        fmp_ec_notify_slow(ec, word, gap_filled ? INT32_MAX : 1);
    }
}

int
fmp_ring_begin_push(struct fmp_ring *ring, struct fmp_ring_ticket *t)
{
    struct fmp_ring_shm *shm = ring->shm;
    for (;;) {
        uint64_t position = fmp_load_acquire(&shm->tail); /* A3 */
        if (FMP_UNLIKELY(fmp_ring_is_at_limit(ring, position))) {
            if (advance_head(ring, ring->head_seen)) {
                continue;
            }
            return FMP_UNLIKELY(fmp_ring_tail_is_damaged(ring)) ? -EBADMSG : -EAGAIN;
        }
        struct fmp_cell_shm *cell = fmp_ring_cell(ring, position);
        uint64_t lap = fmp_ring_lap(ring, position);
        uint64_t state = fmp_load_relaxed(&cell->state); /* relaxed: the CAS decides */
        if (state == fmp_cell_state(lap, FMP_CELL_EMPTY, 0)) {
            if (fmp_cas_acquire(&cell->state, &state,
                                fmp_cell_state(lap, FMP_CELL_CLAIMED, ring->region->me))) { /* A2 */
                FMP_FAULT("ring:claimed");
                fmp_ring_help(&shm->tail, position);
                FMP_FAULT("ring:tail-moved");
                *t = (struct fmp_ring_ticket){.cell = cell, .position = position};
                return 0;
            }
        } else if (fmp_cell_is_before(state, lap)) {
            if (position == fmp_load_relaxed(&shm->tail) && !fmp_ring_recover_cell(ring, cell, state)) {
                if (fmp_cell_is_sound(state, lap)) {
                    return -EAGAIN; /* the cell still belongs to the lap before */
                }
                if (!repair_free_cell(ring, position)) {
                    return -EBADMSG;
                }
            }
        } else if (FMP_LIKELY(fmp_cell_is_sound(state, lap))) {
            fmp_ring_help(&shm->tail, position);
        } else if (!repair_free_cell(ring, position)) {
            return -EBADMSG;
        }
    }
}

void
fmp_ring_end_push(struct fmp_ring *ring, const struct fmp_ring_ticket *t)
{
    fmp_ring_publish(ring, t);
    notify_in_turn(ring, &ring->shm->items, t->position,
                   fmp_cell_state(fmp_ring_lap(ring, t->position + 1), FMP_CELL_FULL, 0));
}

void
fmp_ring_cancel_push(struct fmp_ring *ring, const struct fmp_ring_ticket *t)
{
    fmp_store_release(&t->cell->state, fmp_cell_state(fmp_ring_lap(ring, t->position) + 1, FMP_CELL_EMPTY, 0)); /* R2 */
    /* Consumers that wait for this cell must look past it, producers may find room. */
    fmp_ec_notify(&ring->shm->items, INT32_MAX);
    fmp_ec_notify(&ring->shm->space, 1);
}

int
fmp_ring_begin_pop(struct fmp_ring *ring, struct fmp_ring_ticket *t)
{
    struct fmp_ring_shm *shm = ring->shm;
    for (;;) {
        uint64_t position = fmp_load_acquire(&shm->head); /* A3 */
        struct fmp_cell_shm *cell = fmp_ring_cell(ring, position);
        uint64_t lap = fmp_ring_lap(ring, position);
        uint64_t state = fmp_load_relaxed(&cell->state); /* relaxed: the CAS decides */
        if (state == fmp_cell_state(lap, FMP_CELL_FULL, 0)) {
            if (fmp_cas_acquire(&cell->state, &state, fmp_cell_state(lap, FMP_CELL_TAKEN, ring->region->me))) { /* A1 */
                FMP_FAULT("ring:taken");
                fmp_ring_help(&shm->head, position);
                FMP_FAULT("ring:head-moved");
                *t = (struct fmp_ring_ticket){.cell = cell, .position = position};
                return 0;
            }
        } else if (fmp_cell_is_passed(state, lap)) {
            fmp_ring_help(&shm->head, position);
        } else if (position == fmp_load_relaxed(&shm->head) && !fmp_ring_recover_cell(ring, cell, state)) {
            if (FMP_LIKELY(fmp_cell_is_sound(state, lap))) {
                return -EAGAIN; /* empty, or still being written */
            }
            if (drop_damaged(ring, position)) {
                return -EBADMSG;
            }
        }
    }
}

void
fmp_ring_end_pop(struct fmp_ring *ring, const struct fmp_ring_ticket *t)
{
    fmp_ring_empty(ring, t);
    notify_in_turn(ring, &ring->shm->space, t->position,
                   fmp_cell_state(fmp_ring_lap(ring, t->position + 1) + 1, FMP_CELL_EMPTY, 0));
}

bool
fmp_ring_has_record(struct fmp_ring *ring)
{
    for (;;) {
        uint64_t position = fmp_load_acquire(&ring->shm->head); /* A3 */
        struct fmp_cell_shm *cell = fmp_ring_cell(ring, position);
        uint64_t lap = fmp_ring_lap(ring, position);
        uint64_t state = fmp_load_acquire(&cell->state); /* A1 */
        if (state == fmp_cell_state(lap, FMP_CELL_FULL, 0)) {
            return true;
        }
        if (fmp_cell_is_passed(state, lap)) {
            fmp_ring_help(&ring->shm->head, position);
        } else if (position == fmp_load_relaxed(&ring->shm->head) && !fmp_ring_recover_cell(ring, cell, state)) {
            return fmp_ring_cell_is_damaged(ring, &ring->shm->head, position, &state);
        }
    }
}

const struct fmp_record *
fmp_ring_peek(const struct fmp_ring *ring, uint64_t position)
{
    struct fmp_cell_shm *cell = fmp_ring_cell(ring, position);
    uint64_t full = fmp_cell_state(fmp_ring_lap(ring, position), FMP_CELL_FULL, 0);
    return fmp_load_acquire(&cell->state) == full ? &cell->record : NULL; /* A1 */
}

/* Has a producer claimed the cell at `position`, whatever has become of it since? */
static bool
is_claimed(const struct fmp_ring *ring, uint64_t position)
{
    uint64_t state = fmp_load_acquire(&fmp_ring_cell(ring, position)->state); /* A1 */
    uint64_t lap = fmp_ring_lap(ring, position);
    return state != fmp_cell_state(lap, FMP_CELL_EMPTY, 0) && !fmp_cell_is_before(state, lap);
}

static bool
is_passed(const struct fmp_ring *ring, uint64_t position)
{
    uint64_t state = fmp_load_acquire(&fmp_ring_cell(ring, position)->state); /* A1 */
    return fmp_cell_is_passed(state, fmp_ring_lap(ring, position));
}

uint64_t
fmp_ring_count(const struct fmp_ring *ring)
{
    /* Tail may be behind in a row, and both where a process was killed: a few cells tell where they would be. Head
     * first: what comes or goes between the two looks may be counted, but a ring that was never empty is not said to
     * be. */
    uint64_t head = fmp_load_acquire(&ring->shm->head); /* A3 */
    for (unsigned n = 0; n < FMP_RING_LAG && is_passed(ring, head); n++) {
        head++;
    }
    uint64_t tail = fmp_load_acquire(&ring->shm->tail); /* A3 */
    for (unsigned n = 0; n < FMP_RING_LAG && is_claimed(ring, tail); n++) {
        tail++;
    }
    int64_t count = (int64_t)(tail - head);
    return count <= 0 ? 0 : (uint64_t)count < ring->limit ? (uint64_t)count : ring->limit;
}

/* ---- making and opening ---- */

static uint64_t
capacity_for(uint64_t limit)
{
    uint64_t capacity = 16;
    while (capacity < limit + FMP_RING_SPARE_CELLS) {
        capacity *= 2;
    }
    return capacity;
}

uint64_t
fmp_ring_bytes(uint64_t limit)
{
    if (limit == 0 || limit > FMP_RING_LIMIT_MAX) {
        return 0;
    }
    return sizeof(struct fmp_ring_shm) + capacity_for(limit) * sizeof(struct fmp_cell_shm);
}

int
fmp_ring_init(struct fmp_ring_shm *shm, uint64_t limit)
{
    if (fmp_ring_bytes(limit) == 0) {
        return -EINVAL;
    }
    shm->limit = limit;
    shm->capacity = capacity_for(limit);
    return 0; /* zeroed cells are EMPTY of lap 0 */
}

int
fmp_ring_open(struct fmp_ring *ring, struct fmp_region *region, fmp_off off, uint64_t bytes)
{
    if (!fmp_region_holds(region, off, bytes) || bytes < sizeof(struct fmp_ring_shm)) {
        return -EPROTO;
    }
    struct fmp_ring_shm *shm = fmp_at(region, off);
    uint64_t capacity = shm->capacity, limit = shm->limit, needed = fmp_ring_bytes(limit);
    if (needed == 0 || needed > bytes || capacity != capacity_for(limit)) {
        return -EPROTO;
    }
    *ring = (struct fmp_ring){.region = region, .shm = shm, .capacity = capacity, .limit = limit};
    ring->log2_capacity = (unsigned)__builtin_ctzll(capacity);
    return 0;
}

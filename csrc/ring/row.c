/*
 * Messages in a row; see ring.h.
 *
 * Tail is helped on by whoever finds it behind, so it need not move with each message: in a row of pushes it does once
 * in FMP_RING_LAG, and at its end. Nobody else can tell that from one who is slow between his claim and his help, or
 * was killed there (tests/model/ring.pml, LAG). What lies between is claimed: a row's next place is believed only
 * within the lag, and only as the place to try next. Head moves with each message also in a row: a producer who finds
 * the ring full would help it on, place by place, and take its line away from the consumer.
 */
#include "ring/layout.h"

/* The place behind the row's last one, if tail has not come to it yet. `push_next` may be of an earlier row, or of the
 * process that forked this one: all before it was claimed when it was, and stays so. */
FMP_INLINE uint64_t
next_place(const struct fmp_ring *ring, uint64_t tail)
{
    return ring->push_next - tail < FMP_RING_LAG ? ring->push_next : tail;
}

/* The end of a row: tail is where it would be without it. */
static void
catch_up(struct fmp_ring *ring)
{
    uint64_t next = ring->push_next, tail = fmp_load_relaxed(&ring->shm->tail); /* relaxed: the CAS decides */
    while (next != tail && next - tail <= FMP_RING_LAG && !fmp_cas_release(&ring->shm->tail, &tail, next)) { /* R3 */
    }
}

/*
 * Wakes all who are seen to sleep. Whoever registers meanwhile may be missed, as if this process had been stopped
 * between its cell and its wake-up: what follows in the row, or its end, finds him.
 */
FMP_INLINE void
notify_unfenced(struct fmp_ec_shm *ec)
{
    if (FMP_UNLIKELY((fmp_load_relaxed(&ec->word) & FMP_EC_WAITERS) != 0)) { /* relaxed: a first look, no more */
        fmp_ec_notify(ec, INT32_MAX);
    }
}

int
fmp_ring_begin_push_in_row(struct fmp_ring *ring, struct fmp_ring_ticket *t)
{
    uint64_t tail = fmp_load_acquire(&ring->shm->tail); /* A3 */
    uint64_t position = next_place(ring, tail);
    struct fmp_cell_shm *cell = fmp_ring_cell(ring, position);
    uint64_t lap = fmp_ring_lap(ring, position), state = fmp_cell_state(lap, FMP_CELL_EMPTY, 0);
    if (FMP_UNLIKELY(
            fmp_ring_is_at_limit(ring, position) ||
            !fmp_cas_acquire(&cell->state, &state, fmp_cell_state(lap, FMP_CELL_CLAIMED, ring->region->me)))) { /* A2 */
        catch_up(ring); /* at once, not place by place */
        return fmp_ring_begin_push(ring, t);
    }
    FMP_FAULT("ring:claimed");
    ring->push_next = position + 1;
    if (ring->push_next - tail >= FMP_RING_LAG) {
        fmp_cas_release(&ring->shm->tail, &tail, ring->push_next); /* R3 */
    }
    *t = (struct fmp_ring_ticket){.cell = cell, .position = position};
    return 0;
}

void
fmp_ring_end_push_in_row(struct fmp_ring *ring, const struct fmp_ring_ticket *t)
{
    fmp_ring_publish(ring, t);
    notify_unfenced(&ring->shm->items);
}

/* All of them: the messages of a row need not lie side by side, so it is not known whose wake-up was in vain. */
void
fmp_ring_end_push_row(struct fmp_ring *ring)
{
    catch_up(ring);
    FMP_FAULT("ring:row-published");
    fmp_ec_notify(&ring->shm->items, INT32_MAX);
}

void
fmp_ring_end_pop_in_row(struct fmp_ring *ring, const struct fmp_ring_ticket *t)
{
    fmp_ring_empty(ring, t);
    notify_unfenced(&ring->shm->space);
}

void
fmp_ring_end_pop_row(struct fmp_ring *ring)
{
    FMP_FAULT("ring:row-emptied");
    fmp_ec_notify(&ring->shm->space, INT32_MAX);
}

/*
 * The side area of a ring; see side.h.
 *
 *   N1  name   CAS release of the ring's `side`, 0 -> the area and its maker
 *   N2  look   load acquire, by who sends or receives, and by the sweep   with N1: the area's block is in transit
 */
#include "conn/side.h"

#include "base/fault.h"

static fmp_off
area_of(uint64_t side)
{
    return (side >> FMP_ID_BITS) * FMP_CACHELINE;
}

/* The area that the ring names, if there is a block of that size: it is another process's memory. */
static unsigned char *
open_area(struct fmp_channel *ch)
{
    fmp_off off = area_of(fmp_load_acquire(&ch->ring.shm->side)); /* N2: pairs with N1 */
    if (off != 0 && fmp_heap_usable(ch->space->heap, off) >= ch->ring.capacity * FMP_MESSAGE_SIDE_BYTES) {
        ch->side = fmp_at(&ch->space->region, off);
    }
    return ch->side;
}

/* The block goes to the ring, unless another process's has been there first. */
static void
give(struct fmp_channel *ch, fmp_off off)
{
    struct fmp_heap *heap = ch->space->heap;
    uint32_t me = ch->space->region.me;
    uint64_t none = 0, position = FMP_RING_SIDE | me;
    if (fmp_heap_send(heap, off, ch->ring_off, position) != 0) {
        fmp_heap_free(heap, off);
        return;
    }
    FMP_FAULT("side:in-transit");
    /* N1: pairs with N2. */
    if (fmp_cas_release(&ch->ring.shm->side, &none, off / FMP_CACHELINE << FMP_ID_BITS | me)) {
        FMP_FAULT("side:named");
    } else if (fmp_heap_receive(heap, off, ch->ring_off, position) == 0) {
        fmp_heap_free(heap, off);
    }
}

/* Is it worth while? If there is no memory for it, messages go in blocks of their own as before. */
static FMP_COLD void
make_area(struct fmp_channel *ch)
{
    fmp_off off;
    if (ch->ring.capacity > FMP_SIDE_CELLS_MAX || ++ch->side_wanted < ch->ring.capacity) {
        return;
    }
    ch->side_wanted = 0;
    if (fmp_load_relaxed(&ch->ring.shm->side) == 0 && /* relaxed: the CAS decides */
        fmp_heap_alloc(ch->space->heap, ch->ring.capacity * FMP_MESSAGE_SIDE_BYTES, &off) == 0) {
        give(ch, off);
    }
}

unsigned char *
fmp_side_to_send(struct fmp_channel *ch)
{
    if (FMP_LIKELY(ch->side != NULL) || open_area(ch) != NULL) {
        return ch->side;
    }
    make_area(ch);
    return open_area(ch);
}

const unsigned char *
fmp_side_to_receive(struct fmp_channel *ch)
{
    return FMP_LIKELY(ch->side != NULL) ? ch->side : open_area(ch);
}

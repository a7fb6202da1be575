/*
 * The side area of a ring: a place beside each cell for a message too large for the cell and small for a block of its
 * own. Called by: conn/message.c.
 *
 * What lies beside a cell is the cell's: who has claimed it writes there before he publishes, who has taken it reads
 * before he empties it, and whoever recovers it has nothing to give back. So such a message costs one copy more on
 * either side (none, if it is one bytes or ASCII str and whoever takes it decodes it), and none of the words that a
 * block changes hands by.
 *
 * The area is one heap block, made when a process has sent as many messages that would go there as the ring has cells:
 * most rings never have one. It belongs to its ring as a dict's arena to its root: in TRANSIT at a position that no
 * message has, which names its maker, so it is freed if he was killed before the ring named it, and with the ring
 * (tests/model/side.pml). Once a ring has an area it keeps it. Rings of more than FMP_SIDE_CELLS_MAX cells have none.
 */
#ifndef FMP_CONN_SIDE_H
#define FMP_CONN_SIDE_H

#include "conn/message.h"

#define FMP_SIDE_CELLS_MAX 1024u
/* What a record has in the place of a block's offset if its bytes lie beside the cell. No block lies there. */
#define FMP_IN_SIDE UINT64_C(1)

static_assert(FMP_MESSAGE_SIDE_BYTES % FMP_CACHELINE == 0 && FMP_MESSAGE_SIDE_BYTES / FMP_CACHELINE % 2 == 1,
              "an odd number of lines: what lies at the same place beside all cells shares no set of a cache");

/* Where the messages lie beside the cells, or NULL: looks for it, and may make it. For a sender, for each message that
 * would go there. */
unsigned char *fmp_side_to_send(struct fmp_channel *ch);
/* The same for who has met a message there: NULL if that is damage. */
const unsigned char *fmp_side_to_receive(struct fmp_channel *ch);

/* The place of `position`. */
FMP_INLINE size_t
fmp_side_at(const struct fmp_channel *ch, uint64_t position)
{
    return (size_t)(position & (ch->ring.capacity - 1)) * FMP_MESSAGE_SIDE_BYTES;
}

#endif

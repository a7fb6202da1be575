/*
 * How far a sender of large messages gets ahead of its receivers, in bytes. Called by: py/queue_put.c,
 * py/queue_batch.c, conn/pipe_send.c, before a message is sent.
 *
 * A ring of 504 messages of 64 KB is 40 MB: neither who writes them nor who reads them finds a line of those in a
 * cache. So a sender whose lead is more than a part of a usual cache lets the others run first, for a moment, and only
 * as long as they get on: a queue nobody reads is filled as fast as ever, and nothing is refused that was not refused
 * before. Blocks that come back meanwhile are warm, which counts most for messages that fit no cache: a block for 32 MB
 * of new memory takes longer to make than to fill. Where both share a core, a moment is the receiver's whole turn.
 */
#ifndef FMP_CONN_LEAD_H
#define FMP_CONN_LEAD_H

#include "conn/message.h"

/* The lead that is fine: it fits half of the smallest last-level caches of today, and each turn on a shared core is
 * much longer than the switch. */
#define FMP_LEAD_BYTES (UINT64_C(2) << 20)

/* Would a message of `bytes` make a lead that is too long? Those of less than a block never do, and of the largest one
 * that is being read and one that is ready are fine. */
FMP_INLINE bool
fmp_lead_is_long(const struct fmp_channel *ch, uint64_t bytes)
{
    if (FMP_LIKELY(bytes <= FMP_MESSAGE_SIDE_BYTES)) {
        return false;
    }
    uint64_t count = fmp_ring_count(&ch->ring);
    return count > 1 && count * bytes > FMP_LEAD_BYTES;
}

/* Lets the receivers run if the lead is too long. Gives the GIL up meanwhile. */
void fmp_lead_give_way_slow(struct fmp_channel *ch, uint64_t bytes);
FMP_INLINE void
fmp_lead_give_way(struct fmp_channel *ch, uint64_t bytes)
{
    if (FMP_UNLIKELY(fmp_lead_is_long(ch, bytes))) {
        fmp_lead_give_way_slow(ch, bytes);
    }
}

#endif

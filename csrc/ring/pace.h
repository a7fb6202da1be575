/*
 * Pace: how the two sides of a ring keep out of each other's way. Called by: py/queue_{get,put}.c, conn/pipe_*.c, when
 * a ring that they work on turns out to be empty or full, before they wait.
 *
 * Whoever looks at a place that the other side is about to change takes the cache line away from him, and each such
 * look costs him a journey of it: two processes that meet at every message spend most of their time on that, although
 * neither ever sleeps. So who has caught up with the other side in a stream leaves the ring alone for a moment, in
 * which many messages come, or many places get free; then both work on lines that nobody else wants.
 *
 * A moment is a microsecond or two at most, and there is none but in a stream: not for the first message, nor the
 * answer in a round trip, nor on a single core. Nothing is promised to the other side, so there is nothing to recover.
 */
#ifndef FMP_RING_PACE_H
#define FMP_RING_PACE_H

#include "ring/ring.h"

/* A consumer found nothing. True: a moment has passed, look again; false: wait. `may` is whether the caller may pause
 * at all, and is false after a moment, so that there is one in a call: others may take what comes, or the room, and
 * deadlines and signals are looked at in the wait. */
bool fmp_ring_let_fill(struct fmp_ring *ring, bool *may);
/* A producer found the ring full. True: messages were taken meanwhile, try again; false: wait. `may` as above. */
bool fmp_ring_let_drain(struct fmp_ring *ring, bool *may);

#endif

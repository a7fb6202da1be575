/* What is in a region's heap, for `fastmp doctor` and tests; see heap.h. A snapshot only if nobody else is at work. */
#include <string.h>

#include "heap/internal.h"

static uint64_t *
counter_of(struct fmp_heap_stats *stats, enum fmp_phase phase)
{
    switch (phase) {
    case FMP_OWNED:
        return &stats->owned;
    case FMP_TRANSIT:
        return &stats->transit;
    case FMP_SHARED:
        return &stats->shared;
    default:
        return &stats->free;
    }
}

void
fmp_heap_count(struct fmp_heap *heap, struct fmp_heap_stats *stats)
{
    struct fmp_walk walk = {0};
    struct fmp_block block;
    memset(stats, 0, sizeof *stats);
    while (fmp_walk_next(heap, &walk, &block)) {
        enum fmp_phase phase = fmp_state_phase(fmp_load_acquire(&block.shm->state)); /* H5: pairs with H3 and H6 */
        *counter_of(stats, phase) += 1;
        uint64_t backed = fmp_backing_bytes(heap, &block);
        stats->bytes_backed += backed;
        stats->bytes_in_use += phase != FMP_FREE ? backed : 0;
    }
}

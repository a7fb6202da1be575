/*
 * Pages behind blocks: reserved before first use, so a full memory is -ENOSPC and never SIGBUS; given back when too
 * many are free. Called by: the files of heap/ only.
 *
 * Blocks below FMP_GIVE_BACK_MIN are backed when they are carved, for good. Larger ones keep `backed` in their header,
 * written by their owner: after the pages are reserved, and before they are given back. So whoever is killed in between
 * leaves a number that is too small, never one that is too large.
 */
#include "base/fault.h"
#include "heap/internal.h"
#include "sys/memory.h"

/* One system call per so many bytes of small blocks. */
#define CHUNK_STEP UINT64_C(65536)
/* A signal makes fallocate start its call again: in pieces, a large block gets on under a fast interval timer. */
#define RESERVE_PIECE (UINT64_C(1) << 24)
/* Memory that is left to others. The kernel does not refuse pages, it kills for them, and not always the one who took
 * them: whoever would go below this gets -ENOSPC. */
#define SPARE_BYTES (UINT64_C(1) << 26)
/* Of a small machine or control group, this part. */
#define SPARE_PART 8
/* What a process takes without asking again: this part of what there was, and no more than so many bytes. */
#define UNASKED_PART 8
#define UNASKED_MAX (UINT64_C(1) << 26)
/* Free pages that are kept, per region. Faulting in and zeroing a page costs about as much as copying it, so a stream
 * of large messages is twice as fast on warm blocks; this is room for 64 messages of 4 MiB. */
#define WARM_BYTES_MAX (INT64_C(1) << 28)

static uint64_t
page_up(uint64_t bytes)
{
    return (bytes + FMP_PAGE_BYTES - 1) / FMP_PAGE_BYTES * FMP_PAGE_BYTES;
}

static uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool
fmp_backing_has_room(struct fmp_heap *heap, uint64_t bytes)
{
    if (bytes <= heap->unasked) {
        heap->unasked -= bytes;
        return true;
    }
    struct sys_memory memory = sys_memory_available();
    uint64_t spare = min_u64(SPARE_BYTES, memory.total / SPARE_PART);
    heap->unasked = 0;
    if (memory.available < spare || memory.available - spare < bytes) {
        return false;
    }
    heap->unasked = min_u64((memory.available - spare - bytes) / UNASKED_PART, UNASKED_MAX);
    return true;
}

int
fmp_backing_chunk(struct fmp_heap *heap, uint64_t chunk, unsigned cls, uint64_t end)
{
    const struct fmp_class *c = &heap->classes[cls];
    struct fmp_chunk_shm *shm = fmp_chunk_at(heap, chunk);
    uint32_t backed = fmp_load_relaxed(&shm->backed_bytes);
    if (end <= backed) {
        return 0;
    }
    uint64_t blocks_end = sizeof *shm + c->capacity * c->stride;
    uint64_t to = page_up(min_u64(blocks_end, end > backed + CHUNK_STEP ? end : backed + CHUNK_STEP));
    int rc = sys_reserve_pages(heap->region->fd, fmp_chunk_off(heap, chunk) + backed, to - backed);
    while (rc == 0 && backed < to && !fmp_cas_relaxed(&shm->backed_bytes, &backed, (uint32_t)to)) {
        /* relaxed: the pages exist for everybody from the system call on */
    }
    return rc;
}

uint64_t
fmp_backing_bytes(const struct fmp_heap *heap, const struct fmp_block *block)
{
    const struct fmp_class *c = &heap->classes[block->cls];
    return c->gives_back ? min_u64(fmp_load_relaxed(&block->shm->backed), c->payload) : c->payload;
}

int64_t
fmp_backing_warm(const struct fmp_heap *heap, const struct fmp_block *block)
{
    bool is_free = fmp_state_phase(fmp_load_relaxed(&block->shm->state)) == FMP_FREE; /* relaxed: a hint */
    return is_free && heap->classes[block->cls].gives_back ? (int64_t)fmp_backing_bytes(heap, block) : 0;
}

/* The whole pages inside [from, to) of the payload: the first and last may be shared with a neighbour. */
static void
release_inside(struct fmp_heap *heap, const struct fmp_block *block, uint64_t to)
{
    fmp_off first = page_up(block->payload);
    fmp_off last = (block->payload + to) / FMP_PAGE_BYTES * FMP_PAGE_BYTES;
    if (last > first) {
        sys_release_pages(heap->region->fd, first, last - first); /* if it fails, the pages stay: no harm */
    }
}

/* The block's pages go; it stays in use by its owner. */
static void
make_cold(struct fmp_heap *heap, const struct fmp_block *block, uint64_t backed)
{
    fmp_store_relaxed(&block->shm->backed, 0); /* relaxed: an owner's field */
    FMP_FAULT("heap:cold");
    release_inside(heap, block, backed);
}

static int
reserve_pieces(struct fmp_heap *heap, const struct fmp_block *block, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t piece = min_u64(to - from, RESERVE_PIECE);
        if (!fmp_backing_has_room(heap, to - from)) {
            return -ENOSPC;
        }
        int rc = sys_reserve_pages(heap->region->fd, block->payload + from, piece);
        if (rc != 0) {
            return rc;
        }
        from += piece;
    }
    return 0;
}

int
fmp_backing_take(struct fmp_heap *heap, const struct fmp_block *block, uint64_t bytes)
{
    const struct fmp_class *c = &heap->classes[block->cls];
    if (!c->gives_back) {
        return 0;
    }
    uint64_t backed = fmp_backing_bytes(heap, block);
    fmp_fetch_add_relaxed(&heap->shm->warm_bytes, -(int64_t)backed); /* relaxed: a hint */
    if (bytes <= backed) {
        return 0;
    }
    uint64_t want = min_u64(page_up(bytes), c->payload);
    int rc = reserve_pieces(heap, block, backed, want);
    if (rc != 0) {
        make_cold(heap, block, want);
        return rc;
    }
    FMP_FAULT("heap:reserved");
    fmp_store_relaxed(&block->shm->backed, want); /* relaxed: an owner's field */
    return 0;
}

uint64_t
fmp_backing_trim(struct fmp_heap *heap)
{
    struct fmp_walk walk = {0};
    struct fmp_block block;
    uint64_t given = 0;
    while (fmp_walk_next(heap, &walk, &block)) {
        uint64_t backed = (uint64_t)fmp_backing_warm(heap, &block);
        if (backed != 0 && fmp_block_claim(heap, &block)) {
            fmp_fetch_add_relaxed(&heap->shm->warm_bytes, -(int64_t)backed); /* relaxed: a hint */
            make_cold(heap, &block, backed);
            fmp_block_free(heap, &block, fmp_load_relaxed(&block.shm->state));
            given += backed;
        }
    }
    return given;
}

void
fmp_backing_leave(struct fmp_heap *heap, const struct fmp_block *block)
{
    if (!heap->classes[block->cls].gives_back) {
        return;
    }
    int64_t backed = (int64_t)fmp_backing_bytes(heap, block);
    int64_t warm = fmp_fetch_add_relaxed(&heap->shm->warm_bytes, backed); /* relaxed: a hint */
    if (warm + backed <= WARM_BYTES_MAX) {
        return;
    }
    fmp_fetch_add_relaxed(&heap->shm->warm_bytes, -backed);
    make_cold(heap, block, (uint64_t)backed);
}

int
fmp_backing_bitmap(struct fmp_heap *heap, const struct fmp_block *block)
{
    if (fmp_load_relaxed(&block->shm->has_bitmap) != 0) {
        return 0;
    }
    int rc = sys_reserve_pages(heap->region->fd, fmp_bitmap_off(heap, block), FMP_BITMAP_BYTES);
    if (rc != 0) {
        return rc;
    }
    fmp_store_relaxed(&block->shm->has_bitmap, 1); /* relaxed: an owner's field */
    return 0;
}

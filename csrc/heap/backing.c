/*
 * Pages behind blocks: reserved before first use, so a full memory is -ENOSPC and never SIGBUS; given back when too
 * many are free. Called by: the files of heap/ only.
 *
 * Blocks below FMP_GIVE_BACK_MIN are backed when they are carved, for good. Larger ones keep `backed` in their header,
 * written by their owner: after the pages are reserved, and before they are given back. So whoever is killed in between
 * leaves a number that is too small, never one that is too large.
 */
#include <stdlib.h>

#include "base/fault.h"
#include "heap/internal.h"
#include "sys/memory.h"

/* One system call per so many bytes of small blocks. */
#define CHUNK_STEP UINT64_C(65536)
/* A signal makes fallocate start its call again: in pieces, a large block gets on under a fast interval timer. Whole
 * huge pages. */
#define RESERVE_PIECE (UINT64_C(1) << 24)
/* Memory that is left to others. The kernel does not refuse pages, it kills for them, and not always the one who took
 * them: whoever would go below this gets -ENOSPC. */
#define SPARE_BYTES (UINT64_C(1) << 26)
/* Of a small machine or control group, this part. */
#define SPARE_PART 8
/* What a process takes without asking again: this part of what there was, and no more than so many bytes. */
#define UNASKED_PART 8
#define UNASKED_MAX (UINT64_C(1) << 26)
/* Free pages that are kept, per region: this part of the machine's memory (or the control group's), within these
 * bounds, unless FASTMP_WARM_BYTES says how many. Making and faulting in a page costs several times as much as copying
 * it, so a stream of large messages is that much faster on warm blocks. */
#define WARM_PART 16
#define WARM_BYTES_LEAST (INT64_C(1) << 28)
#define WARM_BYTES_MOST (INT64_C(1) << 30)

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
    uint64_t to = fmp_page_up(min_u64(blocks_end, end > backed + CHUNK_STEP ? end : backed + CHUNK_STEP));
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
    fmp_off first = fmp_page_up(block->payload);
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

/* The pages of [from, to) of the region, in a block that we own. What has become huge was asked for at once. */
static int
reserve(struct fmp_heap *heap, const struct fmp_block *block, fmp_off from, fmp_off to)
{
    bool has_room = fmp_backing_has_room(heap, to - from);
    bool is_huge = has_room && fmp_huge_make(heap, block, from, to);
    while (has_room && from < to) {
        fmp_off end = min_u64(to, from + RESERVE_PIECE);
        int rc = sys_reserve_pages(heap->region->fd, from, end - from);
        if (rc != 0) {
            return rc;
        }
        from = end;
        has_room = is_huge || from == to || fmp_backing_has_room(heap, to - from);
    }
    return has_room ? 0 : -ENOSPC;
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
    uint64_t want = fmp_huge_end(heap, block, bytes);
    int rc = reserve(heap, block, block->payload + backed, block->payload + want);
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

/* May so many bytes be kept? The machine is asked once, and only by who has much: its memory does not change, and a
 * group's limit hardly. */
static bool
are_kept(struct fmp_heap *heap, int64_t bytes)
{
    if (bytes > heap->warm_max && !heap->warm_is_known) {
        uint64_t part = sys_memory_available().total / WARM_PART;
        int64_t most = (int64_t)min_u64(part, WARM_BYTES_MOST);
        heap->warm_max = most > WARM_BYTES_LEAST ? most : WARM_BYTES_LEAST;
        heap->warm_is_known = true;
    }
    return bytes <= heap->warm_max;
}

void
fmp_backing_open(struct fmp_heap *heap)
{
    const char *env = getenv("FASTMP_WARM_BYTES");
    heap->warm_is_known = env != NULL && *env != '\0';
    heap->warm_max = heap->warm_is_known ? (int64_t)min_u64(strtoull(env, NULL, 10), INT64_MAX) : WARM_BYTES_LEAST;
}

void
fmp_backing_leave(struct fmp_heap *heap, const struct fmp_block *block)
{
    if (!heap->classes[block->cls].gives_back) {
        return;
    }
    int64_t backed = (int64_t)fmp_backing_bytes(heap, block);
    int64_t warm = fmp_fetch_add_relaxed(&heap->shm->warm_bytes, backed); /* relaxed: a hint */
    if (are_kept(heap, warm + backed)) {
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

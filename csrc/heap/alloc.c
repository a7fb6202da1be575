/* Open, allocate, free; see heap.h. Where a block may be found is in hints.c. */
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "heap/internal.h"
#include "sys/memory.h"

/* Blocks looked at before a new one is carved, and before a whole new chunk is taken: even with nine in ten in use, the
 * second hardly ever misses, so a class does not outgrow what it needs. */
#define SCAN_BEFORE_CARVE 8
#define SCAN_BEFORE_CHUNK 512
/* Chunks looked at for one that is not fully carved (two processes may have added one each at the same time). */
#define CARVE_CHUNKS 16
/* Larger classes that serve when the region has no chunk left. */
#define CLASSES_TRIED 5u

static int
check_layout(struct fmp_region *region)
{
    _Atomic uint64_t *layout = (_Atomic uint64_t *)&fmp_region_header(region)->heap_root[0];
    uint64_t found = 0;
    /* relaxed: zero memory is a heap without chunks, so nothing is published by it */
    return fmp_cas_relaxed(layout, &found, FMP_HEAP_LAYOUT) || found == FMP_HEAP_LAYOUT ? 0 : -EPROTO;
}

/* The table has room for a chunk per MiB of the region, which is a little more than there can be. */
static void
set_geometry(struct fmp_heap *heap, struct fmp_region *region)
{
    uint64_t table_end = FMP_CHUNK_TABLE_OFF + region->size / FMP_CHUNK_BYTES;
    heap->region = region;
    heap->shm = fmp_at(region, FMP_HEAP_OFF);
    heap->table = fmp_at(region, FMP_CHUNK_TABLE_OFF);
    heap->chunks_off = (table_end + FMP_CHUNK_BYTES - 1) / FMP_CHUNK_BYTES * FMP_CHUNK_BYTES;
    heap->chunks = heap->chunks_off < region->size ? (region->size - heap->chunks_off) / FMP_CHUNK_BYTES : 0;
    for (unsigned cls = 0; cls < FMP_CLASSES; cls++) {
        heap->classes[cls] = fmp_class_shape(cls);
    }
}

int
fmp_heap_open(struct fmp_heap **heap, struct fmp_region *region)
{
    int rc = check_layout(region);
    if (rc == 0) {
        rc = sys_reserve_pages(region->fd, FMP_HEAP_OFF, FMP_PAGE_BYTES);
    }
    if (rc != 0) {
        return rc;
    }
    struct fmp_heap *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return -ENOMEM;
    }
    set_geometry(h, region);
    fmp_backing_open(h);
    *heap = h;
    return 0;
}

void
fmp_heap_close(struct fmp_heap *heap)
{
    free(heap);
}

void
fmp_heap_after_fork(struct fmp_heap *heap)
{
    memset(heap->hints, 0, sizeof heap->hints);
    heap->settling = heap->unsettled = false;
    heap->unasked = 0;
}

void
fmp_heap_set_carried(struct fmp_heap *heap, fmp_heap_carried_fn fn)
{
    heap->carried = fn;
}

/* A block of `chunk` that nobody has used: 1, 0 if it is fully carved, -ENOSPC. */
static int
carve_in(struct fmp_heap *heap, unsigned cls, uint64_t chunk, struct fmp_block *block)
{
    const struct fmp_class *c = &heap->classes[cls];
    struct fmp_chunk_shm *shm = fmp_chunk_at(heap, chunk);
    uint32_t carved = fmp_load_relaxed(&shm->carved);
    while (carved < c->capacity) {
        int rc = fmp_backing_chunk(heap, chunk, cls, sizeof *shm + (carved + 1) * c->stride);
        if (rc != 0) {
            return rc;
        }
        /* H12: the block's pages exist. Pairs with the load in fmp_chunk_carved. */
        if (fmp_cas_release(&shm->carved, &carved, carved + 1)) {
            FMP_FAULT("heap:carved");
            *block = fmp_block_of(heap, chunk, cls, carved++);
            if (fmp_block_claim(heap, block)) { /* a scan may have been faster */
                return 1;
            }
        }
    }
    return 0;
}

static int
carve(struct fmp_heap *heap, unsigned cls, struct fmp_block *block)
{
    struct fmp_hints *h = &heap->hints[cls];
    uint32_t link = h->carve_chunk;
    int rc = link != 0 ? carve_in(heap, cls, link - 1, block) : 0;
    link = fmp_chunk_newest(heap, cls);
    for (int i = 0; rc == 0 && link != 0 && i < CARVE_CHUNKS; i++) {
        rc = carve_in(heap, cls, link - 1, block);
        h->carve_chunk = link;
        link = fmp_chunk_older(heap, cls, link);
    }
    return rc;
}

/* Takes a new chunk, unless all of it is taken by others at once. */
static int
carve_new(struct fmp_heap *heap, unsigned cls, struct fmp_block *block)
{
    for (;;) {
        uint64_t chunk;
        int rc = fmp_chunk_new(heap, cls, &chunk);
        if (rc != 0) {
            return rc;
        }
        if (cls >= FMP_SMALL_CLASSES) { /* born carved */
            *block = fmp_block_of(heap, chunk, cls, 0);
            rc = fmp_block_claim(heap, block);
        } else {
            heap->hints[cls].carve_chunk = (uint32_t)chunk + 1;
            rc = carve_in(heap, cls, chunk, block);
        }
        if (rc != 0) {
            return rc;
        }
    }
}

/* A block of exactly this class. 1, -ENOSPC. */
static int
find(struct fmp_heap *heap, unsigned cls, struct fmp_block *block)
{
    if (fmp_hints_take(heap, cls, block) || fmp_hints_scan_due(heap, cls, SCAN_BEFORE_CARVE, block)) {
        return 1;
    }
    int rc = carve(heap, cls, block);
    if (rc == 0 && fmp_hints_scan(heap, cls, SCAN_BEFORE_CHUNK, block)) {
        return 1;
    }
    return rc != 0 ? rc : carve_new(heap, cls, block);
}

static int
take_from_classes(struct fmp_heap *heap, unsigned cls, unsigned last, uint64_t bytes, struct fmp_block *block)
{
    int rc = -ENOSPC;
    for (; rc == -ENOSPC && cls < FMP_CLASSES && cls <= last; cls++) {
        rc = find(heap, cls, block);
    }
    if (rc < 0) {
        return rc;
    }
    FMP_FAULT("heap:claimed");
    rc = fmp_backing_take(heap, block, bytes);
    if (rc != 0) {
        fmp_block_free(heap, block, fmp_load_relaxed(&block->shm->state));
    }
    return rc;
}

static int
take_between(struct fmp_heap *heap, unsigned cls, unsigned last, uint64_t bytes, struct fmp_block *block)
{
    if (FMP_UNLIKELY(heap->region->me == 0)) {
        return -EINVAL; /* nobody would be asked whether the owner is alive */
    }
    int rc = take_from_classes(heap, cls, last, bytes, block);
    if (FMP_UNLIKELY(rc == -ENOSPC) && fmp_backing_trim(heap) > 0) {
        rc = take_from_classes(heap, cls, last, bytes, block);
    }
    return rc;
}

static int
take(struct fmp_heap *heap, uint64_t bytes, struct fmp_block *block)
{
    unsigned cls = fmp_class_of(bytes);
    return take_between(heap, cls, cls + CLASSES_TRIED - 1, bytes, block);
}

int
fmp_block_take_parcel(struct fmp_heap *heap, struct fmp_block *block)
{
    return take_between(heap, FMP_PARCEL_CLASS, FMP_PARCEL_CLASS, 0, block);
}

int
fmp_heap_alloc(struct fmp_heap *heap, uint64_t bytes, fmp_off *off)
{
    struct fmp_block block;
    int rc = take(heap, bytes, &block);
    if (rc == 0) {
        heap->latest = block;
        *off = block.payload;
    }
    return rc;
}

int
fmp_heap_alloc_shared(struct fmp_heap *heap, uint64_t bytes, enum fmp_block_kind kind, fmp_off *off)
{
    struct fmp_block block;
    int rc = take(heap, bytes, &block);
    if (rc != 0) {
        return rc;
    }
    memset(fmp_at(heap->region, block.payload), 0, fmp_backing_bytes(heap, &block));
    rc = fmp_block_share(heap, &block, kind);
    if (rc != 0) {
        fmp_block_free(heap, &block, fmp_load_relaxed(&block.shm->state));
        return rc;
    }
    *off = block.payload;
    return 0;
}

uint64_t
fmp_heap_usable(struct fmp_heap *heap, fmp_off off)
{
    struct fmp_block block;
    if (!fmp_block_at(heap, off, &block)) {
        return 0;
    }
    uint64_t state = fmp_load_acquire(&block.shm->state); /* H5: pairs with H3 and H6 */
    return fmp_state_phase(state) != FMP_FREE ? fmp_backing_bytes(heap, &block) : 0;
}

void
fmp_block_free(struct fmp_heap *heap, const struct fmp_block *block, uint64_t state)
{
    if (FMP_UNLIKELY(block->cls == FMP_PARCEL_CLASS)) {
        fmp_parcel_end(heap, block, state);
    } else {
        fmp_block_give(heap, block, state);
    }
}

void
fmp_block_give(struct fmp_heap *heap, const struct fmp_block *block, uint64_t state)
{
    fmp_backing_leave(heap, block);
    FMP_FAULT("heap:freeing");
    /* H2: our last use of the block is over. Pairs with H1 in fmp_block_claim. If it fails, we were taken for dead. */
    if (fmp_cas_release(&block->shm->state, &state, fmp_state_next(state, FMP_FREE, 0))) {
        fmp_hints_freed(heap, block);
    }
}

void
fmp_heap_free(struct fmp_heap *heap, fmp_off off)
{
    struct fmp_block block;
    if (!fmp_block_at_latest(heap, off, &block)) {
        return;
    }
    uint64_t state = fmp_load_relaxed(&block.shm->state); /* relaxed: ours, or not ours to look into */
    if (fmp_state_is(state, FMP_OWNED, heap->region->me)) {
        fmp_block_free(heap, &block, state);
    }
}

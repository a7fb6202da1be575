/* Chunks: the way from an offset to its block, and new chunks; see layout.h. */
#include "base/fault.h"
#include "heap/internal.h"
#include "sys/memory.h"

static uint64_t
claimed_chunks(const struct fmp_heap *heap)
{
    uint64_t n = fmp_load_acquire(&heap->shm->next_chunk); /* H15: pairs with the CAS in claim_run */
    return n <= heap->chunks ? n : heap->chunks;
}

int
fmp_chunk_class(const struct fmp_heap *heap, uint64_t chunk)
{
    uint64_t claimed = claimed_chunks(heap);
    if (chunk >= claimed) {
        return -1;
    }
    unsigned entry = fmp_load_acquire(&heap->table[chunk]); /* H13: pairs with the store in fmp_chunk_new */
    if (entry == 0 || entry > FMP_CLASSES || heap->classes[entry - 1].run > claimed - chunk) {
        return -1;
    }
    return (int)entry - 1;
}

uint32_t
fmp_chunk_carved(const struct fmp_heap *heap, uint64_t chunk, unsigned cls)
{
    uint32_t carved = fmp_load_acquire(&fmp_chunk_at(heap, chunk)->carved); /* H12: pairs with the CAS in carve */
    return carved <= heap->classes[cls].capacity ? carved : heap->classes[cls].capacity;
}

struct fmp_block
fmp_block_of(const struct fmp_heap *heap, uint64_t chunk, unsigned cls, uint32_t index)
{
    const struct fmp_class *c = &heap->classes[cls];
    fmp_off header = fmp_chunk_off(heap, chunk) + sizeof(struct fmp_chunk_shm) + index * c->stride;
    return (struct fmp_block){
        .shm = fmp_at(heap->region, header),
        .payload = header + c->payload_off,
        .chunk = chunk,
        .cls = cls,
    };
}

bool
fmp_block_at(const struct fmp_heap *heap, fmp_off off, struct fmp_block *block)
{
    if (off < heap->chunks_off) {
        return false;
    }
    uint64_t chunk = (off - heap->chunks_off) / FMP_CHUNK_BYTES;
    int cls = fmp_chunk_class(heap, chunk);
    if (cls < 0) {
        return false;
    }
    const struct fmp_class *c = &heap->classes[cls];
    uint32_t inside = (uint32_t)(off - heap->chunks_off) % FMP_CHUNK_BYTES;
    uint32_t first = (uint32_t)sizeof(struct fmp_chunk_shm) + c->payload_off;
    uint32_t stride = (uint32_t)(c->capacity == 1 ? FMP_CHUNK_BYTES : c->stride);
    /* Exact for the multiples of the stride below 2^20, as what the reciprocal was rounded up by is less than the
     * stride; what is no multiple fails the comparison, whatever the quotient. */
    uint32_t index = (uint32_t)((uint64_t)(inside - first) * c->reciprocal >> 32);
    if (inside < first || inside - first != index * stride || index >= fmp_chunk_carved(heap, chunk, (unsigned)cls)) {
        return false;
    }
    *block = fmp_block_of(heap, chunk, (unsigned)cls, index);
    return true;
}

/* The chunk where the run that holds `chunk` begins; its class, or -1. */
static int
run_around(const struct fmp_heap *heap, uint64_t *chunk)
{
    uint64_t at = *chunk;
    int cls = fmp_chunk_class(heap, at);
    while (cls < 0 && at > 0) {
        cls = fmp_chunk_class(heap, --at);
    }
    if (cls < 0 || *chunk - at >= heap->classes[cls].run) {
        return -1;
    }
    *chunk = at;
    return cls;
}

bool
fmp_block_around(const struct fmp_heap *heap, fmp_off off, struct fmp_block *block)
{
    uint64_t chunk = off >= heap->chunks_off ? (off - heap->chunks_off) / FMP_CHUNK_BYTES : UINT64_MAX;
    if (chunk >= claimed_chunks(heap)) {
        return false;
    }
    int cls = run_around(heap, &chunk);
    uint64_t inside = off - fmp_chunk_off(heap, chunk);
    if (cls < 0 || inside < sizeof(struct fmp_chunk_shm)) {
        return false;
    }
    uint64_t index = (inside - sizeof(struct fmp_chunk_shm)) / heap->classes[cls].stride;
    if (index >= fmp_chunk_carved(heap, chunk, (unsigned)cls)) {
        return false;
    }
    *block = fmp_block_of(heap, chunk, (unsigned)cls, (uint32_t)index);
    return off >= block->payload && off - block->payload < heap->classes[cls].payload;
}

bool
fmp_walk_next(const struct fmp_heap *heap, struct fmp_walk *walk, struct fmp_block *block)
{
    uint64_t claimed = claimed_chunks(heap);
    while (walk->chunk < claimed) {
        int cls = fmp_chunk_class(heap, walk->chunk);
        if (cls >= 0 && walk->index < fmp_chunk_carved(heap, walk->chunk, (unsigned)cls)) {
            *block = fmp_block_of(heap, walk->chunk, (unsigned)cls, walk->index++);
            return true;
        }
        walk->chunk += cls >= 0 ? heap->classes[cls].run : 1;
        walk->index = 0;
    }
    return false;
}

bool
fmp_walk_next_of(const struct fmp_heap *heap, unsigned cls, struct fmp_walk *walk, struct fmp_block *block)
{
    uint64_t claimed = claimed_chunks(heap);
    while (walk->chunk < claimed) {
        int here = fmp_chunk_class(heap, walk->chunk);
        if (here == (int)cls && walk->index < fmp_chunk_carved(heap, walk->chunk, cls)) {
            *block = fmp_block_of(heap, walk->chunk, cls, walk->index++);
            return true;
        }
        walk->chunk += here >= 0 ? heap->classes[here].run : 1;
        walk->index = 0;
    }
    return false;
}

/* A chunk index + 1 out of shared memory, if it is one of class `cls`; else 0. */
static uint32_t
checked_chunk(const struct fmp_heap *heap, unsigned cls, uint32_t link)
{
    return link != 0 && fmp_chunk_class(heap, link - 1) == (int)cls ? link : 0;
}

uint32_t
fmp_chunk_newest(const struct fmp_heap *heap, unsigned cls)
{
    /* H14: pairs with the CAS in push_chunk. */
    return checked_chunk(heap, cls, fmp_load_acquire(&heap->shm->class_head[cls]));
}

uint32_t
fmp_chunk_older(const struct fmp_heap *heap, unsigned cls, uint32_t link)
{
    return checked_chunk(heap, cls, fmp_load_relaxed(&fmp_chunk_at(heap, link - 1)->next)); /* behind H14 */
}

/* The table's entries below `end` get their pages. */
static int
back_table(struct fmp_heap *heap, uint64_t end)
{
    uint64_t backed = fmp_load_relaxed(&heap->shm->table_backed);
    if (end <= backed) {
        return 0;
    }
    uint64_t from = backed / FMP_PAGE_BYTES * FMP_PAGE_BYTES;
    uint64_t to = (end + FMP_PAGE_BYTES - 1) / FMP_PAGE_BYTES * FMP_PAGE_BYTES;
    int rc = sys_reserve_pages(heap->region->fd, FMP_CHUNK_TABLE_OFF + from, to - from);
    while (rc == 0 && backed < to && !fmp_cas_relaxed(&heap->shm->table_backed, &backed, to)) {
        /* relaxed: the pages exist for everybody from the system call on */
    }
    return rc;
}

/* Where a run that may begin at chunk `n` begins: with a huge page, if it is as large as one and there is room. A chunk
 * that is left out is virtual space only, and to a walk as one whose claimer was killed. */
static uint64_t
begin_of_run(const struct fmp_heap *heap, uint32_t run, uint64_t n)
{
    uint64_t beyond = fmp_chunk_off(heap, n) % SYS_HUGE_BYTES / FMP_CHUNK_BYTES;
    bool leaves_out = beyond != 0 && run >= SYS_HUGE_BYTES / FMP_CHUNK_BYTES && run < heap->chunks - n;
    return leaves_out ? n + SYS_HUGE_BYTES / FMP_CHUNK_BYTES - beyond : n;
}

/* The first page of the run exists before it is claimed, so a chunk is lost to a full memory never, and to a killed
 * claimer at most. */
static int
claim_run(struct fmp_heap *heap, uint32_t run, uint64_t *chunk)
{
    uint64_t n = fmp_load_relaxed(&heap->shm->next_chunk), begin;
    do {
        if (n > heap->chunks || run > heap->chunks - n) {
            return -ENOSPC;
        }
        begin = begin_of_run(heap, run, n);
        int rc = back_table(heap, begin + run);
        if (rc == 0) {
            rc = sys_reserve_pages(heap->region->fd, fmp_chunk_off(heap, begin), FMP_PAGE_BYTES);
        }
        if (rc != 0) {
            return rc;
        }
    } while (
        !fmp_cas_release(&heap->shm->next_chunk, &n, begin + run)); /* H15: pairs with the load in claimed_chunks */
    *chunk = begin;
    return 0;
}

static void
push_chunk(struct fmp_heap *heap, unsigned cls, uint64_t chunk)
{
    _Atomic uint32_t *head = &heap->shm->class_head[cls];
    uint32_t newest = fmp_load_relaxed(head);
    do {
        fmp_store_relaxed(&fmp_chunk_at(heap, chunk)->next, newest);
    } while (!fmp_cas_release(head, &newest, (uint32_t)chunk + 1)); /* H14: pairs with the load in the scan */
}

int
fmp_chunk_new(struct fmp_heap *heap, unsigned cls, uint64_t *chunk)
{
    /* Large blocks ask when their pages are reserved; a heap of small ones must not fill the machine up either. */
    bool has_room = cls >= FMP_SMALL_CLASSES || fmp_backing_has_room(heap, FMP_CHUNK_BYTES);
    int rc = has_room ? claim_run(heap, heap->classes[cls].run, chunk) : -ENOSPC;
    if (rc != 0) {
        return rc;
    }
    FMP_FAULT("heap:bumped");
    struct fmp_chunk_shm *c = fmp_chunk_at(heap, *chunk);
    fmp_store_relaxed(&c->backed_bytes, (uint32_t)FMP_PAGE_BYTES);
    fmp_store_relaxed(&c->carved, cls >= FMP_SMALL_CLASSES ? 1 : 0);
    /* H13: publish the chunk to walks. Pairs with the load in fmp_chunk_class. */
    fmp_store_release(&heap->table[*chunk], (uint8_t)(cls + 1));
    FMP_FAULT("heap:tabled");
    push_chunk(heap, cls, *chunk);
    FMP_FAULT("heap:pushed");
    return 0;
}

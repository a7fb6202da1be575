/*
 * Where free blocks may be: the private hints of a process, and the scan. Called by: alloc.c, transit.c.
 *
 * In the usual flow one process allocates and sends, another receives and frees. The sender finds its oldest sent block
 * free again, still warm, without a word between the two. Whatever the hints miss, the scan finds: it goes round all
 * blocks of the class, a few at each allocation.
 */
#include "heap/internal.h"

/* Looks at the hints before the scan: more would cost more than a scan that goes on where it stopped. */
#define TRIES_FREED 2
#define TRIES_SENT 3
/* After so many vain scans in a row, this many allocations go by between two: a long queue is filling. */
#define PAUSE_MAX 64u

bool
fmp_block_claim(const struct fmp_heap *heap, const struct fmp_block *block)
{
    uint64_t state = fmp_load_relaxed(&block->shm->state); /* relaxed: the CAS decides */
    return fmp_state_phase(state) == FMP_FREE &&
           /* H1: pairs with H2 in fmp_block_free. */
           fmp_cas_acquire(&block->shm->state, &state, fmp_state_next(state, FMP_OWNED, heap->region->me));
}

/* A hint was a block once, and chunks keep their class: nothing to check but the state. */
static bool
claim_hint(const struct fmp_heap *heap, unsigned cls, fmp_off payload, struct fmp_block *block)
{
    *block = (struct fmp_block){
        .shm = fmp_at(heap->region, payload - heap->classes[cls].payload_off),
        .payload = payload,
        .chunk = (payload - heap->chunks_off) / FMP_CHUNK_BYTES,
        .cls = cls,
    };
    return fmp_block_claim(heap, block);
}

static bool
take_freed(struct fmp_heap *heap, unsigned cls, struct fmp_block *block)
{
    struct fmp_hints *h = &heap->hints[cls];
    for (int i = 0; i < TRIES_FREED && h->freed_count > 0; i++) {
        h->freed_count--;
        h->freed_top = (h->freed_top + FMP_HINTS_FREED - 1) % FMP_HINTS_FREED;
        if (claim_hint(heap, cls, heap->hinted[cls].freed[h->freed_top], block)) {
            return true;
        }
    }
    return false;
}

/* What is not free yet goes to the back: one block that is kept for long does not hide the others. */
static bool
take_sent(struct fmp_heap *heap, unsigned cls, struct fmp_block *block)
{
    struct fmp_hints *h = &heap->hints[cls];
    for (int i = 0; i < TRIES_SENT && h->sent_count > 0; i++) {
        fmp_off payload = heap->hinted[cls].sent[h->sent_head % FMP_HINTS_SENT];
        h->sent_head++;
        h->sent_count--;
        if (claim_hint(heap, cls, payload, block)) {
            return true;
        }
        heap->hinted[cls].sent[(h->sent_head + h->sent_count++) % FMP_HINTS_SENT] = payload;
    }
    return false;
}

bool
fmp_hints_take(struct fmp_heap *heap, unsigned cls, struct fmp_block *block)
{
    return take_freed(heap, cls, block) || take_sent(heap, cls, block);
}

void
fmp_hints_freed(struct fmp_heap *heap, const struct fmp_block *block)
{
    struct fmp_hints *h = &heap->hints[block->cls];
    heap->hinted[block->cls].freed[h->freed_top] = block->payload;
    h->freed_top = (h->freed_top + 1) % FMP_HINTS_FREED;
    h->freed_count += h->freed_count < FMP_HINTS_FREED;
}

/* A full queue forgets its newest: the oldest will be free first. */
void
fmp_hints_sent(struct fmp_heap *heap, const struct fmp_block *block)
{
    struct fmp_hints *h = &heap->hints[block->cls];
    if (h->sent_count < FMP_HINTS_SENT) {
        heap->hinted[block->cls].sent[(h->sent_head + h->sent_count++) % FMP_HINTS_SENT] = block->payload;
    }
}

/* The block under the cursor, which moves on; false at the end of a chunk and of the list. */
static bool
next_in_scan(struct fmp_heap *heap, unsigned cls, struct fmp_block *block)
{
    struct fmp_hints *h = &heap->hints[cls];
    if (h->cursor_chunk == 0) {
        h->cursor_chunk = fmp_chunk_newest(heap, cls);
        h->cursor_index = 0;
    }
    if (h->cursor_chunk == 0) {
        return false;
    }
    uint64_t chunk = h->cursor_chunk - 1;
    if (h->cursor_index >= fmp_chunk_carved(heap, chunk, cls)) {
        h->cursor_chunk = fmp_chunk_older(heap, cls, h->cursor_chunk);
        h->cursor_index = 0;
        return false;
    }
    *block = fmp_block_of(heap, chunk, cls, h->cursor_index++);
    return true;
}

bool
fmp_hints_scan(struct fmp_heap *heap, unsigned cls, unsigned tries, struct fmp_block *block)
{
    for (unsigned i = 0; i < tries; i++) {
        if (next_in_scan(heap, cls, block) && fmp_block_claim(heap, block)) {
            heap->hints[cls].scan_vain = 0;
            return true;
        }
    }
    return false;
}

bool
fmp_hints_scan_due(struct fmp_heap *heap, unsigned cls, unsigned tries, struct fmp_block *block)
{
    struct fmp_hints *h = &heap->hints[cls];
    if (h->scan_pause > 0) {
        h->scan_pause--;
        return false;
    }
    if (fmp_hints_scan(heap, cls, tries, block)) {
        return true;
    }
    h->scan_vain = h->scan_vain < PAUSE_MAX ? 2 * h->scan_vain + 1 : PAUSE_MAX;
    h->scan_pause = h->scan_vain;
    return false;
}

/*
 * The heap's local handle, and the functions that its files share, by file. Called by: the files of heap/ only.
 */
#ifndef FMP_HEAP_INTERNAL_H
#define FMP_HEAP_INTERNAL_H

#include "heap/heap.h"
#include "heap/layout.h"

#define FMP_HINTS_FREED 8u
#define FMP_HINTS_SENT 64u

/* Where this process looks first for a free block of one class. All of it may be wrong at any time: a block is ours
 * only by the CAS on its state. */
struct fmp_hints {
    uint32_t freed_top, freed_count;
    uint32_t sent_head, sent_count;
    uint32_t cursor_chunk; /* the scan: chunk index + 1, or 0 for the newest chunk of the class */
    uint32_t cursor_index;
    uint32_t carve_chunk; /* where a block was carved last: chunk index + 1 */
    uint32_t scan_pause;  /* allocations that go by without a scan, as the last ones were in vain */
    uint32_t scan_vain;
};

/* The blocks that the counts above are of. Apart from them, since a forked child clears the counts of all classes. */
struct fmp_hinted {
    fmp_off freed[FMP_HINTS_FREED]; /* a stack of what this process has freed: the warmest */
    fmp_off sent[FMP_HINTS_SENT];   /* a queue of what it has sent: the receiver has freed the oldest by now */
};

/* A block that is known to exist. */
struct fmp_block {
    struct fmp_block_shm *shm;
    fmp_off payload;
    uint64_t chunk;
    unsigned cls;
};

struct fmp_heap {
    struct fmp_region *region;
    struct fmp_heap_shm *shm;
    _Atomic uint8_t *table;
    fmp_off chunks_off;
    uint64_t chunks; /* that the region has room for */
    fmp_heap_carried_fn carried;
    struct fmp_class classes[FMP_CLASSES];
    struct fmp_hints hints[FMP_CLASSES];
    struct fmp_hinted hinted[FMP_CLASSES];
    /* The block that this process has allocated or received last: what it does next is to send or to free it. Once it
     * exists it does so for good, where it is: whether it is still ours its state tells. */
    struct fmp_block latest;
    bool settling, unsettled; /* holders.c */
    uint64_t unasked;         /* bytes that may be taken before the machine is asked again */
    /* The ring that blocks were sent through last, and the block that it lies in; NULL before the first. Chunks keep
     * their class, so that this remains true whatever becomes of the ring. */
    fmp_off carrier;
    struct fmp_block_shm *carrier_block;
    int64_t warm_max; /* bytes of free pages that are kept: at least so many, until it is known */
    bool warm_is_known;
    bool huge_never;     /* the kernel does not know the call */
    bool huge_ever;      /* it has made some */
    uint32_t huge_pause; /* blocks that go without huge pages, as it has refused some */
};

/* Where a walk over all blocks has got to; starts as zero. */
struct fmp_walk {
    uint64_t chunk;
    uint32_t index;
};

FMP_INLINE fmp_off
fmp_chunk_off(const struct fmp_heap *heap, uint64_t chunk)
{
    return heap->chunks_off + chunk * FMP_CHUNK_BYTES;
}

FMP_INLINE struct fmp_chunk_shm *
fmp_chunk_at(const struct fmp_heap *heap, uint64_t chunk)
{
    return fmp_at(heap->region, fmp_chunk_off(heap, chunk));
}

/* Where the holder bitmap of a block lies: in the first page of a large run, at the end of a small chunk. */
FMP_INLINE fmp_off
fmp_bitmap_off(const struct fmp_heap *heap, const struct fmp_block *block)
{
    if (block->cls >= FMP_SMALL_CLASSES) {
        return fmp_chunk_off(heap, block->chunk) + sizeof(struct fmp_chunk_shm) + sizeof(struct fmp_block_shm);
    }
    const struct fmp_class *c = &heap->classes[block->cls];
    uint32_t first = (uint32_t)sizeof(struct fmp_chunk_shm) + c->payload_off;
    uint32_t inside = (uint32_t)(block->payload - fmp_chunk_off(heap, block->chunk)) - first;
    uint32_t from_end = c->capacity - inside / (uint32_t)c->stride;
    return fmp_chunk_off(heap, block->chunk) + FMP_CHUNK_BYTES - (uint64_t)from_end * FMP_BITMAP_BYTES;
}

/* chunks.c: from offsets to blocks, and new chunks. */

/* The class of a chunk (or of the run that begins there), or -1. */
int fmp_chunk_class(const struct fmp_heap *heap, uint64_t chunk);
/* How many blocks of the chunk may be looked at. */
uint32_t fmp_chunk_carved(const struct fmp_heap *heap, uint64_t chunk, unsigned cls);
/* Block `index` < carved of a chunk of class `cls`. */
struct fmp_block fmp_block_of(const struct fmp_heap *heap, uint64_t chunk, unsigned cls, uint32_t index);
/* The block whose payload begins at `off`; false if there is none. Believes nothing about `off`. */
bool fmp_block_at(const struct fmp_heap *heap, fmp_off off, struct fmp_block *block);
/* The same, at once for the one that this process has allocated or received last. */
FMP_INLINE bool
fmp_block_at_latest(const struct fmp_heap *heap, fmp_off off, struct fmp_block *block)
{
    if (FMP_LIKELY(off == heap->latest.payload && heap->latest.shm != NULL)) {
        *block = heap->latest;
        return true;
    }
    return fmp_block_at(heap, off, block);
}
/* The block whose payload holds `off`; false if there is none. */
bool fmp_block_around(const struct fmp_heap *heap, fmp_off off, struct fmp_block *block);
bool fmp_walk_next(const struct fmp_heap *heap, struct fmp_walk *walk, struct fmp_block *block);
/* The same over the blocks of one class: by the table of chunks, as the class's list may be damaged, and have no end.
 */
bool fmp_walk_next_of(const struct fmp_heap *heap, unsigned cls, struct fmp_walk *walk, struct fmp_block *block);
/* The chunks of a class, newest first, as index + 1; 0 after the last. */
uint32_t fmp_chunk_newest(const struct fmp_heap *heap, unsigned cls);
uint32_t fmp_chunk_older(const struct fmp_heap *heap, unsigned cls, uint32_t link);
/* A new chunk or run of class `cls`, in the class's list. 0, -ENOSPC. */
int fmp_chunk_new(struct fmp_heap *heap, unsigned cls, uint64_t *chunk);

/* backing.c: pages. */

/* May so many bytes more be taken from the machine's memory, or the control group's? Now and then some system calls. */
bool fmp_backing_has_room(struct fmp_heap *heap, uint64_t bytes);
/* Pages of a small chunk up to `end` bytes from its start. 0, -ENOSPC. */
int fmp_backing_chunk(struct fmp_heap *heap, uint64_t chunk, unsigned cls, uint64_t end);
/* Pages for the first `bytes` of a block that we own. 0, -ENOSPC. */
int fmp_backing_take(struct fmp_heap *heap, const struct fmp_block *block, uint64_t bytes);
/* The block is about to be free: keeps its pages warm, or gives them back. */
void fmp_backing_leave(struct fmp_heap *heap, const struct fmp_block *block);
/* Pages of the block's holder bitmap. 0, -ENOSPC. */
int fmp_backing_bitmap(struct fmp_heap *heap, const struct fmp_block *block);
/* Gives all warm pages back, for somebody who finds the memory full. How many bytes. */
uint64_t fmp_backing_trim(struct fmp_heap *heap);
/* What the block adds to `warm_bytes`. */
int64_t fmp_backing_warm(const struct fmp_heap *heap, const struct fmp_block *block);
/* How much is kept warm, where the environment says it. */
void fmp_backing_open(struct fmp_heap *heap);
/* Bytes of payload that may be touched. */
uint64_t fmp_backing_bytes(const struct fmp_heap *heap, const struct fmp_block *block);

/* huge.c: huge pages. */

/* Where the pages of the first `bytes` of a block end, if it had better end with a huge page; else `bytes` in whole
 * pages. */
uint64_t fmp_huge_end(const struct fmp_heap *heap, const struct fmp_block *block, uint64_t bytes);
/* Makes huge pages of what can be made of them in [from, to) of the region, in a block that we own: true if all that
 * was done. Pages may be missing all the same, at the ends or anywhere. */
bool fmp_huge_make(struct fmp_heap *heap, const struct fmp_block *block, fmp_off from, fmp_off to);

/* hints.c: where a free block may be. */

/* FREE -> OWNED(me): the one way to get a block. */
bool fmp_block_claim(const struct fmp_heap *heap, const struct fmp_block *block);
/* A claimed block out of the hints; out of a scan of `tries` blocks; the same, but not if the last ones were in vain.
 */
bool fmp_hints_take(struct fmp_heap *heap, unsigned cls, struct fmp_block *block);
bool fmp_hints_scan(struct fmp_heap *heap, unsigned cls, unsigned tries, struct fmp_block *block);
bool fmp_hints_scan_due(struct fmp_heap *heap, unsigned cls, unsigned tries, struct fmp_block *block);
/* Remembers a block that this process has freed, or that somebody else will free. */
void fmp_hints_freed(struct fmp_heap *heap, const struct fmp_block *block);
void fmp_hints_sent(struct fmp_heap *heap, const struct fmp_block *block);

/* alloc.c */

/* OWNED(me) in state `state` -> FREE, with what belongs to it. give: the last step of it. */
void fmp_block_free(struct fmp_heap *heap, const struct fmp_block *block, uint64_t state);
void fmp_block_give(struct fmp_heap *heap, const struct fmp_block *block, uint64_t state);
/* A block for a parcel, OWNED(me). 0, -ENOSPC, -EINVAL. */
int fmp_block_take_parcel(struct fmp_heap *heap, struct fmp_block *block);

/* holders.c: the bitmap. */

/* OWNED(me) -> SHARED with this process as its holder. 0, -ENOSPC, -EINVAL. */
int fmp_block_share(struct fmp_heap *heap, const struct fmp_block *block, enum fmp_block_kind kind);
/* Clears the bits of `count` identities of a SHARED block, if they are set; if nobody holds it then, it is freed. */
void fmp_holders_clear(struct fmp_heap *heap, const struct fmp_block *block, const uint32_t *ids, unsigned count);
/* Clears bits in a block that we own: there is nobody to race with. */
void fmp_holders_forget(struct fmp_heap *heap, const struct fmp_block *block, const uint32_t *ids, unsigned count);

/* A process that has come by a block that is kept alive by a parcel becomes its holder: 0; -ENOENT if it is not SHARED.
 */
int fmp_holders_join(struct fmp_heap *heap, const struct fmp_block *block, uint32_t id);
/* Is the block SHARED, and the process one of its holders? */
bool fmp_holders_include(const struct fmp_heap *heap, const struct fmp_block *block, uint32_t id);
/* Frees the block if it is SHARED, nobody holds it and no parcel names it. */
void fmp_holders_settle(struct fmp_heap *heap, const struct fmp_block *block);

/* parcels.c */

/* fmp_block_free of a parcel: what it named is settled. */
void fmp_parcel_end(struct fmp_heap *heap, const struct fmp_block *parcel, uint64_t state);
/* Does a parcel name the SHARED block? */
bool fmp_parcels_name(const struct fmp_heap *heap, const struct fmp_block *block);

/* reclaim.c */

/* The ring block is ours and about to be free: so is all that it carried. */
void fmp_reclaim_cargo(struct fmp_heap *heap, const struct fmp_block *ring);

#endif

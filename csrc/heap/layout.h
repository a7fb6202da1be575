/*
 * What the heap keeps in shared memory. Called by: the files of heap/ only.
 *
 * A region from FMP_HEAP_OFF on: one page of struct fmp_heap_shm, the chunk table (one byte per chunk: class + 1), and
 * from the next full MiB on the chunks. All of it is valid when it is zero, so there is nothing to initialise and no
 * race about who does it.
 *
 *   small chunk:  | chunk header | block 0: header, payload | block 1 ... |  ...  | holder bitmaps, 512 bytes a block |
 *   large run:    | chunk header | block header | holder bitmap | to 4096: payload, to the end of the last chunk ...  |
 *
 * The bitmaps of a small chunk take virtual space only, until a block of it is shared. A chunk's entry is written by
 * the one whose CAS moved `next_chunk` past it; an entry of 0 below `next_chunk` is either the inside of a large run or
 * a chunk whose claimer was killed: a walk steps over it chunk by chunk. Blocks from `carved` on have never been looked
 * at, and their pages need not exist.
 *
 * Order of the atomics. "Owner's fields" are backed, ring, position, life, kind and the payload: written by the owner
 * only, published by the next change of the state word.
 *
 *   H1  claim    CAS FREE -> OWNED          acquire  pairs with H2: the former owner's last use of the block is over
 *   H2  free     CAS OWNED -> FREE          release  pairs with H1
 *   H3  send     CAS OWNED -> TRANSIT       release  pairs with H4 and H5: ring, position and the payload
 *   H4  receive  CAS TRANSIT -> OWNED       acquire  pairs with H3
 *   H5  look     load of the state          acquire  pairs with H3, H6: owner's fields of a block that is not ours
 *   H6  share    CAS OWNED -> SHARED        release  pairs with H5, H7: kind, life, first holder's bit, payload
 *   H7  bump     CAS SHARED(v) -> (v+1)     acq_rel  pairs with itself: see holders.c
 *   H8  set      fetch_or of a holder bit   acq_rel  pairs with H10
 *   H9  clear    fetch_and of a holder bit  acq_rel  pairs with H10: see holders.c
 *   H10 scan     loads of the bitmap        acquire  pairs with H8 and H9
 *   H11 last     CAS SHARED -> OWNED        acq_rel  pairs with H7: all holders' use of the block is over
 *   H12 carve    CAS / load of carved       release / acquire: the pages below it exist
 *   H13 entry    store / load of the table  release / acquire: the chunk's header is filled in
 *   H14 push     CAS / load of class head   release / acquire: the chunk's `next`
 *   H15 bump     CAS / load of next_chunk   release / acquire: the table below it is backed
 *   H16 enter    CAS of reclaimer           acquire, leave: release; pairs with itself
 *   H17 fences   mark dead; fence; enter  and  leave; fence; look for dead slots: one of the two sees the other
 *   H18 end      exchange / load of a parcel's reference  acq_rel / acquire: its opener's bit is set, and bumped
 *   H19 return   add / load of `returned`   release / acquire: as H18
 *   H20 fences   clear a bit; fence; look at the parcels  and  end a parcel; fence; look at the bits
 *   H21 lend     CAS OWNED -> OWNED         release / acquire: the parcel's reference
 */
#ifndef FMP_HEAP_LAYOUT_H
#define FMP_HEAP_LAYOUT_H

#include "heap/classes.h"
#include "shm/region.h"

#define FMP_HEAP_LAYOUT UINT64_C(2)
#define FMP_PAGE_BYTES UINT64_C(4096)
#define FMP_BITMAP_BYTES 512u
#define FMP_BITMAP_WORDS (FMP_BITMAP_BYTES / 8u)

FMP_INLINE uint64_t
fmp_page_up(uint64_t bytes)
{
    return (bytes + FMP_PAGE_BYTES - 1) / FMP_PAGE_BYTES * FMP_PAGE_BYTES;
}

/* At FMP_HEAP_OFF. */
struct fmp_heap_shm {
    FMP_ALIGNED _Atomic uint64_t next_chunk; /* chunks below it are claimed; only grows */
    _Atomic uint64_t table_backed;           /* table entries below it have their page; only grows */
    FMP_ALIGNED _Atomic int64_t warm_bytes; /* in free blocks that could give pages back; a hint, set right by sweeps */
    FMP_ALIGNED _Atomic uint32_t reclaimer; /* who sweeps the region now, or 0 */
    FMP_ALIGNED _Atomic uint32_t class_head[FMP_CLASSES]; /* newest chunk of the class, index + 1 */
};

#define FMP_CHUNK_TABLE_OFF (FMP_HEAP_OFF + FMP_PAGE_BYTES)

/* At the start of each small chunk and of each large run. */
struct fmp_chunk_shm {
    FMP_ALIGNED _Atomic uint32_t carved; /* blocks that exist; only grows */
    _Atomic uint32_t backed_bytes;       /* from the chunk's start on; only grows; not used by large runs */
    _Atomic uint32_t next;               /* the next older chunk of the class, index + 1; written before it is pushed */
};

/* In front of each block. */
struct fmp_block_shm {
    FMP_ALIGNED _Atomic uint64_t state;
    _Atomic uint64_t backed;     /* bytes of payload whose pages exist; kept by classes that give pages back */
    _Atomic uint64_t ring;       /* TRANSIT: where it is named */
    _Atomic uint64_t position;   /* ... in which cell. SHARED: 1 if a ring in it has carried blocks, in this life */
    _Atomic uint64_t life;       /* SHARED: the version of the state with which it became so; no other life has it */
    _Atomic uint32_t kind;       /* SHARED: enum fmp_block_kind */
    _Atomic uint32_t has_bitmap; /* the pages of its bitmap exist; once set, set for good */
    /* In a parcel: the payload of the block that it names, or 0. In a SHARED block: the parcel that named it last, a
     * hint. */
    _Atomic uint64_t reference;
    _Atomic uint32_t made, returned; /* parcels that named this block, in all its lives, and those of them that ended */
};

static_assert(sizeof(struct fmp_heap_shm) <= FMP_PAGE_BYTES, "the heap header is one page");
static_assert(sizeof(struct fmp_chunk_shm) == FMP_CACHELINE, "payloads are 64-byte aligned");
static_assert(sizeof(struct fmp_block_shm) == FMP_CACHELINE, "payloads are 64-byte aligned");
static_assert(2 * FMP_CACHELINE + FMP_BITMAP_BYTES <= FMP_LARGE_PAYLOAD_OFF, "the head of a large run is one page");

/* The state word: {version:37 | phase:3 | owner:24}. Each change adds 1 to the version, so no value comes twice. Zero
 * is a free block that nobody has used. SHARED and FREE have no owner; TRANSIT names its sender. */
enum fmp_phase { FMP_FREE = 0, FMP_OWNED = 1, FMP_TRANSIT = 2, FMP_SHARED = 3 };

FMP_INLINE enum fmp_phase
fmp_state_phase(uint64_t state)
{
    return (enum fmp_phase)(state >> 24 & 7);
}

FMP_INLINE uint32_t
fmp_state_owner(uint64_t state)
{
    return (uint32_t)state & 0xffffff;
}

/* The state that follows `state`. */
FMP_INLINE uint64_t
fmp_state_next(uint64_t state, enum fmp_phase phase, uint32_t owner)
{
    return ((state >> 27) + 1) << 27 | (uint64_t)phase << 24 | owner;
}

FMP_INLINE uint64_t
fmp_state_version(uint64_t state)
{
    return state >> 27;
}

FMP_INLINE bool
fmp_state_is(uint64_t state, enum fmp_phase phase, uint32_t owner)
{
    return ((uint32_t)state & 0x7ffffff) == ((uint32_t)phase << 24 | owner);
}

#endif

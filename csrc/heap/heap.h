/*
 * The block heap over a region. Called by: pyrt/ (objects), wire/ and conn/ (messages too large for a cell).
 *
 * The truth about a block is the state word in its header, changed only by CAS, and always naming its owner; free lists
 * are private hints, so there is no structure that a killed process can leave half-changed. Each region is a table of 1
 * MiB chunks; a chunk belongs to one size class (64 bytes to 256 KiB, four classes per doubling), larger blocks are
 * runs of chunks. Virtual space is never coalesced; pages are given back by punching holes. Modelled in
 * tests/model/block.pml and holders.pml.
 *
 * A block is one of:
 *   OWNED    by one process (a message being written or read)
 *   TRANSIT  named by position p of a ring
 *   SHARED   held by every process whose bit is set in its holder bitmap (locks, rings, values, received arrays that a
 * fork has inherited)
 */
#ifndef FMP_HEAP_HEAP_H
#define FMP_HEAP_HEAP_H

#include "shm/participants.h"

/* What a SHARED block holds, so that a sweep can look inside. */
enum fmp_block_kind { FMP_BLOCK_DATA = 0, FMP_BLOCK_RING = 1, FMP_BLOCK_SYNC = 2, FMP_BLOCK_OTHER = 3 };

/* A process's handle on a region's heap: the hints. Not thread-safe by itself: callers hold the GIL or a mutex of their
 * own. */
struct fmp_heap;

int fmp_heap_open(struct fmp_heap **heap,
                  struct fmp_region *region); /* initialises the region's heap if it is the first */
void fmp_heap_close(struct fmp_heap *heap);
void fmp_heap_after_fork(struct fmp_heap *heap); /* in the child: forget hints that are the parent's to use */

/* A block of at least `bytes`, OWNED by this process; *off is its payload, 64-byte aligned, contents undefined.
 * -ENOSPC, -EINVAL (this process has not joined the region). */
int fmp_heap_alloc(struct fmp_heap *heap, uint64_t bytes, fmp_off *off);
/* A SHARED block, zeroed, with this process as its only holder. */
int fmp_heap_alloc_shared(struct fmp_heap *heap, uint64_t bytes, enum fmp_block_kind kind, fmp_off *off);
/* Usable bytes of the block at `off`; 0 if there is no allocated block (for offsets that another process wrote). */
uint64_t fmp_heap_usable(struct fmp_heap *heap, fmp_off off);
/* An OWNED block of this process is given back. */
void fmp_heap_free(struct fmp_heap *heap, fmp_off off);

/* OWNED(me) -> TRANSIT: it is about to be named by `position` of the ring at `ring`, which lies in a SHARED block (of
 * kind RING, or what it carries is not freed with it) and whose cell `position` is claimed already. Call before the
 * cell is published. -EINVAL if the block is not ours. */
int fmp_heap_send(struct fmp_heap *heap, fmp_off off, fmp_off ring, uint64_t position);
/* TRANSIT -> OWNED(me), if the block is named by just this position of this ring: who looks after a dead consumer's
 * record may come late, when the block is in another message already. Call before the cell is emptied. -EBADMSG
 * otherwise. */
int fmp_heap_receive(struct fmp_heap *heap, fmp_off off, fmp_off ring, uint64_t position);
/* The same, and how many bytes of the block are usable. */
int fmp_heap_receive_usable(struct fmp_heap *heap, fmp_off off, fmp_off ring, uint64_t position, uint64_t *usable);
/* OWNED(me) -> SHARED with this process as holder; usable bytes and contents stay. 0, -ENOSPC, -EINVAL. */
int fmp_heap_share(struct fmp_heap *heap, fmp_off off);

/* Holders of a SHARED block. hold: the caller itself is a holder, stays one during the call, and makes `id` one:
 * itself, or a child that it has not started yet (whoever runs may be killed, and swept before the bit is set). drop:
 * the last one frees the block; of a RING block also all that it carries. Idempotent: there is one bit per process, so
 * a process with several handles on a block counts them itself, and drops with the last. */
void fmp_heap_hold(struct fmp_heap *heap, fmp_off off, uint32_t id);
void fmp_heap_drop(struct fmp_heap *heap, fmp_off off, uint32_t id);
/* How many processes hold the block. */
unsigned fmp_heap_holders(struct fmp_heap *heap, fmp_off off);

/* For blocks that are named to other processes, who believe nothing of it. life: the number of this life of a SHARED
 * block, which tells it from all that lay or will lie at the same place; 0 if there is none. is_held: is there, in this
 * life, a SHARED block of this kind with so many usable bytes, and is this process a holder? Then it stays so until it
 * drops it. */
uint64_t fmp_heap_life(struct fmp_heap *heap, fmp_off off);
bool fmp_heap_is_held(struct fmp_heap *heap, fmp_off off, uint64_t life, enum fmp_block_kind kind, uint64_t bytes);
/* A walk over all blocks: whatever `id` holds is held by `heir` from now on (0: by nobody). `id` is this process, or
 * one that is not started yet and was reserved for it. */
void fmp_heap_drop_all(struct fmp_heap *heap, uint32_t id, uint32_t heir);

/* All that the killed `id` held or owned is given back, then its slot is buried; so it goes with all others that are
 * marked dead. Blocks in TRANSIT are freed if no cell names them that somebody alive will read. Idempotent. Does
 * nothing if the process is not killed; if another process is reclaiming, that one will do this one's work too. */
void fmp_heap_reclaim(struct fmp_heap *heap, uint32_t id);

/* For `fastmp doctor` and tests. */
struct fmp_heap_stats {
    uint64_t owned, transit, shared, free; /* blocks */
    uint64_t bytes_in_use, bytes_backed;
};
void fmp_heap_count(struct fmp_heap *heap, struct fmp_heap_stats *stats);

/* Set by ring/ users at start: is the block in TRANSIT at `position` of the ring block `ring` still named there? (heap/
 * lies below ring/.) */
typedef bool (*fmp_heap_carried_fn)(struct fmp_region *region, fmp_off ring, uint64_t ring_bytes, uint64_t position);
void fmp_heap_set_carried(struct fmp_heap *heap, fmp_heap_carried_fn fn);

#endif

/*
 * The ring: a bounded multi-producer multi-consumer queue of records in shared memory. Called by: conn/, pool/.
 *
 * Layout: a header of four cache lines, then `capacity` cells of 128 bytes. Position p lives in cell p & mask; lap = p
 * / capacity. A cell's state word is {lap:38 | phase:2 | owner:24}; who changes it and why is in docs/architecture.md,
 * and modelled in tests/model/ring.pml: EMPTY(lap) -CAS-> CLAIMED(lap, producer) -store-> FULL(lap) -CAS-> TAKEN(lap,
 * consumer) -store-> EMPTY(lap+1) Invariants: head <= tail + FMP_RING_LAG, tail <= head + limit; a claimed or taken
 * cell names its owner, so a killed owner's cell is recovered by whoever meets it; head and tail are helped forward by
 * anybody, so nobody is waited for but the owner of the one cell that is next in turn.
 *
 * Damage: a cell that head or tail has come to, in a state that no process can have left it in, holds no record, nor
 * does a free one that tail has passed. The consumer who meets it empties it and is told; a producer makes it free
 * again. Head or tail in a place that cannot be is an error for the producer. What a word names that could be true is
 * believed: a living owner is waited for.
 *
 * Use: begin_push gives the cell to write in, end_push publishes; begin_pop gives the record to read, end_pop empties
 * the cell. Between begin and end the cell is this process's. None of the four blocks; to wait, use the event counts
 * `items` and `space` with the ready functions below.
 */
#ifndef FMP_RING_RING_H
#define FMP_RING_RING_H

#include "shm/participants.h"
#include "sync/eventcount.h"

#define FMP_RING_CELL_BYTES 128u
/* Cells beyond the limit: a consumer that is slow to empty its cell does not make a ring that has room look full. */
#define FMP_RING_SPARE_CELLS 8u
/* Bytes of a record that lie in the cell itself. */
#define FMP_RING_INLINE_BYTES (FMP_RING_CELL_BYTES - 24u)

/* In a row of pushes tail is moved once in so many: it is as far behind at most. */
#define FMP_RING_LAG 8u

/* The position at which a ring's side area is in transit: this, and the identity of its maker. No message comes there.
 */
#define FMP_RING_SIDE (UINT64_C(1) << 63)

/* What a cell carries: up to FMP_RING_INLINE_BYTES of data, and, if `block` is not 0, a heap block with the rest. */
struct fmp_record {
    uint32_t bytes; /* of data inline */
    uint32_t tag;   /* the caller's */
    uint64_t block; /* offset of a heap block's payload that travels with it, or 0 */
    unsigned char data[FMP_RING_INLINE_BYTES];
};

struct fmp_cell_shm {
    FMP_ALIGNED _Atomic uint64_t state;
    struct fmp_record record;
};

struct fmp_ring_shm {
    uint64_t capacity;     /* cells, a power of two, at least limit + FMP_RING_SPARE_CELLS */
    uint64_t limit;        /* messages at most */
    _Atomic uint64_t side; /* conn/side.h: {offset of the side area / 64 : 40 | its maker : 24}, or 0 */
    FMP_ALIGNED _Atomic uint64_t tail;
    FMP_ALIGNED _Atomic uint64_t head;
    FMP_ALIGNED struct fmp_ec_shm items; /* consumers wait here; notified by producers */
    struct fmp_ec_shm space;             /* producers wait here; notified by consumers */
    FMP_ALIGNED struct fmp_cell_shm cells[];
};

/* What a side knows of its own speed; pace.h. */
struct fmp_pace {
    uint64_t caught_up_at; /* head, when the ring was last found empty */
    uint64_t moment_ns;    /* the last moment waited; 0: in no stream */
};

/* A process's handle. `capacity` and `limit` are copies: what another process may have overwritten is not believed
 * twice. */
struct fmp_ring {
    struct fmp_region *region;
    struct fmp_ring_shm *shm;
    uint64_t capacity;
    uint64_t limit;
    unsigned log2_capacity;
    struct fmp_pace pop_pace;
    uint64_t head_seen; /* the last value of head that a push has looked at: it only grows */
    uint64_t push_next; /* in a row: the place behind the last one claimed; tail may not be there yet */
    /* A dead owner's record is shown to this function before its cell is emptied (heap blocks, the task of a killed
     * worker). May be NULL. */
    void (*on_dead)(void *ctx, uint32_t owner, bool was_taken, uint64_t position, const struct fmp_record *record);
    void *on_dead_ctx;
    bool bystander; /* this process never recovers cells: somebody else has to see them first */
    /* The owner last asked about, until when he is not asked about again, and whether he was found dead. */
    uint32_t suspect;
    bool suspect_is_dead;
    uint64_t ask_again_ns;
};

/* A claimed or taken cell, between begin and end. */
struct fmp_ring_ticket {
    struct fmp_cell_shm *cell;
    uint64_t position;
};

/* Bytes of region memory that a ring for `limit` messages takes; 0 if that is too many. */
uint64_t fmp_ring_bytes(uint64_t limit);
/* Makes a ring in zeroed memory of that size. */
int fmp_ring_init(struct fmp_ring_shm *shm, uint64_t limit);
/* Opens the ring at `off`; -EPROTO if there is none that fits `bytes`. */
int fmp_ring_open(struct fmp_ring *ring, struct fmp_region *region, fmp_off off, uint64_t bytes);

/* 0, -EAGAIN if full, -EBADMSG if head or tail was damaged. */
int fmp_ring_begin_push(struct fmp_ring *ring, struct fmp_ring_ticket *t);
void fmp_ring_end_push(struct fmp_ring *ring, const struct fmp_ring_ticket *t);
/* The same for one of several messages in a row: tail is moved now and then only, and there is no fence, so that a
 * consumer who is just falling asleep may be missed. After the last one fmp_ring_end_push_row makes up for both. */
int fmp_ring_begin_push_in_row(struct fmp_ring *ring, struct fmp_ring_ticket *t);
void fmp_ring_end_push_in_row(struct fmp_ring *ring, const struct fmp_ring_ticket *t);
void fmp_ring_end_push_row(struct fmp_ring *ring);
/* Gives a claimed cell back unpublished; consumers skip it. */
void fmp_ring_cancel_push(struct fmp_ring *ring, const struct fmp_ring_ticket *t);
/* 0, -EAGAIN if empty or if the next record is still being written, -EBADMSG if the next cell was damaged: it is
 * emptied then. */
int fmp_ring_begin_pop(struct fmp_ring *ring, struct fmp_ring_ticket *t);
void fmp_ring_end_pop(struct fmp_ring *ring, const struct fmp_ring_ticket *t);
/* Without the fence, as for push, but head is moved each time; after the last one fmp_ring_end_pop_row. */
void fmp_ring_end_pop_in_row(struct fmp_ring *ring, const struct fmp_ring_ticket *t);
void fmp_ring_end_pop_row(struct fmp_ring *ring);

/* Messages in the ring: published or being written; never negative. */
uint64_t fmp_ring_count(const struct fmp_ring *ring);
/* For fmp_ec_await on `items` and on `space`; ctx is the struct fmp_ring. They also recover what a dead owner left in
 * the way. */
bool fmp_ring_may_pop(void *ring);
bool fmp_ring_may_push(void *ring);
/* Is that for which the two wait in somebody's hand? For struct fmp_spin. */
bool fmp_ring_pop_is_held_up(void *ring);
bool fmp_ring_push_is_held_up(void *ring);
/* Is a record (or damage, which is an error) there to be popped? Clears a dead producer's cell out of the way, for
 * which fmp_ring_may_pop says true. */
bool fmp_ring_has_record(struct fmp_ring *ring);
/* Passes the cells at head that nobody has claimed although tail is beyond them: head, tail or a cell was written over.
 * True if there was one, which is an error for the consumer. For those who find no record in a ring that is not empty,
 * before they wait. */
bool fmp_ring_drop_unclaimed(struct fmp_ring *ring);
/* The record at `position` if it is published and not yet taken, else NULL. To be believed only by the one consumer. */
const struct fmp_record *fmp_ring_peek(const struct fmp_ring *ring, uint64_t position);
/* Is the block that was sent at `position` still named by a cell that somebody alive will read, or, if it is the side
 * area of a maker, by the ring? For heap reclamation. */
bool fmp_ring_carries(const struct fmp_ring *ring, uint64_t position);
/* Recovers every cell of a killed owner at once, whatever its turn. Used when a process is known to be dead. */
void fmp_ring_recover(struct fmp_ring *ring, uint32_t dead);

#endif

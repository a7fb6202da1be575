/*
 * A hash table of bytes to bytes in shared memory, in the order of insertion. Called by: py/dict.c, py/dict_entry.c;
 * pyrt/spaces.c (is an arena still in use?).
 *
 * The root is a SHARED block with a lock; all functions but the two that say otherwise need it held. The entries lie in
 * one *arena*, a heap block that the root names:
 *
 *   | header | index: order + 1 by hash | order: offsets of records | log: records, one behind the other |
 *
 * - The truth is `order[0 .. used)`, and nothing else: each change is published by one store, of an item of `order`, of
 *   `used`, or of the root's `arena`. A process that is killed in between leaves the old state or the new one. The
 *   index, `live` and `log_used` follow from it; who gets the lock from the dead makes them anew (fmp_dict_recover).
 * - Records are never changed. A new value is a new record; what lies unused goes when the arena is full and the live
 *   records move to a new one.
 * - An arena belongs to the root as a message belongs to its ring: in TRANSIT, named by a position that never comes
 *   again. `carries` tells the heap whether it is the present arena, or one that a living process is about to publish.
 *
 * - Any word may be damaged, so offsets and sizes are checked before they are followed. What cannot be is left out, and
 *   the handle says that it was met (fmp_dict_is_damaged); fmp_dict_clear makes a damaged dict an empty one.
 *
 *   order  what                                                       pairs with
 *   D1     publish: store of an order item, of used, of arena; end of a   L3: who recovers sees whole records
 *          claim; release
 *   D2     carries: loads of arena, pending, claimer, acquire             D1, D3
 *   D3     pending: store before the arena is in transit, release         D2
 */
#ifndef FMP_DICT_DICT_H
#define FMP_DICT_DICT_H

#include "heap/heap.h"
#include "sync/lock.h"

#define FMP_DICT_MAGIC UINT64_C(0x7463696470616d66)

struct fmp_dict_shm {
    uint64_t magic;
    struct fmp_lock_shm lock;
    _Atomic uint32_t claimer;  /* who is about to publish `pending` */
    _Atomic uint64_t arena;    /* 0: there has been no entry yet */
    _Atomic uint64_t position; /* of the present arena, under the lock */
    _Atomic uint64_t pending;  /* the position of the arena to come; only grows */
};

/* An arena, and what of it has been checked: the rest is done with these copies, whatever stands there later. */
struct fmp_dict_arena {
    struct arena *at; /* dict.c */
    fmp_off off;
    uint64_t log_end;
    uint32_t order_room;
    bool damaged; /* something in it, or its place, cannot be */
};

/* A process's handle, for one operation: made when the lock is taken. */
struct fmp_dict {
    struct fmp_heap *heap;
    struct fmp_region *region;
    fmp_off root;
    struct fmp_dict_shm *shm;
    struct fmp_dict_arena arena; /* zero to begin with */
};

struct fmp_dict_key {
    const void *data;
    uint32_t bytes;
    uint64_t hash;
};

/* An entry: the key, `extra` bytes of the caller's, the value. */
struct fmp_dict_record {
    uint64_t hash;
    uint64_t value_bytes;
    uint32_t key_bytes, extra_bytes;
    unsigned char data[];
};

FMP_INLINE const unsigned char *
fmp_dict_extra(const struct fmp_dict_record *r)
{
    return r->data + r->key_bytes;
}

FMP_INLINE const unsigned char *
fmp_dict_value(const struct fmp_dict_record *r)
{
    return r->data + r->key_bytes + r->extra_bytes;
}

/* A root in zeroed memory, before anybody else sees it; without the lock. */
void fmp_dict_init(struct fmp_dict_shm *shm);
struct fmp_dict_key fmp_dict_key_of(const void *data, uint32_t bytes);

/* Has this operation met damage? Then what it found is not to be relied on. */
FMP_INLINE bool
fmp_dict_is_damaged(const struct fmp_dict *d)
{
    return d->arena.damaged;
}

/* The lock came from a killed process. */
void fmp_dict_recover(struct fmp_dict *d);

/* The entry, or NULL. Valid while the lock is held and nothing is put. */
const struct fmp_dict_record *fmp_dict_find(struct fmp_dict *d, const struct fmp_dict_key *key);
uint32_t fmp_dict_length(struct fmp_dict *d);
/* The entries in order: *at begins at 0; NULL after the last. */
const struct fmp_dict_record *fmp_dict_next(struct fmp_dict *d, uint32_t *at);
/* Bytes of all records; false if they are more than there can be. */
bool fmp_dict_measure(struct fmp_dict *d, uint64_t *bytes);
/* The last one, or NULL. */
const struct fmp_dict_record *fmp_dict_last(struct fmp_dict *d);

/* Room for a record with the key in it: the caller writes extra and value, then commits. -ENOSPC, -E2BIG,
 * -EBADMSG. */
int fmp_dict_reserve(struct fmp_dict *d, const struct fmp_dict_key *key, uint32_t extra_bytes, uint64_t value_bytes,
                     struct fmp_dict_record **record);
/* The record is the key's entry from now on. `record` is of the reserve just before. */
void fmp_dict_commit(struct fmp_dict *d, const struct fmp_dict_record *record);
/* True if there was such an entry. */
bool fmp_dict_remove(struct fmp_dict *d, const struct fmp_dict_key *key);
/* All at once. 0 or -ENOSPC. */
int fmp_dict_clear(struct fmp_dict *d);

/* For the heap's sweep, without the lock: is `root` a dict, and does it name the arena at `position`? */
bool fmp_dict_carries(struct fmp_region *region, fmp_off root, uint64_t bytes, uint64_t position, bool *is_dict);

#endif

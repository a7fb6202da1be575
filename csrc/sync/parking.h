/*
 * Where processes wait for any word of a region to change: a table of event counts, found by the word's offset. Called
 * by: py/atomic.c.
 *
 * The words are the user's own, of any width, so nothing can be kept beside them. Words that share a place cost each
 * other looks in vain, nothing else: `whose` says whether all who ever waited here waited for one word. If so, a
 * notifier wakes as many as he is asked to; if not, all, since the kernel cannot tell them apart.
 *
 *   order  what                                       pairs with
 *   G1     enter: CAS or store of `whose`, release    G2: he who sees a waiter's registration sees whose word it is
 *   G2     notify: loads of the count and of `whose`  G1
 */
#ifndef FMP_SYNC_PARKING_H
#define FMP_SYNC_PARKING_H

#include "shm/region.h"
#include "sync/eventcount.h"

struct fmp_parking_shm {
    FMP_ALIGNED struct fmp_ec_shm changed;
    _Atomic uint64_t whose; /* the offset of the only word waited for so far; 0 none, UINT64_MAX several */
};

#define FMP_PARKING_PLACES (FMP_PARKING_BYTES / sizeof(struct fmp_parking_shm))

/* A process is about to wait for the word at `off`: with fmp_ec_await, here. */
struct fmp_ec_shm *fmp_parking_enter(struct fmp_region *r, fmp_off off);
/* The word at `off` was changed: wakes at least `n` of those who wait for it, if there are so many. */
void fmp_parking_notify(struct fmp_region *r, fmp_off off, int n);

#endif

/*
 * The lock: one futex word that survives the death of its owner. Called by: dict/, py/lock*.c, py/rlock.c, py/guard.h,
 * py/dict_entry.c.
 *
 * The word is {unused:6 | waiters:1 | held:1 | owner:24}; 0 is free. The owner is a process, never a thread: any thread
 * of any process may release.
 * - A killed owner is noticed by whoever waits or tries: the lock is handed to him with FMP_OWNER_DIED.
 * - An owner that left in order leaves the lock held, as another process may release it.
 * - A sleeper sets `waiters` before he sleeps. The release clears the word and wakes one; who was woken takes the lock
 * with `waiters` set, as he cannot know who else sleeps, and who leaves instead sets it on the present holder's word: a
 * wake-up is never swallowed by the living. One swallowed by a killed process is made good by the next look, which the
 * kernel calls for when he dies (sync/death.h); where it does not, FMP_RECHECK_NS later at most.
 *
 *   order  what                                       pairs with
 *   L1     take: CAS 0 -> held|me, acquire            L2: sees what the last owner wrote
 *   L2     release: exchange 0, release               L1, L3
 *   L3     rob: CAS held|dead -> held|me, acquire     the dead's own stores, ordered by the kernel's word that it has
 * ended
 */
#ifndef FMP_SYNC_LOCK_H
#define FMP_SYNC_LOCK_H

#include "base/fault.h"
#include "shm/participants.h"
#include "sync/eventcount.h"

#define FMP_LOCK_HELD (1u << FMP_ID_BITS)
#define FMP_LOCK_WAITERS (FMP_LOCK_HELD << 1)

struct fmp_lock_shm {
    _Atomic uint32_t word;
};

/* One thread's way to the lock, in private memory. Zeroed but for `shm` and `region` is a fine start. */
struct fmp_lock_waiter {
    struct fmp_lock_shm *shm;
    struct fmp_region *region;
    struct fmp_spin spin;
    uint32_t bits;     /* FMP_LOCK_WAITERS once this waiter has slept */
    uint32_t dead;     /* after FMP_OWNER_DIED: who */
    uint64_t asked_ns; /* when the kernel was last asked about an owner; keep it from one acquisition to the next */
    uint64_t slice_ns; /* the length of the last sleep */
    bool has_looked;   /* it was slept through, or over at a death */
};

/* Takes the lock if it is free. */
FMP_INLINE bool
fmp_lock_try(struct fmp_lock_shm *lock, uint32_t me)
{
    uint32_t word = 0;
    bool taken = fmp_cas_acquire(&lock->word, &word, FMP_LOCK_HELD | me); /* L1: pairs with L2 in fmp_lock_release */
    FMP_FAULT("lock:tried");
    return taken;
}

/*
 * One step towards the lock: tries, spins, sleeps at most once. With deadline 0 it only tries, and asks about the owner
 * at most once per ms. 0 taken; FMP_OWNER_DIED taken from the killed `w->dead`; -ETIMEDOUT; -EINTR look at your signals
 * and call again.
 */
int fmp_lock_acquire(struct fmp_lock_waiter *w, uint64_t deadline_ns);

/* A short spin for callers that hold something dear (the GIL): worth it only while another process is the owner. */
bool fmp_lock_spin(struct fmp_lock_waiter *w);

/* Wakes one sleeper; for fmp_lock_release. */
void fmp_lock_wake(struct fmp_lock_shm *lock);

/* 0, or -EPERM if the lock was free. */
FMP_INLINE int
fmp_lock_release(struct fmp_lock_shm *lock)
{
    uint32_t word = fmp_exchange_release(&lock->word, 0); /* L2: pairs with L1 and L3 */
    FMP_FAULT("lock:released");
    if (FMP_UNLIKELY((word & FMP_LOCK_WAITERS) != 0)) {
        fmp_lock_wake(lock);
    }
    return FMP_LIKELY((word & FMP_LOCK_HELD) != 0) ? 0 : -EPERM;
}

/* The identity that holds the lock, 0 if it is free. A look, outdated at once unless it is the caller's own. */
FMP_INLINE uint32_t
fmp_lock_owner(struct fmp_lock_shm *lock)
{
    return fmp_load_relaxed(&lock->word) &
           FMP_ID_MASK; /* relaxed: only the owner can rely on it, and he wrote it himself */
}

#endif

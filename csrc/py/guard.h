/*
 * The lock of a shared value, taken around each access. Called by: py/shared.h.
 *
 * A Lock or RLock of fastmp's own is taken here, without a Python call, and without an atomic operation if this thread
 * has the RLock already; any other object by its methods acquire() and release().
 */
#ifndef FMP_PY_GUARD_H
#define FMP_PY_GUARD_H

#include "py/lock.h"

struct fmp_guard {
    PyObject *lock;
    struct fmp_py_lock *native; /* the same object if it is exactly a Lock or an RLock, else NULL */
};

/* Keeps a reference to `lock`. */
void fmp_guard_init(struct fmp_guard *g, PyObject *lock);
void fmp_guard_clear(struct fmp_guard *g);

/* For fmp_guard_enter: the lock is not free, or not ours, or there is none. */
int fmp_guard_enter_slow(struct fmp_guard *g);
/* For fmp_guard_leave: calls release(). */
int fmp_guard_leave_foreign(struct fmp_guard *g);

/* Does this thread have the RLock already? */
FMP_INLINE bool
fmp_guard_has(struct fmp_py_lock *lock)
{
    return lock->recursive && fmp_py_lock_is_mine(lock);
}

/* Takes an RLock that this thread has once more. */
FMP_INLINE bool
fmp_guard_enter_again(struct fmp_py_lock *lock)
{
    if (!fmp_guard_has(lock)) {
        return false;
    }
    lock->count++;
    return true;
}

/* Takes the lock, waiting as long as it takes. 0, or -1 with an exception set (what acquire() raised, or RuntimeError:
 * no lock). */
FMP_INLINE int
fmp_guard_enter(struct fmp_guard *g)
{
    struct fmp_py_lock *lock = g->native;
    if (FMP_LIKELY(lock != NULL)) {
        if (fmp_guard_enter_again(lock)) {
            return 0;
        }
        uint32_t me = fmp_space_me(lock->base.handle.space);
        if (FMP_LIKELY(me != 0 && fmp_lock_try(lock->shm, me))) {
            fmp_py_lock_taken(lock);
            return 0;
        }
    }
    return fmp_guard_enter_slow(g);
}

/* Gives back what fmp_guard_enter has taken; an exception that is set stays set. 0, or -1 with what release() raised.
 */
FMP_INLINE int
fmp_guard_leave(struct fmp_guard *g)
{
    struct fmp_py_lock *lock = g->native;
    if (FMP_UNLIKELY(lock == NULL)) {
        return fmp_guard_leave_foreign(g);
    }
    if (!lock->recursive || --lock->count == 0) {
        lock->thread = 0; /* before the word is free, as its next owner may be a thread of ours */
        (void)fmp_lock_release(
            lock->shm); /* a Lock may have been released by somebody else: the access has been made */
    }
    return 0;
}

/*
 * For an access that runs no Python code and keeps the GIL: no thread of this process can look meanwhile, so what is
 * private to the process need not be written.
 */

/* Takes the lock; false if it is not free: enter. fmp_lock_release gives *shm back, as in fmp_guard_leave. */
FMP_INLINE bool
fmp_guard_try(struct fmp_py_lock *lock, struct fmp_lock_shm **shm)
{
    *shm = lock->shm;
    uint32_t me = fmp_space_me(lock->base.handle.space);
    return FMP_LIKELY(me != 0 && fmp_lock_try(*shm, me));
}

#endif

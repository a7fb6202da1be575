/*
 * The condition's lock: one of ours without Python calls, or whatever looks like a lock of the standard library.
 * Called by: condition.c.
 */
#ifndef FMP_PY_CONDITION_LOCK_H
#define FMP_PY_CONDITION_LOCK_H

#include "py/lock.h"

/* Is it exactly a Lock or an RLock? A subclass may have methods of its own, which are then called. */
FMP_INLINE bool
fmp_py_is_plain_lock(PyObject *lock)
{
    return Py_IS_TYPE(lock, fmp_py_rlock_type) || Py_IS_TYPE(lock, fmp_py_lock_type);
}

/* Has it got what a condition needs? -1 with AttributeError set. */
int fmp_py_condition_lock_check(PyObject *lock);
/* Does this thread hold it? 1, 0, or -1 with an exception set. */
int fmp_py_condition_lock_is_mine(PyObject *lock);
/* Lets go of it as often as it is held: *count. -1 with an exception set. */
int fmp_py_condition_lock_release(PyObject *lock, size_t *count);
/* Takes it as often again, as fmp_py_lock_retake: 0, an earlier exception still set; -1 with an exception and without
 * the lock. */
int fmp_py_condition_lock_retake(PyObject *lock, size_t count);

#endif

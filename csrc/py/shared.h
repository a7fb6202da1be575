/*
 * `_core.Shared`: what a synchronized value and a synchronized array have in common: the ctypes object, its lock, and
 * the way to its bytes. Called by: py/value.c, py/array.c, py/field.c.
 *
 * - `data` and `ctype` are set together, or both are NULL: then every access goes through the ctypes object
 * (structures, pointers, objects that do not lie in a ValueBlock). Where they are set, [data, data + length *
 * ctype->bytes) lies in the block that `block` keeps alive.
 * - An object that was made without __init__ has no lock; fmp_shared_enter refuses it.
 */
#ifndef FMP_PY_SHARED_H
#define FMP_PY_SHARED_H

#include "py/ctype.h"
#include "py/guard.h"

struct fmp_shared {
    PyObject_HEAD
    struct fmp_guard guard;
    PyObject *obj;
    PyObject *block;
    char *base; /* of the block, whatever lies there; NULL without one */
    Py_ssize_t bytes;
    char *data;
    const struct fmp_ctype *ctype;
    Py_ssize_t length;  /* of an array; 1 for a value; 0 without `ctype` */
    PyObject *get_lock; /* py/value.c's: what `.get_lock` is, once it was asked for */
    uint8_t direct;     /* py/value.c's: whether its attributes need no look-up */
};

/* The base type, once registered; borrowed. */
extern PyTypeObject *fmp_shared_type;

FMP_INLINE struct fmp_shared *
fmp_shared_of(PyObject *self)
{
    return (struct fmp_shared *)self;
}

/* One load under a lock that is free or ours: false, and nothing done, if it is not. */
FMP_INLINE bool
fmp_shared_get_briefly(struct fmp_shared *s, const struct fmp_ctype *ctype, const char *at, PyObject **result)
{
    struct fmp_py_lock *lock = s->guard.native;
    if (FMP_UNLIKELY(lock == NULL)) {
        return false;
    }
    if (fmp_guard_has(lock)) {
        *result = ctype->get(at);
        return true;
    }
    struct fmp_lock_shm *shm;
    if (FMP_UNLIKELY(!fmp_guard_try(lock, &shm))) {
        return false;
    }
    *result = ctype->get_and_release(at, shm);
    return true;
}

/* One store, likewise: false also if the C type cannot take the value for certain. */
FMP_INLINE bool
fmp_shared_set_briefly(struct fmp_shared *s, const struct fmp_ctype *ctype, char *at, PyObject *value)
{
    struct fmp_py_lock *lock = s->guard.native;
    if (FMP_UNLIKELY(lock == NULL)) {
        return false;
    }
    if (fmp_guard_has(lock)) {
        return ctype->set(at, value);
    }
    struct fmp_lock_shm *shm;
    if (FMP_UNLIKELY(!fmp_guard_try(lock, &shm))) {
        return false;
    }
    bool stored = ctype->set(at, value);
    (void)fmp_lock_release(shm); /* as in fmp_guard_leave */
    return FMP_LIKELY(stored);
}

/* Takes the lock around any other access: 0, or -1 with an exception set. */
FMP_INLINE int
fmp_shared_enter(struct fmp_shared *s)
{
    return fmp_guard_enter(&s->guard);
}

/* Gives the lock back. `result` as it is, or NULL (and `result` dropped) if an exception is or was set. */
FMP_INLINE PyObject *
fmp_shared_leave(struct fmp_shared *s, PyObject *result)
{
    if (FMP_UNLIKELY(fmp_guard_leave(&s->guard) < 0)) {
        Py_CLEAR(result);
    }
    return result;
}

/* The same for what returns 0 or -1. */
FMP_INLINE int
fmp_shared_leave_int(struct fmp_shared *s, int rc)
{
    return FMP_UNLIKELY(fmp_guard_leave(&s->guard) < 0) ? -1 : rc;
}

#endif

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
    Py_ssize_t length;  /* of an array; 1 for a value */
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

/* Takes the lock around an access: 0, or -1 with an exception set. */
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

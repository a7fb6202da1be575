/*
 * The simple C types behind typecodes: bytes in shared memory to Python objects and back. Called by: py/value.c,
 * py/array.c, py/field.c, py/shared.c, py/atomic.c.
 *
 * Only what cannot fail is done here. `set` takes an object whose meaning is certain (an int for an integer, a float
 * for a double, ...) and refuses any other without an exception; the caller then gives it to the ctypes object on the
 * same bytes, whose conversions and errors are the standard ones. No Python code runs in either function, so both may
 * be called with a lock held.
 */
#ifndef FMP_PY_CTYPE_H
#define FMP_PY_CTYPE_H

#include <Python.h>

#include "sync/lock.h"

struct fmp_ctype {
    char code;     /* ctypes' _type_ */
    bool integer;  /* takes part in atomic operations */
    bool text;     /* slices of it are bytes or str, not lists */
    uint8_t bytes; /* also its alignment */
    PyObject *(*get)(const void *at);
    PyObject *(*get_and_release)(const void *at, struct fmp_lock_shm *lock); /* the object is made without the lock */
    bool (*set)(void *at, PyObject *value); /* false: refused, nothing stored, no exception */
};

/* The type with ctypes' code `code`; NULL if it is none of those that have a fast way. */
const struct fmp_ctype *fmp_ctype_find(Py_UCS4 code);

#endif

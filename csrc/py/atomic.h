/*
 * Atomic operations on an integer value, without its lock: exact among each other in any number of processes. Called
 * by: py/value.c (methods of SharedValue).
 *
 * A locked `value += 1` of another process may fall between; who mixes both must know. Arguments wrap as ctypes'
 * integers do.
 */
#ifndef FMP_PY_ATOMIC_H
#define FMP_PY_ATOMIC_H

#include <Python.h>

#define FMP_ATOMIC_FETCH_ADD_DOC                                                                                       \
    "fetch_add($self, n, /)\n--\n\nAdd n in one indivisible step, without the lock; the value before it. It wraps as " \
    "the C type does."
#define FMP_ATOMIC_EXCHANGE_DOC \
    "exchange($self, x, /)\n--\n\nStore x in one indivisible step, without the lock; the value before it."
#define FMP_ATOMIC_COMPARE_EXCHANGE_DOC                                                                                \
    "compare_exchange($self, expected, desired, /)\n--\n\nStore desired if the value is expected, in one indivisible " \
    "step, without the lock. True if it was stored."

PyObject *fmp_atomic_fetch_add(PyObject *self, PyObject *n);
PyObject *fmp_atomic_exchange(PyObject *self, PyObject *x);
PyObject *fmp_atomic_compare_exchange(PyObject *self, PyObject *const *args, Py_ssize_t nargs);

#endif

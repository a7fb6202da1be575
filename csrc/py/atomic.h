/*
 * Atomic operations on an integer, a bool or a pointer in shared memory, without a lock: exact among each other in any
 * number of processes. Called by: py/value.c (methods of SharedValue), py/atomic_handle.c (methods of Atomic).
 *
 * A locked `value += 1` of another process may fall between; who mixes both must know. Arguments wrap as ctypes'
 * integers do.
 */
#ifndef FMP_PY_ATOMIC_H
#define FMP_PY_ATOMIC_H

#include "py/ctype.h"

/* A word of the user's, in shared memory; a bool is `ctype` '?', a pointer an unsigned integer. */
struct fmp_word {
    char *at;
    const struct fmp_ctype *ctype;
};

/* The word that an object has; -1 with an exception set if it has none. Each type's own, behind its methods. */
int fmp_shared_word(PyObject *self, struct fmp_word *word);
int fmp_atomic_handle_word(PyObject *self, struct fmp_word *word);

/* Can there be atomic operations on a type? */
FMP_INLINE bool
fmp_ctype_is_atomic(const struct fmp_ctype *ctype)
{
    return ctype->integer || ctype->code == '?';
}

typedef int (*fmp_word_fn)(PyObject *self, struct fmp_word *word);

/* The operations, as METH_FASTCALL | METH_KEYWORDS functions of an object whose word `word_of` finds. */
#define FMP_ATOMIC_OPERATIONS(X) \
    X(fetch_add)                 \
    X(fetch_sub)                 \
    X(fetch_or)                  \
    X(fetch_and)                 \
    X(fetch_xor)                 \
    X(exchange)                  \
    X(compare_exchange)          \
    X(load)                      \
    X(store)                     \
    X(wait)                      \
    X(notify)

#define FMP_ATOMIC_DECLARE(name)                                                                              \
    PyObject *fmp_atomic_##name(fmp_word_fn word_of, PyObject *self, PyObject *const *args, Py_ssize_t nargs, \
                                PyObject *kwnames);                                                           \
    extern const char fmp_atomic_##name##_doc[];
FMP_ATOMIC_OPERATIONS(FMP_ATOMIC_DECLARE)
#undef FMP_ATOMIC_DECLARE

/* For a type's file, with FMP_ATOMIC_WORD defined as its word function: the methods, and their entries in the table. */
#define FMP_ATOMIC_METHOD(name)                                                                            \
    static PyObject *word_##name(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) \
    {                                                                                                      \
        return fmp_atomic_##name(FMP_ATOMIC_WORD, self, args, nargs, names);                               \
    }
#define FMP_ATOMIC_ENTRY(name) \
    {#name, (PyCFunction)(void (*)(void))word_##name, METH_FASTCALL | METH_KEYWORDS, fmp_atomic_##name##_doc},

#endif

/*
 * What the synchronization types have in common: the base type SemLock, arguments, and the cold half in Python.
 * Called by: lock.c, rlock.c, semaphore.c, condition.c, event.c, barrier.c.
 *
 * The public classes are the C types themselves, not subclasses of them: the interpreter calls a method without an
 * argument tuple or a bound method only if the object's exact type is the one that defines it (12 ns per call).
 * What is not called per operation (repr, pickling) is Python, in fastmp/synchronize.py.
 */
#ifndef FMP_PY_SEMLOCK_H
#define FMP_PY_SEMLOCK_H

#include <pthread.h>

#include "py/args.h"
#include "py/bound.h"
#include "py/types.h"
#include "pyrt/travel.h"
#include "pyrt/wait.h"

/* The head of Lock, RLock, Semaphore: an object on a shared block, which weak references can watch. */
struct fmp_py_semlock {
    PyObject_HEAD
    struct fmp_handle handle;
    PyObject *weakrefs;
    struct fmp_py_bound bound;
};
extern PyTypeObject *fmp_py_semlock_type; /* borrowed from the module */

/* tp_new of an object that begins with struct fmp_py_semlock: makes its zeroed block of `bytes`; with the keyword
 * `_travel`, a travel record, it is another handle on the block of an object that exists. NULL with an exception. */
PyObject *fmp_py_semlock_new(PyTypeObject *type, PyObject *kwargs, uint64_t bytes);
void fmp_py_semlock_dealloc(PyObject *self);

/* Class attributes for who looks at the standard library's inner object: `kind`, and of a lock `maxvalue` too. -1 with
 * an exception set. */
enum { FMP_PY_RECURSIVE_MUTEX = 0, FMP_PY_SEMAPHORE = 1 };
int fmp_py_semlock_kind(PyTypeObject *type, int kind);
int fmp_py_semlock_maxvalue_1(PyTypeObject *type);

/* This thread, among the threads of its process that live now; never 0. */
FMP_INLINE uintptr_t
fmp_py_thread(void)
{
#if defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer)
    return (uintptr_t)__builtin_thread_pointer();
#endif
#endif
    return (uintptr_t)pthread_self();
}

/* This process's identity, joining anew if a fork has lost it; 0 with an exception set. */
FMP_INLINE uint32_t
fmp_py_me(const struct fmp_handle *handle)
{
    uint32_t me = fmp_space_me(handle->space);
    return FMP_LIKELY(me != 0) ? me : fmp_space_use(handle->space);
}

/* The truth of a `block` (NULL counts as True), which is an int up to Python 3.11 and any object later. -1 with an
 * exception set. */
int fmp_py_block_arg(PyObject *block);
/* acquire(block=True, timeout=None) to a deadline: 0 if it must not wait. -1 with an exception set. */
int fmp_py_acquire_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, uint64_t *deadline_ns);
/* The one argument of wait(timeout=None) as an object, or NULL if it was not given. -1 with an exception set. */
int fmp_py_timeout_arg(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                       PyObject **timeout);
/* __init__(*, ctx): the context is asked for as in the standard library. -1 with an exception set. */
int fmp_py_only_ctx(const char *type, PyObject *args, PyObject *kwargs);

/* fastmp.synchronize.<name>(self): the cold half. */
PyObject *fmp_py_cold(const char *name, PyObject *self);
PyObject *fmp_py_cold_repr(PyObject *self);
PyObject *fmp_py_cold_reduce(PyObject *self, PyObject *unused);
PyObject *fmp_py_semlock_travel(PyObject *self, PyObject *unused);
#define FMP_PY_REDUCE                                                                                  \
    {"__reduce__", fmp_py_cold_reduce, METH_NOARGS,                                                    \
     "Pickles the object's place: what is unpickled is the same object."},                             \
    {                                                                                                  \
        "_travel", fmp_py_semlock_travel, METH_NOARGS, "A travel record: what a pickle says about it." \
    }

#endif

/*
 * `__enter__` and `__exit__` of locks, as `with` asks for them. Called by: semlock.c, lock.c, rlock.c, semaphore.c,
 * condition.c.
 *
 * `with lock:` has both bound to the lock before it calls them (up to Python 3.13), which costs more than twenty times
 * what taking the lock does. So each object keeps the two bound methods that it was first asked for; they are the
 * interpreter's own builtin methods.
 *
 * - A kept method does not own its object, as the object owns it. An object that goes while somebody else has one of
 *   its methods gives the method a reference to itself, and so lives on as long as it.
 * - The garbage collector does not see who owns an object by a kept method. So an object that it tracks keeps none.
 * - Subclasses have theirs made anew each time.
 */
#ifndef FMP_PY_BOUND_H
#define FMP_PY_BOUND_H

#include <Python.h>

#include <stdbool.h>

struct fmp_py_bound {
    PyObject *enter, *exit; /* NULL: not asked for yet */
    bool is_off;            /* none are kept */
};

/* Lets objects of exactly `type`, which begin with struct fmp_py_semlock, keep the methods. -1 with an exception set.
 */
int fmp_py_bound_register(PyTypeObject *type);
/* The methods are no longer kept: whoever has one owns `op` by it. */
void fmp_py_bound_forget(PyObject *op, struct fmp_py_bound *bound);
/* The first step of a tp_dealloc. True if there is nothing left to do: `op` lives on, or has been freed. */
bool fmp_py_bound_dealloc(PyObject *op, struct fmp_py_bound *bound);

#endif

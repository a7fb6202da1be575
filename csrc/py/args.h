/* Arguments of METH_FASTCALL | METH_KEYWORDS methods. Called by: every type in py/. */
#ifndef FMP_PY_ARGS_H
#define FMP_PY_ARGS_H

#include <Python.h>

int fmp_py_args_slow(const char *function, const char *const *names, int count, int required, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames, PyObject **out);

/*
 * A method that takes no arguments as METH_FASTCALL: the interpreter calls that one without a detour also where it was
 * bound before, as in `release = lock.release`. 0, or -1 with TypeError set.
 */
static inline int
fmp_py_no_args(const char *function, Py_ssize_t nargs)
{
    return nargs == 0 ? 0 : fmp_py_args_slow(function, NULL, 0, 0, NULL, nargs, NULL, NULL);
}

/*
 * Sorts arguments into out[0..count), by position and by the keyword `names`; those not given are NULL. The first
 * `required` must be given. 0, or -1 with TypeError set, worded as Python words it.
 */
static inline int
fmp_py_args(const char *function, const char *const *names, int count, int required, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames, PyObject **out)
{
    if (kwnames != NULL || nargs < required || nargs > count) {
        return fmp_py_args_slow(function, names, count, required, args, nargs, kwnames, out);
    }
    for (int i = 0; i < count; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    return 0;
}

#endif

/*
 * The types and functions of `fastmp._core`: each unit in py/ (and pool/) registers its own. Called by: module.c.
 * Each function adds its types to the module: 0, or -1 with an exception set.
 */
#ifndef FMP_PY_TYPES_H
#define FMP_PY_TYPES_H

#include "pyrt/runtime.h"

/* X(unit) for each unit, in the order of registration. */
#define FMP_PY_UNITS(X) \
    X(process)          \
    X(child)            \
    X(child_watch)      \
    X(newcomer)         \
    X(queue)            \
    X(block)            \
    X(codec)            \
    X(connection)       \
    X(connection_call)  \
    X(job)              \
    X(future)           \
    X(crew)             \
    X(dormant)          \
    X(semlock)          \
    X(lock)             \
    X(rlock)            \
    X(semaphore)        \
    X(condition)        \
    X(event)            \
    X(barrier)          \
    X(valueblock)       \
    X(shared)           \
    X(value)            \
    X(field)            \
    X(atomic_handle)    \
    X(array)            \
    X(native)           \
    X(dict)             \
    X(stats)            \
    X(fault)

#define FMP_PY_DECLARE(unit) int fmp_py_register_##unit(PyObject *module);
FMP_PY_UNITS(FMP_PY_DECLARE)
#undef FMP_PY_DECLARE

/* Creates a heap type from `spec`, sets its __module__ name as in the spec, and adds it to the module. A borrowed
 * reference, or NULL. */
PyTypeObject *fmp_py_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases);
/* What a Python module has under this name, looked up at the first call, as `import fastmp` must stay cheap, and kept
 * in *kept for ever, as there is one interpreter. A borrowed reference, or NULL with an exception set. */
PyObject *fmp_py_lookup(PyObject **kept, const char *module, const char *name);

#endif

/* The lock of a shared value; see guard.h. */
#include "py/guard.h"

#include "pyrt/wait.h"

void
fmp_guard_init(struct fmp_guard *g, PyObject *lock)
{
    g->lock = Py_NewRef(lock);
    bool native = Py_IS_TYPE(lock, fmp_py_rlock_type) || Py_IS_TYPE(lock, fmp_py_lock_type);
    g->native = native ? fmp_py_as_lock(lock) : NULL;
}

void
fmp_guard_clear(struct fmp_guard *g)
{
    g->native = NULL;
    Py_CLEAR(g->lock);
}

/* Calls a method without arguments; 0 or -1. */
static int
call(PyObject *lock, const char *method)
{
    PyObject *result = PyObject_CallMethod(lock, method, NULL);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int
fmp_guard_enter_slow(struct fmp_guard *g)
{
    if (g->native != NULL) {
        return fmp_py_lock_wait(g->native, FMP_NEVER) == FMP_PY_READY ? 0 : -1;
    }
    if (g->lock == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the shared object's __init__() has not been called");
        return -1;
    }
    return call(g->lock, "acquire");
}

int
fmp_guard_leave_foreign(struct fmp_guard *g)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int rc = call(g->lock, "release");
    if (type == NULL) {
        return rc;
    }
    if (rc < 0) {
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback); /* the access's own error is the one to tell */
    return 0;
}

/* The calls of a chunk; see chunk.h. */
#include "pool/chunk.h"

/* So many arguments go from the message to the call on the stack. */
#define ARGS_MAX 8

PyObject *
fmp_call_star(PyObject *f, PyObject *item)
{
    PyObject *args = PySequence_Tuple(item);
    PyObject *result = args != NULL ? PyObject_Call(f, args, NULL) : NULL;
    Py_XDECREF(args);
    return result;
}

PyObject *
fmp_call_all(PyObject *f, PyObject *items, bool star)
{
    PyObject *list = PySequence_Fast(items, "a chunk is a list");
    PyObject *results = list != NULL ? PyList_New(PySequence_Fast_GET_SIZE(list)) : NULL;
    for (Py_ssize_t i = 0; results != NULL && i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(list, i);
        PyObject *result = star ? fmp_call_star(f, item) : PyObject_CallOneArg(f, item);
        if (result == NULL) {
            Py_CLEAR(results);
        } else {
            PyList_SET_ITEM(results, i, result);
        }
    }
    Py_XDECREF(list);
    return results;
}

static PyObject *
call_next(PyObject *f, struct fmp_items *items, bool star)
{
    PyObject *item = fmp_items_next(items);
    PyObject *result = item == NULL ? NULL : star ? fmp_call_star(f, item) : PyObject_CallOneArg(f, item);
    Py_XDECREF(item);
    return result;
}

static PyObject *
call_next_star(PyObject *f, struct fmp_items *items)
{
    PyObject *args[1 + ARGS_MAX]; /* the first is the callee's to use */
    Py_ssize_t n = fmp_items_next_short(items, args + 1, ARGS_MAX);
    if (n < 0) {
        return n == -1 ? NULL : call_next(f, items, true);
    }
    PyObject *result = PyObject_Vectorcall(f, args + 1, (size_t)n | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    while (n > 0) {
        Py_DECREF(args[n--]);
    }
    return result;
}

PyObject *
fmp_call_each(PyObject *f, struct fmp_items *items, bool star)
{
    Py_ssize_t n = (Py_ssize_t)items->left;
    PyObject *results = PyList_New(n);
    for (Py_ssize_t i = 0; results != NULL && i < n; i++) {
        PyObject *result = star ? call_next_star(f, items) : call_next(f, items, false);
        if (FMP_UNLIKELY(result == NULL)) {
            Py_CLEAR(results);
        } else {
            PyList_SET_ITEM(results, i, result);
        }
    }
    return results;
}

/* Arguments of METH_FASTCALL | METH_KEYWORDS methods; see args.h. */
#include "py/args.h"

static int
index_of(const char *const *names, int count, PyObject *keyword)
{
    for (int i = 0; i < count; i++) {
        if (PyUnicode_CompareWithASCIIString(keyword, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int
take_keywords(const char *function, const char *const *names, int count, PyObject *const *values, PyObject *kwnames,
              PyObject **out)
{
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); k++) {
        PyObject *keyword = PyTuple_GET_ITEM(kwnames, k);
        int i = index_of(names, count, keyword);
        if (i < 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, keyword);
            return -1;
        }
        if (out[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, keyword);
            return -1;
        }
        out[i] = values[k];
    }
    return 0;
}

int
fmp_py_args_slow(const char *function, const char *const *names, int count, int required, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames, PyObject **out)
{
    if (nargs > count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments (%zd given)", function, count, nargs);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    if (kwnames != NULL && take_keywords(function, names, count, args + nargs, kwnames, out) < 0) {
        return -1;
    }
    for (int i = 0; i < required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s' (pos %d)", function, names[i], i + 1);
            return -1;
        }
    }
    return 0;
}

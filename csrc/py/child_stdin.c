/*
 * A forked child's sys.stdin, made before the fork on no file; it gets its descriptor in the child. Called by: child.c;
 * fastmp/_child.py.
 */
#include <fcntl.h>

#include "py/child.h"

/* A text stream on no file, and the raw file under it: a forked child's sys.stdin to be. */
static struct {
    PyObject *stream, *file;
} spare;

/* open(fd, closefd=False) for the file under the spare stream. */
static int
open_again(int fd)
{
    PyObject *args = fd >= 0 ? Py_BuildValue("(is)", fd, "r") : NULL;
    PyObject *options = args != NULL ? Py_BuildValue("{sO}", "closefd", Py_False) : NULL;
    int rc = options != NULL ? Py_TYPE(spare.file)->tp_init(spare.file, args, options) : -1;
    Py_XDECREF(args);
    Py_XDECREF(options);
    return rc;
}

int
fmp_child_close_stdin(void)
{
    PyObject *stdin_now = FMP_STD(sys, stdin);
    if (spare.stream == NULL || stdin_now == NULL) {
        return fmp_std_call(fmp_std.util, FMP_NAME(_close_stdin));
    }
    if (stdin_now == Py_None) {
        return 0;
    }
    int rc = fmp_child_drop(PyObject_CallMethodNoArgs(stdin_now, FMP_NAME(close)));
    if (rc < 0 && (PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_ValueError))) {
        PyErr_Clear();
        rc = 0;
    }
    int fd = rc == 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return rc; /* then it stays closed, as in util._close_stdin */
    }
    rc = open_again(fd) == 0 ? PyDict_SetItem(fmp_std.sys, FMP_NAME(stdin), spare.stream) : -1;
    spare.stream = NULL; /* its reference is kept */
    return rc;
}

/* ---- the functions ---- */

const char fmp_child_keep_stdin_doc[] =
    "keep_stdin(stream, file)\n--\n\n"
    "Keeps a text stream and the raw file under it, whose descriptor is closed: the next child\n"
    "made by run_child opens /dev/null in it.";
PyObject *
fmp_child_keep_stdin(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *stream, *file;
    if (!PyArg_ParseTuple(args, "OO", &stream, &file)) {
        return NULL;
    }
    spare.stream = Py_NewRef(stream);
    spare.file = Py_NewRef(file);
    Py_RETURN_NONE;
}

const char fmp_child_has_stdin_doc[] =
    "has_stdin()\n--\n\nWhether keep_stdin has been called for this process's next child.";
PyObject *
fmp_child_has_stdin(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(spare.stream != NULL);
}

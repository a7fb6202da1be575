/*
 * A forked child's sys.stdin, made before the fork: a stream on no file, which gets a descriptor of /dev/null then, or
 * in the child. Called by: child.c; fastmp/_child.py.
 */
#include <fcntl.h>
#include <unistd.h>

#include "py/child.h"

/* A text stream, the raw file under it, and the descriptor that it was last opened on: a forked child's sys.stdin to
 * be. The descriptor is open only while it is lent to a child. */
static struct {
    PyObject *stream, *file;
    int fd;
    bool is_lent;
    bool is_opening; /* a thread is in open_again, and may have given up the GIL there */
} spare = {.fd = -1};

/* sys.stdin as it was before the fork, and the raw file under it, or NULL. */
static struct {
    PyObject *stream, *file;
} old;

/* open(fd, closefd=False) for the file under the spare stream. Gives up the GIL. */
static int
open_again(int fd)
{
    spare.fd = -1;
    spare.is_opening = true;
    PyObject *args = Py_BuildValue("(is)", fd, "r");
    PyObject *options = args != NULL ? Py_BuildValue("{sO}", "closefd", Py_False) : NULL;
    int rc = options != NULL ? Py_TYPE(spare.file)->tp_init(spare.file, args, options) : -1;
    Py_XDECREF(args);
    Py_XDECREF(options);
    spare.is_opening = false;
    spare.fd = rc == 0 ? fd : -1;
    return rc;
}

static int
open_null(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Opens /dev/null for the spare stream. 0, also if that cannot be, or -1 with an exception set. */
static int
lend_anywhere(void)
{
    int fd = open_null();
    if (fd < 0) {
        return 0;
    }
    int rc = fd == spare.fd ? 0 : open_again(fd);
    spare.is_lent = rc == 0;
    if (!spare.is_lent) {
        close(fd);
    }
    return rc;
}

/* Before the fork, where Python holds locks from 3.13 on, and the GIL must not be given up: only if /dev/null is opened
 * on the same descriptor as before. Otherwise it is the child's to do. */
static void
lend_again(void)
{
    int fd = open_null();
    spare.is_lent = fd >= 0 && fd == spare.fd;
    if (fd >= 0 && !spare.is_lent) {
        close(fd);
    }
}

/* Is this of just that type of the module _io, with the type's methods? */
static bool
is_plain(PyObject *stream, PyObject **type, const char *name)
{
    if (stream == NULL || fmp_py_lookup(type, "_io", name) == NULL || (PyObject *)Py_TYPE(stream) != *type) {
        return false;
    }
    PyObject *own = PyObject_GenericGetDict(stream, NULL);
    bool is = own != NULL && PyDict_GetItemWithError(own, FMP_NAME(close)) == NULL &&
              PyDict_GetItemWithError(own, FMP_NAME(flush)) == NULL;
    Py_XDECREF(own);
    return is;
}

/* To close a text stream for reading, of Python's own types, is to close the file under it: nothing is to be flushed,
 * and the others are closed when that is. A new reference; NULL for any other stream. */
static PyObject *
find_file(PyObject *stream)
{
    static PyObject *text, *reader, *raw; /* types */
    PyObject *buffer = is_plain(stream, &text, "TextIOWrapper") ? PyObject_GetAttr(stream, FMP_NAME(buffer)) : NULL;
    PyObject *file = is_plain(buffer, &reader, "BufferedReader") ? PyObject_GetAttr(buffer, FMP_NAME(raw)) : NULL;
    Py_XDECREF(buffer);
    if (!is_plain(file, &raw, "FileIO")) {
        Py_CLEAR(file);
    }
    return file;
}

/* sys.stdin, if a child is to have another one; else NULL. Borrowed. */
static PyObject *
stream_to_replace(void)
{
    PyObject *stream = spare.stream != NULL ? FMP_STD(sys, stdin) : NULL;
    return stream != Py_None ? stream : NULL;
}

void
fmp_child_prepare_stdin(void)
{
    PyObject *stream = stream_to_replace();
    if (stream == NULL || spare.is_opening) {
        return;
    }
    PyObject *file = find_file(stream); /* and so the types are known */
    Py_XDECREF(file);
    (void)lend_anywhere();
    PyErr_Clear(); /* it will be met again in the child */
    fmp_child_take_stdin_back();
}

void
fmp_child_lend_stdin(void)
{
    old.stream = stream_to_replace();
    if (old.stream != NULL && !spare.is_opening) {
        old.file = find_file(old.stream);
        PyErr_Clear();
        lend_again();
    }
}

void
fmp_child_take_stdin_back(void)
{
    if (spare.is_lent) {
        close(spare.fd);
        spare.is_lent = false;
    }
    Py_CLEAR(old.file);
}

static int
close_old(PyObject *stream)
{
    PyObject *closed = stream == old.stream && old.file != NULL ? old.file : stream;
    int rc = fmp_child_drop(PyObject_CallMethodNoArgs(closed, FMP_NAME(close)));
    if (rc < 0 && (PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_ValueError))) {
        PyErr_Clear();
        rc = 0;
    }
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
    if (close_old(stdin_now) < 0 || (!spare.is_lent && lend_anywhere() < 0)) {
        return -1;
    }
    if (!spare.is_lent) {
        return 0; /* then it stays closed, as in util._close_stdin */
    }
    int rc = PyDict_SetItem(fmp_std.sys, FMP_NAME(stdin), spare.stream);
    spare.stream = NULL; /* its reference is kept */
    spare.fd = -1;
    spare.is_lent = false;
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
    if (spare.stream == NULL) { /* another thread may have been faster */
        spare.stream = Py_NewRef(stream);
        spare.file = Py_NewRef(file);
        spare.fd = -1;
    }
    Py_RETURN_NONE;
}

const char fmp_child_has_stdin_doc[] =
    "has_stdin()\n--\n\nWhether keep_stdin has been called for this process's next child.";
PyObject *
fmp_child_has_stdin(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(spare.stream != NULL);
}

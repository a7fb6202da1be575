/*
 * A child of fork from its parent's side: the fork, and the descriptor that tells of its end. What the parent writes to
 * while the child lives is copied for one of them, so no frame of Python's is left to return from but the caller's.
 * Called by: fastmp/process.py, popen_fork.py.
 */
#include <unistd.h>

#include "py/child.h"
#include "pyrt/wait.h"
#include "sys/process.h"

/* ---- Closer ---- */

struct closer {
    PyObject_HEAD
    int fd; /* below 0: closed */
    unsigned made_in;
};

static PyTypeObject *closer_type;

/* A descriptor is closed by the process that has opened it. 0 or -1, as close(2). */
static int
close_once(struct closer *closer)
{
    int fd = closer->fd;
    closer->fd = -1;
    return fd >= 0 && closer->made_in == fmp_fork_generation ? close(fd) : 0;
}

static PyObject *
make_closer(int fd)
{
    struct closer *closer = PyObject_New(struct closer, closer_type);
    if (closer != NULL) {
        closer->fd = fd;
        closer->made_in = fmp_fork_generation;
    }
    return (PyObject *)closer;
}

static PyObject *
closer_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *Py_UNUSED(names))
{
    int fd;
    return PyArg_ParseTuple(args, "i", &fd) ? make_closer(fd) : NULL;
}

static PyObject *
closer_call(PyObject *self, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(names))
{
    if (close_once((struct closer *)self) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

/* With the words of the util.Finalize that the standard library has in its place: the first of it that does not pickle.
 */
static PyObject *
closer_reduce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    PyErr_SetString(PyExc_TypeError, "cannot pickle 'weakref.ReferenceType' object");
    return NULL;
}

static PyMethodDef closer_methods[] = {
    {"__reduce__", closer_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static void
closer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    (void)close_once((struct closer *)self);
    PyObject_Free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(closer_doc, "Closer(fd)\n--\n\n"
                         "Closes a descriptor of this process when it is called, or when it is freed.");

static PyType_Slot closer_slots[] = {
    {Py_tp_doc, (void *)closer_doc}, {Py_tp_new, closer_new},         {Py_tp_call, closer_call},
    {Py_tp_methods, closer_methods}, {Py_tp_dealloc, closer_dealloc}, {0, NULL},
};

static PyType_Spec closer_spec = {
    .name = "fastmp._core.Closer",
    .basicsize = sizeof(struct closer),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = closer_slots,
};

/* ---- the functions ---- */

static int
set_new_attribute(PyObject *object, PyObject *name, PyObject *value)
{
    int rc = value != NULL ? PyObject_SetAttr(object, name, value) : -1;
    Py_XDECREF(value);
    return rc;
}

/* As Popen._watch: that of Python where there is no descriptor. */
static int
watch(PyObject *popen, pid_t pid)
{
    if (set_new_attribute(popen, FMP_NAME(pid), PyLong_FromPid(pid)) < 0) {
        return -1;
    }
    int fd = sys_pidfd_open(pid);
    if (fd < 0) {
        return fmp_child_drop(PyObject_CallMethodNoArgs(popen, FMP_NAME(_watch)));
    }
    return set_new_attribute(popen, FMP_NAME(finalizer), make_closer(fd)) == 0
               ? set_new_attribute(popen, FMP_NAME(sentinel), PyLong_FromLong(fd))
               : -1;
}

/* The end of BaseProcess.start. */
static int
adopt(PyObject *process, PyObject *popen)
{
    if (PyObject_SetAttr(process, FMP_NAME(_popen), popen) < 0 ||
        set_new_attribute(process, FMP_NAME(_sentinel), PyObject_GetAttr(popen, FMP_NAME(sentinel))) < 0 ||
        PyObject_DelAttr(process, FMP_NAME(_target)) < 0 || PyObject_DelAttr(process, FMP_NAME(_args)) < 0 ||
        PyObject_DelAttr(process, FMP_NAME(_kwargs)) < 0) {
        return -1;
    }
    PyObject *children = FMP_STD(process, _children);
    return children != NULL ? PySet_Add(children, process) : -1;
}

const char fmp_child_start_child_doc[] =
    "start_child(process, popen, plain, sentinel, run)\n--\n\n"
    "Forks a child that is run by run_child(*plain), or, where that cannot be, by run(process, sentinel). In the\n"
    "parent: closes `sentinel`, and does what is left of BaseProcess.start.";
PyObject *
fmp_child_start_child(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *process, *popen, *plain, *run;
    int sentinel;
    if (!PyArg_ParseTuple(args, "OOO!iO", &process, &popen, &PyTuple_Type, &plain, &sentinel, &run)) {
        return NULL;
    }
    pid_t pid = fmp_child_fork(plain);
    if (pid == 0) {
        return PyObject_CallFunction(run, "Oi", process, sentinel);
    }
    close(sentinel);
    if (pid < 0 || watch(popen, pid) < 0 || adopt(process, popen) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

int
fmp_py_register_child_watch(PyObject *module)
{
    closer_type = fmp_py_add_type(module, &closer_spec, NULL);
    return closer_type != NULL ? 0 : -1;
}

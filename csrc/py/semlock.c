/* The base type of locks and semaphores, and what all synchronization types share; see semlock.h. */
#include "py/semlock.h"

#include <structmember.h> /* needs Python.h */

#include <limits.h>

PyTypeObject *fmp_py_semlock_type;

/* 0, or -1 with an exception set. */
static int
open_handle(struct fmp_handle *handle, PyObject *kwargs, uint64_t bytes)
{
    PyObject *record = kwargs != NULL ? PyDict_GetItemString(kwargs, "_travel") : NULL;
    return FMP_LIKELY(record == NULL) ? fmp_handle_new(handle, bytes, FMP_BLOCK_SYNC)
                                      : fmp_travel_unpack(handle, record, FMP_BLOCK_SYNC, bytes);
}

PyObject *
fmp_py_semlock_new(PyTypeObject *type, PyObject *kwargs, uint64_t bytes)
{
    struct fmp_py_semlock *self = (struct fmp_py_semlock *)type->tp_alloc(type, 0);
    if (self != NULL && open_handle(&self->handle, kwargs, bytes) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

PyObject *
fmp_py_semlock_travel(PyObject *self, PyObject *unused)
{
    (void)unused;
    return fmp_travel_pack(&((struct fmp_py_semlock *)self)->handle);
}

void
fmp_py_semlock_dealloc(PyObject *op)
{
    struct fmp_py_semlock *self = (struct fmp_py_semlock *)op;
    if (fmp_py_bound_dealloc(op, &self->bound)) {
        return;
    }
    PyTypeObject *type = Py_TYPE(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    fmp_handle_release(&self->handle);
    type->tp_free(op);
    Py_DECREF(type);
}

/* ---- arguments ---- */

int
fmp_py_block_arg(PyObject *block)
{
    if (block == NULL) {
        return 1;
    }
#if PY_VERSION_HEX < 0x030C0000
    if (!PyIndex_Check(block)) {
        PyErr_Format(PyExc_TypeError, "'%.200s' object cannot be interpreted as an integer", Py_TYPE(block)->tp_name);
        return -1;
    }
#endif
    return PyObject_IsTrue(block);
}

int
fmp_py_acquire_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, uint64_t *deadline_ns)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *given[2];
    if (fmp_py_args("acquire", names, 2, 0, args, nargs, kwnames, given) < 0 ||
        fmp_py_semaphore_deadline(given[1], deadline_ns) < 0) {
        return -1;
    }
    int block = fmp_py_block_arg(given[0]);
    if (block == 0) {
        *deadline_ns = 0;
    }
    return block < 0 ? -1 : 0;
}

int
fmp_py_timeout_arg(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **timeout)
{
    static const char *const names[] = {"timeout"};
    return fmp_py_args(function, names, 1, 0, args, nargs, kwnames, timeout);
}

int
fmp_py_only_ctx(const char *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0) {
        PyErr_Format(PyExc_TypeError, "%s.__init__() takes 1 positional argument but %zd were given", type,
                     PyTuple_GET_SIZE(args) + 1);
        return -1;
    }
    if (kwargs == NULL || PyDict_GetItemString(kwargs, "ctx") == NULL) {
        PyErr_Format(PyExc_TypeError, "%s.__init__() missing 1 required keyword-only argument: 'ctx'", type);
        return -1;
    }
    if (PyDict_GET_SIZE(kwargs) != 1) {
        PyErr_Format(PyExc_TypeError, "%s.__init__() got an unexpected keyword argument", type);
        return -1;
    }
    return 0;
}

/* ---- the cold half ---- */

PyObject *
fmp_py_cold(const char *name, PyObject *self)
{
    PyObject *module = PyImport_ImportModule("fastmp.synchronize");
    if (module == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethod(module, name, "O", self);
    Py_DECREF(module);
    return result;
}

PyObject *
fmp_py_cold_repr(PyObject *self)
{
    return fmp_py_cold("_repr", self);
}

PyObject *
fmp_py_cold_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    return fmp_py_cold("_reduce", self);
}

/* ---- the type ---- */

/* The standard library's locks keep their state in an inner object of this name; here they are it themselves. */
static PyObject *
get_semlock(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *
get_handle(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((struct fmp_py_semlock *)self)->handle.off);
}

/* It has no name in any file system. */
static PyObject *
get_name(PyObject *self, void *unused)
{
    (void)self, (void)unused;
    Py_RETURN_NONE;
}

static PyGetSetDef semlock_getset[] = {
    {"_semlock", get_semlock, NULL, "The object itself.", NULL},
    {"handle", get_handle, NULL, "Where it lies in the shared region.", NULL},
    {"name", get_name, NULL, "None: it has no name.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef semlock_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct fmp_py_semlock, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef semlock_methods[] = {
    FMP_PY_REDUCE,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot semlock_slots[] = {
    {Py_tp_doc, "What locks and semaphores have in common."},
    {Py_tp_dealloc, fmp_py_semlock_dealloc},
    {Py_tp_repr, fmp_py_cold_repr},
    {Py_tp_getset, semlock_getset},
    {Py_tp_members, semlock_members},
    {Py_tp_methods, semlock_methods},
    {0, NULL},
};

static PyType_Spec semlock_spec = {
    .name = "fastmp.synchronize.SemLock",
    .basicsize = sizeof(struct fmp_py_semlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = semlock_slots,
};

static int
set_int(PyTypeObject *type, const char *name, long value)
{
    PyObject *number = PyLong_FromLong(value);
    int rc = number != NULL ? PyObject_SetAttrString((PyObject *)type, name, number) : -1;
    Py_XDECREF(number);
    return rc;
}

int
fmp_py_semlock_kind(PyTypeObject *type, int kind)
{
    return set_int(type, "kind", kind);
}

int
fmp_py_semlock_maxvalue_1(PyTypeObject *type)
{
    return set_int(type, "maxvalue", 1);
}

int
fmp_py_register_semlock(PyObject *module)
{
    fmp_py_semlock_type = fmp_py_add_type(module, &semlock_spec, NULL);
    return fmp_py_semlock_type == NULL ? -1 : set_int(fmp_py_semlock_type, "SEM_VALUE_MAX", INT_MAX);
}

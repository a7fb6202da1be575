/*
 * `_core.Atomic`: the atomic operations on one word inside a larger object: an item of an array, a field of a
 * structure. Called by: fastmp/_atomic.py, which finds the word.
 *
 * `owner` keeps the memory alive. The word lies in a region of this process and is aligned: both are checked here.
 */
#define FMP_ATOMIC_WORD fmp_atomic_handle_word
#include "py/atomic.h"

#include <structmember.h> /* needs Python.h */

#include "py/types.h"

struct handle {
    PyObject_HEAD
    struct fmp_word word;
    PyObject *owner;
};

static struct handle *
as_handle(PyObject *op)
{
    return (struct handle *)op;
}

int
fmp_atomic_handle_word(PyObject *self, struct fmp_word *word)
{
    *word = as_handle(self)->word;
    if (FMP_UNLIKELY(word->at == NULL)) {
        PyErr_SetString(PyExc_ValueError, "the memory of this Atomic has been given back");
        return -1;
    }
    return 0;
}

static int
check(const struct fmp_word *word, Py_UCS4 code)
{
    if (word->ctype == NULL || !fmp_ctype_is_atomic(word->ctype)) {
        PyErr_Format(PyExc_TypeError, "a C type with the code '%c' has no atomic operations", (int)code);
        return -1;
    }
    if (fmp_space_around(word->at, word->ctype->bytes) == NULL) {
        PyErr_SetString(PyExc_TypeError, "atomic operations need an object in fastmp's shared memory");
        return -1;
    }
    if ((uintptr_t)word->at % word->ctype->bytes != 0) {
        PyErr_Format(PyExc_ValueError, "an atomic operation on %d bytes needs an address that is a multiple of %d",
                     word->ctype->bytes, word->ctype->bytes);
        return -1;
    }
    return 0;
}

static PyObject *
handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"owner", "address", "code", NULL};
    PyObject *owner, *address;
    int code;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!C:Atomic", names, &owner, &PyLong_Type, &address, &code)) {
        return NULL;
    }
    struct fmp_word word = {.at = PyLong_AsVoidPtr(address), .ctype = fmp_ctype_find((Py_UCS4)code)};
    if (PyErr_Occurred() || check(&word, (Py_UCS4)code) < 0) {
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        as_handle(self)->word = word;
        as_handle(self)->owner = Py_NewRef(owner);
    }
    return self;
}

static int
handle_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_handle(self)->owner);
    return 0;
}

static int
handle_clear(PyObject *self)
{
    as_handle(self)->word.at = NULL;
    Py_CLEAR(as_handle(self)->owner);
    return 0;
}

static void
handle_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    handle_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

FMP_ATOMIC_OPERATIONS(FMP_ATOMIC_METHOD)

static PyMethodDef handle_methods[] = {
    FMP_ATOMIC_OPERATIONS(FMP_ATOMIC_ENTRY) /* and the end of the table */
    {NULL, NULL, 0, NULL},
};

static PyMemberDef handle_members[] = {
    {"owner", T_OBJECT, offsetof(struct handle, owner), READONLY, "The object that the word is a part of."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, "Atomic(owner, address, code)\n--\n\nThe atomic operations on one integer, bool or pointer in shared "
                "memory; made by `fastmp.atomic`."},
    {Py_tp_new, handle_new},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_methods, handle_methods},
    {Py_tp_members, handle_members},
    {0, NULL},
};

static PyType_Spec handle_spec = {
    .name = "fastmp._core.Atomic",
    .basicsize = sizeof(struct handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = handle_slots,
};

static PyObject *
buffer_address(PyObject *module, PyObject *obj)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(obj, &view, PyBUF_STRIDES) < 0) {
        return NULL;
    }
    PyObject *address = PyLong_FromVoidPtr(view.buf);
    PyBuffer_Release(&view);
    return address;
}

static PyMethodDef functions[] = {
    {"buffer_address", buffer_address, METH_O,
     "buffer_address($module, view, /)\n--\n\nWhere the first item of a buffer lies, as long as the buffer is held."},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_atomic_handle(PyObject *module)
{
    return fmp_py_add_type(module, &handle_spec, NULL) != NULL ? PyModule_AddFunctions(module, functions) : -1;
}

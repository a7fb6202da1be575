/*
 * `_core.ValueBlock`: zeroed bytes in the region, shared with other processes, that the ctypes objects of
 * fastmp.sharedctypes lie on. Called by: fastmp/sharedctypes.py.
 *
 * A writable buffer. The ctypes object made by `from_buffer` keeps the block, and thereby the memory, alive; so does
 * every other process that holds it.
 */
#include "py/valueblock.h"

#include <stddef.h>

#include "py/types.h"
#include "pyrt/travel.h"

struct fmp_valueblock {
    PyObject_HEAD
    struct fmp_handle handle;
    Py_ssize_t bytes; /* asked for; the handle may have more */
};

static PyTypeObject *valueblock_type;

void *
fmp_valueblock_at(PyObject *block, Py_ssize_t *bytes)
{
    if (!Py_IS_TYPE(block, valueblock_type)) {
        PyErr_Format(PyExc_TypeError, "expected a ValueBlock, not %.200s", Py_TYPE(block)->tp_name);
        return NULL;
    }
    struct fmp_valueblock *b = (struct fmp_valueblock *)block;
    *bytes = b->bytes;
    return fmp_handle_at(&b->handle);
}

static PyObject *
valueblock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"bytes", "_travel", NULL};
    Py_ssize_t bytes;
    PyObject *record = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n|O:ValueBlock", names, &bytes, &record)) {
        return NULL;
    }
    if (bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "the size of a block must not be negative");
        return NULL;
    }
    struct fmp_valueblock *self = (struct fmp_valueblock *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    uint64_t needed = bytes > 0 ? (uint64_t)bytes : 1; /* an array of length 0 has an address too */
    int rc = record == NULL ? fmp_handle_new(&self->handle, needed, FMP_BLOCK_DATA)
                            : fmp_travel_unpack(&self->handle, record, FMP_BLOCK_DATA, needed);
    if (rc < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->bytes = bytes;
    return (PyObject *)self;
}

static void
valueblock_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fmp_handle_release(&((struct fmp_valueblock *)self)->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
valueblock_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    struct fmp_valueblock *b = (struct fmp_valueblock *)self;
    return PyBuffer_FillInfo(view, self, fmp_handle_at(&b->handle), b->bytes, 0, flags);
}

/* The name by which the standard library's rebuild_ctype asks a block for its bytes. */
static PyObject *
valueblock_create_memoryview(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyMemoryView_FromObject(self);
}

static PyObject *
valueblock_reduce(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct fmp_valueblock *b = (struct fmp_valueblock *)self;
    PyObject *record = fmp_travel_pack(&b->handle);
    if (record == Py_None) {
        Py_CLEAR(record);
        PyErr_SetString(PyExc_RuntimeError,
                        "shared values should only be shared between processes through inheritance");
    }
    return record != NULL ? Py_BuildValue("O(nN)", (PyObject *)Py_TYPE(self), b->bytes, record) : NULL;
}

static Py_ssize_t
valueblock_length(PyObject *self)
{
    return ((struct fmp_valueblock *)self)->bytes;
}

static PyMethodDef valueblock_methods[] = {
    {"create_memoryview", valueblock_create_memoryview, METH_NOARGS, "A writable memoryview on the block."},
    {"__reduce__", valueblock_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot valueblock_slots[] = {
    {Py_tp_doc,
     "ValueBlock(bytes)\n--\n\nZeroed shared memory that forked processes see; OSError if there is not enough."},
    {Py_tp_new, valueblock_new},
    {Py_tp_dealloc, valueblock_dealloc},
    {Py_tp_methods, valueblock_methods},
    {Py_sq_length, valueblock_length},
    {Py_bf_getbuffer, valueblock_getbuffer},
    {0, NULL},
};

static PyType_Spec valueblock_spec = {
    .name = "fastmp._core.ValueBlock",
    .basicsize = sizeof(struct fmp_valueblock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = valueblock_slots,
};

int
fmp_py_register_valueblock(PyObject *module)
{
    valueblock_type = fmp_py_add_type(module, &valueblock_spec, NULL);
    return valueblock_type != NULL ? 0 : -1;
}

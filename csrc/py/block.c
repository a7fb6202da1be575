/*
 * `fastmp._core.Block`: the buffer of a received message in shared memory. Called by: Python, through the views that
 * objects of the message hold.
 *
 * NumPy arrays and other objects made from out-of-band buffers are views on a Block; each view holds a reference to it,
 * so the heap block behind it is given back when the last of them dies. A fork makes the child a holder (pyrt/runtime),
 * so a received array is shared by parent and child from then on.
 */
#include "py/types.h"
#include "wire/wire.h"

struct block {
    PyObject_HEAD
    struct fmp_handle handle;
    Py_ssize_t bytes; /* of the message; the heap block may be larger */
};

static PyTypeObject *block_type; /* of the one interpreter that the module supports; borrowed from it */

static PyObject *
block_new(struct fmp_space *space, fmp_off off, size_t bytes)
{
    struct block *self = (struct block *)block_type->tp_alloc(block_type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->bytes = (Py_ssize_t)bytes;
    fmp_handle_take(&self->handle, space, off);
    return (PyObject *)self;
}

static void
block_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fmp_handle_release(&((struct block *)self)->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
block_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    struct block *block = (struct block *)self;
    return PyBuffer_FillInfo(view, self, fmp_handle_at(&block->handle), block->bytes, 0, flags);
}

static Py_ssize_t
block_length(PyObject *self)
{
    return ((struct block *)self)->bytes;
}

static PyType_Slot block_slots[] = {
    {Py_tp_dealloc, block_dealloc},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_sq_length, block_length},
    {Py_tp_doc, "A received message in shared memory, which objects of the message are views on."},
    {0, NULL},
};

static PyType_Spec block_spec = {
    .name = "fastmp._core.Block",
    .basicsize = sizeof(struct block),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = block_slots,
};

int
fmp_py_register_block(PyObject *module)
{
    block_type = fmp_py_add_type(module, &block_spec, NULL);
    fmp_wire_owner = block_new;
    return block_type == NULL ? -1 : 0;
}

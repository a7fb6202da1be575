/* A message in a heap block; see wire.h. */
#include "wire/wire.h"

#include "wire/encode.h"

fmp_wire_owner_fn fmp_wire_owner;

/* Views on the block may stay: it dies with the last of them. */
static PyObject *
decode_in_place(struct fmp_space *space, fmp_off off, size_t bytes)
{
    PyObject *owner = fmp_wire_owner(space, off, bytes);
    if (owner == NULL) {
        fmp_heap_free(space->heap, off);
        return NULL;
    }
    PyObject *obj = fmp_wire_decode(fmp_at(&space->region, off), bytes, owner);
    Py_DECREF(owner);
    return obj;
}

PyObject *
fmp_wire_decode_block(struct fmp_space *space, fmp_off off, size_t bytes)
{
    const void *data = fmp_at(&space->region, off);
    if (fmp_wire_has_buffers(data, bytes)) {
        return decode_in_place(space, off, bytes);
    }
    PyObject *obj = fmp_wire_decode(data, bytes, NULL);
    fmp_heap_free(space->heap, off);
    return obj;
}

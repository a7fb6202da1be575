/*
 * The items of a message that is a list, one by one: who needs each of them only for a moment makes no list. Called by:
 * pool/chunk.c, with the GIL.
 *
 * The bytes must stay where they are until the end; Python code may run between two items. Each is what fmp_wire_decode
 * would put into the list, but that two items may have one str as a key.
 */
#ifndef FMP_WIRE_ITEMS_H
#define FMP_WIRE_ITEMS_H

#include "wire/reader.h"

struct fmp_items {
    struct fmp_reader reader;
    size_t left;             /* items to come */
    enum fmp_wire_form form; /* of a run; FMP_FORMS: they are values */
};

/* False, with nothing to end, if the message is no plain list: decode it. */
bool fmp_items_begin(struct fmp_items *items, const void *data, size_t bytes);
/* The next one, while there are any left: a new reference, or NULL with an exception set. */
PyObject *fmp_items_next(struct fmp_items *items);
/* The same for one that is a tuple or a list of no more than `most`: those in it, new references, to `to`. Their
 * number; -1 with an exception set; -EAGAIN if it is something else, which fmp_items_next gives. */
Py_ssize_t fmp_items_next_short(struct fmp_items *items, PyObject **to, size_t most);
/* 0, or -1 with an exception set: none are left, but that was not all. One that is set already stays. */
int fmp_items_end(struct fmp_items *items);

#endif

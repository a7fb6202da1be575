/* The calls of a chunk. Called by: worker.c. */
#ifndef FMP_POOL_CHUNK_H
#define FMP_POOL_CHUNK_H

#include "wire/items.h"

/* f(*item): a new reference, or NULL with an exception set. */
PyObject *fmp_call_star(PyObject *f, PyObject *item);
/* [f(item) for each of `items`], or of f(*item). A new reference, or NULL with an exception set. */
PyObject *fmp_call_all(PyObject *f, PyObject *items, bool star);
/* The same while the items are decoded, each of which is gone after its call: the arguments are never a tuple unless f
 * wants one, and what a chunk of many has to be looked through by the garbage collector is its results alone. */
PyObject *fmp_call_each(PyObject *f, struct fmp_items *items, bool star);

#endif

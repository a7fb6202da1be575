/*
 * Objects that are memory and may change: bytearray, and array.array of numbers. Called by: wire/encode.c,
 * wire/decode.c. With the GIL.
 *
 * pickle copies each of them to a bytes object first, and makes an array of what arrives by way of another. Here the
 * memory is copied into the message and out of it. Until then they cannot be resized (BufferError), also while a sender
 * of more than 2 MiB lets its receivers run (conn/lead.h), 20 ms at most; who has to wait for room copies
 * them before (fmp_wire_settle).
 */
#ifndef FMP_WIRE_FLAT_H
#define FMP_WIRE_FLAT_H

#include "wire/reader.h"

/* Is it one of them, and an array one for whose type nobody has registered a reducer of his own? No Python code runs.
 */
bool fmp_flat_is(PyObject *o);
/* Appends it. 0, -1 with an exception set, or 1: it is for pickle. */
int fmp_flat_put(struct fmp_wire_writer *w, PyObject *o);
/* What follows the tag, as a new object; NULL with an exception set. */
PyObject *fmp_flat_get_bytearray(struct fmp_reader *r);
PyObject *fmp_flat_get_array(struct fmp_reader *r);

#endif

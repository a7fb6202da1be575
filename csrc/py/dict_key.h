/*
 * Keys of a shared dict: Python objects to bytes that are equal exactly where the objects are, and back. Called by:
 * py/dict.c, py/dict_entry.c.
 *
 * None, bool, int, float, str, bytes, and tuples of them, exactly these types. 1, 1.0 and True are one key, as in a
 * dict; then the bytes are those of the int, and the object itself must be kept beside them (`exact` is false).
 */
#ifndef FMP_PY_DICT_KEY_H
#define FMP_PY_DICT_KEY_H

#include <Python.h>

#include "base/attr.h"

struct fmp_key_bytes {
    unsigned char *data;
    size_t bytes, room;
    bool exact; /* the bytes tell the object, type included */
    unsigned char scratch[256];
};

/* 0, or -1 with TypeError or another exception; fmp_key_release in either case. */
int fmp_key_encode(struct fmp_key_bytes *k, PyObject *key);
void fmp_key_release(struct fmp_key_bytes *k);
/* The object of exact bytes; NULL with an exception set. */
PyObject *fmp_key_decode(const unsigned char *data, size_t bytes);

#endif

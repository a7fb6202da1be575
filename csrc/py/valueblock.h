/* The memory of a shared value. Called by: py/shared.c. */
#ifndef FMP_PY_VALUEBLOCK_H
#define FMP_PY_VALUEBLOCK_H

#include <Python.h>

/* The address of `block`'s bytes, valid as long as the block lives, and how many there are; NULL with TypeError if it
 * is no ValueBlock. */
void *fmp_valueblock_at(PyObject *block, Py_ssize_t *bytes);

#endif

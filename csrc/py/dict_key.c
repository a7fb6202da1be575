/* Keys as bytes; see dict_key.h. */
#include "py/dict_key.h"

#include <math.h>
#include <string.h>

/* N none, i int of 64 bits, I int in hexadecimal, f float, s str, b bytes, t tuple */
#define DEPTH_MAX 16

static int
put(struct fmp_key_bytes *k, const void *data, size_t n)
{
    if (n > k->room - k->bytes) {
        size_t room = 2 * (k->bytes + n);
        unsigned char *grown = room <= UINT32_MAX / 2 ? PyMem_Malloc(room) : NULL;
        if (grown == NULL) {
            PyErr_SetString(PyExc_OverflowError, "a key of a shared dict has less than 1 GiB");
            return -1;
        }
        memcpy(grown, k->data, k->bytes);
        if (k->data != k->scratch) {
            PyMem_Free(k->data);
        }
        k->data = grown;
        k->room = room;
    }
    memcpy(k->data + k->bytes, data, n);
    k->bytes += n;
    return 0;
}

static int
put_tagged(struct fmp_key_bytes *k, char tag, const void *data, size_t n)
{
    return put(k, &tag, 1) < 0 ? -1 : put(k, data, n);
}

static int
put_sized(struct fmp_key_bytes *k, char tag, const void *data, size_t n)
{
    uint32_t size = (uint32_t)n;
    if (n > UINT32_MAX / 4) {
        PyErr_SetString(PyExc_OverflowError, "a key of a shared dict has less than 1 GiB");
        return -1;
    }
    return put_tagged(k, tag, &size, sizeof size) < 0 ? -1 : put(k, data, n);
}

static int
put_text(struct fmp_key_bytes *k, char tag, PyObject *text)
{
    Py_ssize_t n;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &n);
    if (utf8 != NULL) {
        return put_sized(k, tag, utf8, (size_t)n);
    }
    PyErr_Clear(); /* lone surrogates */
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    int rc = bytes != NULL ? put_sized(k, tag, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)) : -1;
    Py_XDECREF(bytes);
    return rc;
}

static int
put_int(struct fmp_key_bytes *k, PyObject *number)
{
    int overflow;
    long long x = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow == 0) {
        return put_tagged(k, 'i', &x, sizeof x);
    }
    PyObject *text = PyNumber_ToBase(number, 16);
    int rc = text != NULL ? put_text(k, 'I', text) : -1;
    Py_XDECREF(text);
    return rc;
}

static int
put_float(struct fmp_key_bytes *k, double x)
{
    if (!isfinite(x) || x != floor(x)) {
        return put_tagged(k, 'f', &x, sizeof x);
    }
    k->exact = false;
    PyObject *number = PyLong_FromDouble(x);
    int rc = number != NULL ? put_int(k, number) : -1;
    Py_XDECREF(number);
    return rc;
}

static int put_key(struct fmp_key_bytes *k, PyObject *key, int depth);

static int
put_tuple(struct fmp_key_bytes *k, PyObject *tuple, int depth)
{
    uint32_t n = (uint32_t)PyTuple_GET_SIZE(tuple);
    if (depth == DEPTH_MAX || PyTuple_GET_SIZE(tuple) > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a key of a shared dict has at most 16 levels");
        return -1;
    }
    int rc = put_tagged(k, 't', &n, sizeof n);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        rc = put_key(k, PyTuple_GET_ITEM(tuple, i), depth + 1);
    }
    return rc;
}

static int
put_key(struct fmp_key_bytes *k, PyObject *key, int depth)
{
    if (PyUnicode_CheckExact(key)) {
        return put_text(k, 's', key);
    }
    if (PyLong_CheckExact(key)) {
        return put_int(k, key);
    }
    if (PyBytes_CheckExact(key)) {
        return put_sized(k, 'b', PyBytes_AS_STRING(key), (size_t)PyBytes_GET_SIZE(key));
    }
    if (PyTuple_CheckExact(key)) {
        return put_tuple(k, key, depth);
    }
    if (key == Py_None) {
        return put(k, "N", 1);
    }
    if (PyBool_Check(key)) {
        k->exact = false;
        return put_int(k, key);
    }
    if (PyFloat_CheckExact(key)) {
        return put_float(k, PyFloat_AS_DOUBLE(key));
    }
    PyErr_Format(PyExc_TypeError,
                 "a key of a shared dict is None, a bool, int, float, str, bytes, or a tuple of them, not %.200s",
                 Py_TYPE(key)->tp_name);
    return -1;
}

int
fmp_key_encode(struct fmp_key_bytes *k, PyObject *key)
{
    k->data = k->scratch;
    k->room = sizeof k->scratch;
    k->bytes = 0;
    k->exact = true;
    return put_key(k, key, 0);
}

void
fmp_key_release(struct fmp_key_bytes *k)
{
    if (k->data != k->scratch) {
        PyMem_Free(k->data);
    }
}

/* ---- back ---- */

struct reader {
    const unsigned char *at;
    size_t left;
};

static bool
take(struct reader *r, void *to, size_t n)
{
    if (n > r->left) {
        PyErr_SetString(PyExc_ValueError, "a key of a shared dict is damaged");
        return false;
    }
    memcpy(to, r->at, n);
    r->at += n;
    r->left -= n;
    return true;
}

static const char *
take_sized(struct reader *r, uint32_t *n)
{
    if (!take(r, n, sizeof *n) || *n > r->left) {
        PyErr_SetString(PyExc_ValueError, "a key of a shared dict is damaged");
        return NULL;
    }
    const char *at = (const char *)r->at;
    r->at += *n;
    r->left -= *n;
    return at;
}

static PyObject *take_key(struct reader *r);

static PyObject *
take_tuple(struct reader *r)
{
    uint32_t n;
    PyObject *tuple = take(r, &n, sizeof n) && n <= r->left ? PyTuple_New(n) : NULL;
    for (uint32_t i = 0; tuple != NULL && i < n; i++) {
        PyObject *item = take_key(r);
        if (item == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    if (tuple == NULL && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "a key of a shared dict is damaged");
    }
    return tuple;
}

static PyObject *
take_big(struct reader *r)
{
    uint32_t n;
    const char *at = take_sized(r, &n);
    PyObject *text = at != NULL ? PyUnicode_DecodeUTF8(at, n, NULL) : NULL;
    PyObject *number = text != NULL ? PyLong_FromUnicodeObject(text, 0) : NULL;
    Py_XDECREF(text);
    return number;
}

static PyObject *
take_key(struct reader *r)
{
    char tag;
    long long i;
    double f;
    uint32_t n;
    const char *at;
    if (!take(r, &tag, 1)) {
        return NULL;
    }
    switch (tag) {
    case 'i':
        return take(r, &i, sizeof i) ? PyLong_FromLongLong(i) : NULL;
    case 'f':
        return take(r, &f, sizeof f) ? PyFloat_FromDouble(f) : NULL;
    case 's':
        at = take_sized(r, &n);
        return at != NULL ? PyUnicode_DecodeUTF8(at, n, "surrogatepass") : NULL;
    case 'b':
        at = take_sized(r, &n);
        return at != NULL ? PyBytes_FromStringAndSize(at, n) : NULL;
    case 't':
        return take_tuple(r);
    case 'I':
        return take_big(r);
    default:
        return Py_NewRef(Py_None);
    }
}

PyObject *
fmp_key_decode(const unsigned char *data, size_t bytes)
{
    struct reader r = {.at = data, .left = bytes};
    return take_key(&r);
}

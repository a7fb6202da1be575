/* Texts out of bytes; see text.h. */
#include "wire/text.h"

#include "wire/large.h"

FMP_INLINE uint64_t
word_at(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

FMP_INLINE uint64_t
half_at(const unsigned char *p)
{
    uint32_t half;
    memcpy(&half, p, sizeof half);
    return half;
}

/* Are the n bytes at p ASCII: is the highest bit of none set? */
FMP_INLINE bool
is_ascii(const unsigned char *p, size_t n)
{
    uint64_t all = 0;
    if (n >= 8) {
        for (size_t i = 0; i < n - 8; i += 8) {
            all |= word_at(p + i);
        }
        all |= word_at(p + n - 8); /* some bytes a second time */
    } else if (n >= 4) {
        all = half_at(p) | half_at(p + n - 4);
    } else {
        for (size_t i = 0; i < n; i++) {
            all |= p[i];
        }
    }
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

/* A str of two characters or more; NULL without an exception if it would not be ASCII. */
FMP_INLINE PyObject *
ascii_of(const unsigned char *p, size_t n)
{
    PyObject *str = PyUnicode_New((Py_ssize_t)n, 0x7f);
    if (str == NULL) {
        return NULL;
    }
    fmp_large_expect(PyUnicode_DATA(str), n);
    fmp_copy(PyUnicode_DATA(str), p, n);
    if (FMP_UNLIKELY(!is_ascii(PyUnicode_DATA(str), n))) {
        Py_DECREF(str);
        return NULL;
    }
    return str;
}

/* None or one; CPython has only one str of each. */
static PyObject *
shortest(const unsigned char *p, size_t n)
{
    return is_ascii(p, n) ? PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, p, (Py_ssize_t)n)
                          : fmp_wire_damaged("no ASCII");
}

PyObject *
fmp_wire_ascii(const unsigned char *p, size_t n)
{
    if (FMP_UNLIKELY(n < 2)) {
        return shortest(p, n);
    }
    PyObject *str = ascii_of(p, n);
    return FMP_LIKELY(str != NULL) || PyErr_Occurred() ? str : fmp_wire_damaged("no ASCII");
}

/* The bits of all of them: as high as the highest of the widest. */
static Py_UCS4
bits_of_bytes(const Py_UCS1 *p, size_t n)
{
    Py_UCS1 all = 0;
    for (size_t i = 0; i < n; i++) {
        all |= p[i];
    }
    return all;
}

static Py_UCS4
bits_of_halves(const Py_UCS2 *p, size_t n)
{
    Py_UCS2 all = 0;
    for (size_t i = 0; i < n; i++) {
        all |= p[i];
    }
    return all;
}

static Py_UCS4
widest(const Py_UCS4 *p, size_t n)
{
    Py_UCS4 max = 0;
    for (size_t i = 0; i < n; i++) {
        max = p[i] > max ? p[i] : max;
    }
    return max;
}

/* Does the widest of the n characters of a str need as many bytes as each has, and is it a character? */
static bool
is_of_kind(PyObject *str, size_t n, size_t kind)
{
    switch (kind) {
    case 1:
        return bits_of_bytes(PyUnicode_1BYTE_DATA(str), n) >= 0x80;
    case 2:
        return bits_of_halves(PyUnicode_2BYTE_DATA(str), n) >= 0x100;
    default: {
        Py_UCS4 max = widest(PyUnicode_4BYTE_DATA(str), n);
        return max >= 0x10000 && max <= 0x10ffff;
    }
    }
}

/* One character; CPython has only one str of each. */
static PyObject *
latin1(unsigned char c)
{
    FMP_READ_ONCE(c);
    return c >= 0x80 ? PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, &c, 1) : fmp_wire_damaged("no text of its kind");
}

PyObject *
fmp_wire_wide(const unsigned char *p, size_t n, size_t kind)
{
    if (n == 1 && kind == 1) {
        return latin1(*p);
    }
    PyObject *str = PyUnicode_New((Py_ssize_t)n, kind == 1 ? 0xff : kind == 2 ? 0xffff : 0x10ffff);
    if (str == NULL) {
        return NULL;
    }
    fmp_large_expect(PyUnicode_DATA(str), n * kind);
    memcpy(PyUnicode_DATA(str), p, n * kind);
    if (FMP_UNLIKELY(!is_of_kind(str, n, kind))) {
        Py_DECREF(str);
        return fmp_wire_damaged("no text of its kind");
    }
    return str;
}

PyObject *
fmp_wire_leaf(const unsigned char *data, size_t bytes)
{
    size_t head = 2 + sizeof(uint64_t);
    if (bytes < head) {
        return NULL;
    }
    unsigned char tag = data[0];
    uint64_t n = data[1];
    FMP_READ_ONCE(tag);
    FMP_READ_ONCE(n);
    if (n == FMP_SIZE_LONG) {
        n = word_at(data + 2);
        FMP_READ_ONCE(n);
    } else {
        head = 2;
    }
    if (n != bytes - head || n < 2) {
        return NULL;
    }
    PyObject *leaf = tag == FMP_TAG_BYTES   ? PyBytes_FromStringAndSize((const char *)data + head, (Py_ssize_t)n)
                     : tag == FMP_TAG_ASCII ? ascii_of(data + head, n)
                                            : NULL;
    if (FMP_UNLIKELY(leaf == NULL)) {
        PyErr_Clear(); /* no memory: the copy will tell */
    }
    return leaf;
}

/*
 * Reading a message's bytes, none of them beyond its end. Called by: wire/{decode,items,flat}.c, with the GIL.
 */
#ifndef FMP_WIRE_READER_H
#define FMP_WIRE_READER_H

#include "wire/encode.h"
#include "wire/memo.h"

struct fmp_reader {
    const unsigned char *next, *end;
    uint64_t message; /* a number that no other message has: see keys.h */
    struct fmp_memo memo;
};

FMP_INLINE size_t
fmp_left(const struct fmp_reader *r)
{
    return (size_t)(r->end - r->next);
}

/* decode.c. A reader at the beginning of a message; what it has remembered at the end, the memo, is the caller's to
 * clear.
 */
void fmp_reader_begin(struct fmp_reader *r, const void *data, size_t bytes);
/* The next value, within `depth` containers: a new reference, or NULL with the exception set. */
PyObject *fmp_get_value(struct fmp_reader *r, int depth);

/* Takes `bytes`, or NULL with the exception set. */
FMP_INLINE const unsigned char *
fmp_take(struct fmp_reader *r, size_t bytes)
{
    if (FMP_UNLIKELY(fmp_left(r) < bytes)) {
        fmp_wire_damaged("it ends too early");
        return NULL;
    }
    const unsigned char *at = r->next;
    r->next += bytes;
    return at;
}

/* A size, of things that take at least `each` bytes in what is left: 0, or -1 with the exception set. */
FMP_INLINE int
fmp_take_size(struct fmp_reader *r, size_t each, size_t *size)
{
    const unsigned char *p = fmp_take(r, 1);
    if (FMP_UNLIKELY(p == NULL)) {
        return -1;
    }
    uint64_t n = *p;
    if (FMP_UNLIKELY(n == FMP_SIZE_LONG)) {
        if ((p = fmp_take(r, sizeof n)) == NULL) {
            return -1;
        }
        memcpy(&n, p, sizeof n);
    }
    FMP_READ_ONCE(n);
    if (FMP_UNLIKELY(n > fmp_left(r) / each)) {
        fmp_wire_damaged("a size is larger than the message");
        return -1;
    }
    *size = n;
    return 0;
}

/* The bytes of each thing in a run. */
FMP_INLINE size_t
fmp_form_bytes(enum fmp_wire_form form)
{
    return form == FMP_FORM_DOUBLE ? sizeof(double) : (size_t)1 << form;
}

FMP_INLINE int64_t
fmp_int_at(const unsigned char *p, enum fmp_wire_form form)
{
    int64_t v64;
    int32_t v32;
    int16_t v16;
    switch (form) {
    case FMP_FORM_INT8:
        return (int8_t)*p;
    case FMP_FORM_INT16:
        memcpy(&v16, p, sizeof v16);
        return v16;
    case FMP_FORM_INT32:
        memcpy(&v32, p, sizeof v32);
        return v32;
    default:
        memcpy(&v64, p, sizeof v64);
        return v64;
    }
}

/* What is at `p` in a run: a new reference, or NULL with MemoryError. */
FMP_INLINE PyObject *
fmp_run_item(const unsigned char *p, enum fmp_wire_form form)
{
    if (form == FMP_FORM_DOUBLE) {
        double v;
        memcpy(&v, p, sizeof v);
        return PyFloat_FromDouble(v);
    }
    return PyLong_FromLong(fmp_int_at(p, form));
}

#endif

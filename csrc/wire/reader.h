/*
 * Reading a message's bytes, none of them beyond its end. Called by: wire/decode.c, with the GIL.
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

#endif

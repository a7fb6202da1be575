/* Copies of few bytes without a call: most messages, and most texts in them, have at most 32; and of very many, past
 * the caches. Called by: wire/, conn/. */
#ifndef FMP_BASE_COPY_H
#define FMP_BASE_COPY_H

#include <string.h>

#include "base/attr.h"

/* Two words of `part` bytes that may overlap: they cover any size from `part` to twice that. */
#define FMP_COPY_ENDS(type, to, from, bytes)                           \
    do {                                                               \
        type first_, last_;                                            \
        memcpy(&first_, (from), sizeof first_);                        \
        memcpy(&last_, (from) + (bytes) - sizeof last_, sizeof last_); \
        memcpy((to), &first_, sizeof first_);                          \
        memcpy((to) + (bytes) - sizeof last_, &last_, sizeof last_);   \
    } while (0)

struct fmp_copy_pair {
    uint64_t low, high;
};

/* A copy of at least so many bytes would push everything else out of the caches, and most of itself. */
#define FMP_COPY_PAST_MIN (UINT64_C(1) << 24)
/* memcpy, of a line's bytes or more, past the caches where the processor can: what it writes is not read from memory
 * before. That comes before the caller's next release. */
void fmp_copy_past_caches(void *to, const void *from, size_t bytes);

/* memcpy. */
FMP_INLINE void
fmp_copy(unsigned char *to, const unsigned char *from, size_t bytes)
{
    if (FMP_UNLIKELY(bytes > 2 * sizeof(struct fmp_copy_pair))) {
        memcpy(to, from, bytes);
    } else if (bytes >= sizeof(struct fmp_copy_pair)) {
        FMP_COPY_ENDS(struct fmp_copy_pair, to, from, bytes);
    } else if (bytes >= sizeof(uint64_t)) {
        FMP_COPY_ENDS(uint64_t, to, from, bytes);
    } else if (bytes >= sizeof(uint32_t)) {
        FMP_COPY_ENDS(uint32_t, to, from, bytes);
    } else if (bytes >= sizeof(uint16_t)) {
        FMP_COPY_ENDS(uint16_t, to, from, bytes);
    } else if (bytes != 0) {
        *to = *from;
    }
}

/* memcpy of many bytes by the library's function, also where the compiler knows a bound: what it puts in place then
 * (`rep movs`) is slower than that. */
FMP_INLINE void
fmp_copy_many(void *to, const void *from, size_t bytes)
{
    __asm__("" : "+r"(bytes)); /* a number of which nothing is known */
    memcpy(to, from, bytes);
}

#endif

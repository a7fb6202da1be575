/* Copies of many bytes; see copy.h. */
#include "base/copy.h"

#ifdef __x86_64__
#include <emmintrin.h>

#define LINE 64u

/* Whole lines, straight to memory: `to` is aligned to a line. */
static void
stream_lines(unsigned char *to, const unsigned char *from, size_t lines)
{
    for (; lines > 0; lines--, to += LINE, from += LINE) {
        __m128i a = _mm_loadu_si128((const __m128i *)from);
        __m128i b = _mm_loadu_si128((const __m128i *)(from + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(from + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(from + 48));
        _mm_stream_si128((__m128i *)to, a);
        _mm_stream_si128((__m128i *)(to + 16), b);
        _mm_stream_si128((__m128i *)(to + 32), c);
        _mm_stream_si128((__m128i *)(to + 48), d);
    }
    _mm_sfence(); /* these stores are behind no release: now they are */
}

void
fmp_copy_past_caches(void *dst, const void *src, size_t bytes)
{
    unsigned char *to = dst;
    const unsigned char *from = src;
    size_t before = -(uintptr_t)to % LINE;
    size_t lines = (bytes - before) / LINE;
    memcpy(to, from, before);
    stream_lines(to + before, from + before, lines);
    size_t done = before + lines * LINE;
    memcpy(to + done, from + done, bytes - done);
}
#else
void
fmp_copy_past_caches(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}
#endif

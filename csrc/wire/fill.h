/*
 * The copy into memory that another process reads next, by the cheaper of two ways. Called by: wire/writer.c,
 * conn/message.c. With the GIL.
 *
 * memcpy leaves what it writes in a cache: the best there is where the reader shares that cache, or the core. But each
 * line is first fetched from where it was read last, only to be overwritten, and where that is the cache of a core far
 * away this takes four times as long as the writing. Past the caches nothing is fetched, and a far reader has the lines
 * as soon from memory as from a far cache. Nobody tells which cores are near, and processes move; so some of the copies
 * are timed, and now and then one goes the other way to see what that would take.
 */
#ifndef FMP_WIRE_FILL_H
#define FMP_WIRE_FILL_H

#include "base/copy.h"

/* Less is written in less time than it takes to find out. */
#define FMP_FILL_CHOICE_MIN (UINT64_C(1) << 13)

void fmp_wire_fill_many(void *to, const void *from, size_t bytes);
/* memcpy to where no one else looks before the caller's next release. */
FMP_INLINE void
fmp_wire_fill(void *to, const void *from, size_t bytes)
{
    if (FMP_LIKELY(bytes < FMP_FILL_CHOICE_MIN)) {
        fmp_copy_many(to, from, bytes);
    } else {
        fmp_wire_fill_many(to, from, bytes);
    }
}

#endif

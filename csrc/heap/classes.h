/*
 * Size classes: which block serves how many bytes. Called by: the files of heap/ only.
 *
 * Small classes have payloads of 64 bytes to 256 KiB and share a chunk of 1 MiB; large classes are runs of 1, 2, 3 ...
 * chunks. Both go in four steps per doubling, so at most a fifth of a block is unused (less than 64 bytes below 256),
 * and a freed run is found again by the next one of about its size. Parcels (parcels.h) have a class of their own, the
 * first: whoever looks for one has no other blocks to look at.
 */
#ifndef FMP_HEAP_CLASSES_H
#define FMP_HEAP_CLASSES_H

#include "base/attr.h"

#define FMP_CHUNK_BYTES (UINT64_C(1) << 20)
#define FMP_UNIT_BYTES UINT64_C(64)
#define FMP_SMALL_MAX (UINT64_C(1) << 18)
#define FMP_PARCEL_CLASS 0u
#define FMP_SMALL_CLASSES 45u
#define FMP_LARGE_CLASSES 96u /* up to 2^25 chunks, 32 TiB */
#define FMP_CLASSES (FMP_SMALL_CLASSES + FMP_LARGE_CLASSES)
/* A large payload begins on a page of its own, behind the headers. */
#define FMP_LARGE_PAYLOAD_OFF UINT64_C(4096)
/* Blocks from this size on give their pages back when too many are free. A smaller one has too few whole pages for a
 * system call to be worth it. */
#define FMP_GIVE_BACK_MIN (UINT64_C(1) << 16)

struct fmp_class {
    uint64_t payload;     /* bytes */
    uint64_t stride;      /* from one block of a chunk to the next */
    uint32_t capacity;    /* blocks per chunk; 1 for a large class */
    uint32_t run;         /* chunks; 1 for a small class */
    uint32_t payload_off; /* from the block's header */
    uint32_t reciprocal;  /* 2^32 / stride within a chunk, rounded up: a division by multiplication, see fmp_block_at */
    bool gives_back;
};

static_assert(FMP_CLASSES < 256, "a class + 1 fits a table entry");

FMP_INLINE unsigned
fmp_class_of_steps(uint64_t units)
{
    uint64_t u = units != 0 ? units - 1 : 0;
    if (u < 4) {
        return (unsigned)u;
    }
    unsigned log2 = 63 - (unsigned)__builtin_clzll(u);
    return 4 * (log2 - 1) + (unsigned)(u >> (log2 - 2)) - 4;
}

/* The smallest class for `bytes`; FMP_CLASSES or more if there is none. */
FMP_INLINE unsigned
fmp_class_of(uint64_t bytes)
{
    if (FMP_LIKELY(bytes <= FMP_SMALL_MAX)) {
        return FMP_PARCEL_CLASS + 1 + fmp_class_of_steps((bytes + FMP_UNIT_BYTES - 1) / FMP_UNIT_BYTES);
    }
    if (bytes > UINT64_C(1) << 60) {
        return FMP_CLASSES;
    }
    uint64_t chunks = (bytes + FMP_LARGE_PAYLOAD_OFF + FMP_CHUNK_BYTES - 1) / FMP_CHUNK_BYTES;
    return FMP_SMALL_CLASSES + fmp_class_of_steps(chunks);
}

/* The shape of class `cls` < FMP_CLASSES. */
struct fmp_class fmp_class_shape(unsigned cls);

#endif

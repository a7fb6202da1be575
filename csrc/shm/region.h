/*
 * A region: one sparse memfd, mapped once. Called by: everything that lives in shared memory.
 *
 * The mapping is made before the first fork, so every descendant has it at the same address; a process that gets the
 * descriptor by other means attaches it anywhere, as nothing in a region is a raw pointer. A region cannot shrink (the
 * kernel refuses: it is sealed), and its header is checked before anything in it is believed. It is told from others
 * by a random token. Nothing has a name in a file system: when the last process is gone, so is the memory.
 */
#ifndef FMP_SHM_REGION_H
#define FMP_SHM_REGION_H

#include <string.h>

#include "base/atomic.h"

#define FMP_REGION_MAGIC UINT64_C(0x31706d7473616600) /* "\0fastmp1" */
#define FMP_REGION_LAYOUT 3u
#define FMP_TOKEN_BYTES 16u
/* Tried first, or half of RLIMIT_AS where that is less, then halved until the kernel agrees (vm.overcommit_memory=2,
 * 39-bit address spaces). */
#define FMP_REGION_SIZE_DEFAULT (UINT64_C(1) << 38)
#define FMP_REGION_SIZE_MIN (UINT64_C(1) << 24)
/* Sizes that nobody asked for are multiples of it. */
#define FMP_REGION_SIZE_STEP (UINT64_C(1) << 20)

#define FMP_PARTICIPANTS_OFF UINT64_C(4096)
/* sync/parking's, between the participants and the heap. */
#define FMP_PARKING_OFF (UINT64_C(1) << 19)
#define FMP_PARKING_BYTES (UINT64_C(1) << 14)
#define FMP_HEAP_OFF (UINT64_C(1) << 20)

/* sync/death's: how the end of a process is told to those who sleep. */
struct fmp_death_shm {
    _Atomic uint32_t word;    /* the futex that the kernel wakes; always 0 */
    _Atomic uint32_t told;    /* counts the deaths that were told; the futex of those who are to hear of them */
    _Atomic uint32_t untold;  /* processes that have joined, and whose end the kernel tells nobody here */
    _Atomic uint64_t last_ns; /* when the last one was told */
};

/* The first page of a region. */
struct fmp_region_shm {
    uint64_t magic;
    uint32_t layout;
    uint32_t header_bytes;
    uint64_t size;
    unsigned char token[FMP_TOKEN_BYTES];   /* which region it is, among all that there ever were */
    FMP_ALIGNED _Atomic uint32_t next_slot; /* participants: where the search for a free slot starts */
    FMP_ALIGNED struct fmp_death_shm death;
    FMP_ALIGNED uint64_t heap_root[32]; /* owned by heap/, as zeroed memory */
};

/* A process's own handle on a region. */
struct fmp_region {
    char *base;
    uint64_t size;
    int fd;
    uint32_t me; /* this process's identity in it (fmp_id), 0 before it has joined */
};

/* Makes a region of `size` bytes, or the largest that can be had below it if `size` is 0. 0 or -errno. */
int fmp_region_create(struct fmp_region *r, uint64_t size);
/* Maps the region behind `fd`, which stays the caller's on failure. -EPROTO if it is none of this layout, or not the
 * one with this token (NULL: any). */
int fmp_region_attach(struct fmp_region *r, int fd, const unsigned char *token);
/* Unmaps and closes. */
void fmp_region_close(struct fmp_region *r);

FMP_INLINE struct fmp_region_shm *
fmp_region_header(const struct fmp_region *r)
{
    return (struct fmp_region_shm *)r->base;
}

FMP_INLINE bool
fmp_region_is(const struct fmp_region *r, const unsigned char *token)
{
    return memcmp(fmp_region_header(r)->token, token, FMP_TOKEN_BYTES) == 0;
}

/* The address of `off`; the caller knows that [off, off+len) lies in the region. */
FMP_INLINE void *
fmp_at(const struct fmp_region *r, fmp_off off)
{
    return r->base + off;
}

FMP_INLINE fmp_off
fmp_off_of(const struct fmp_region *r, const void *p)
{
    return (fmp_off)((const char *)p - r->base);
}

/* Is [off, off+len) inside the region, beyond its header? For offsets that another process wrote. */
FMP_INLINE bool
fmp_region_holds(const struct fmp_region *r, fmp_off off, uint64_t len)
{
    return off >= FMP_PARTICIPANTS_OFF && off <= r->size && len <= r->size - off;
}

#endif

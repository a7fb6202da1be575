/*
 * New objects of many bytes, in huge pages. Called by: wire/{decode,text,flat,pickle,pickle_bytes,writer}.c,
 * py/connection*.c, for what a message brings. With the GIL.
 *
 * malloc maps what is large (from 32 MiB on always, less until it has learnt better) anew each time, and its first user
 * meets a page fault, and waits for a page of zeros, every 4 KiB: that takes five times as long as the copy. In huge
 * pages it is a five-hundredth of the faults. The kernel makes them of memory that no one has used yet when it is asked
 * (unless it is told to make none), so the question comes between malloc and the copy, and only for whole huge pages
 * inside of the object: it takes no more memory. Memory that has been used before is warm, and left as it is.
 */
#ifndef FMP_WIRE_LARGE_H
#define FMP_WIRE_LARGE_H

#include "pyrt/runtime.h"

/* Two huge pages: one of them lies inside, wherever it begins. */
#define FMP_LARGE_BYTES (UINT64_C(1) << 22)

/* To be called for the memory of a new object, before it is filled. */
void fmp_large_expect_many(void *memory, size_t bytes);
FMP_INLINE void
fmp_large_expect(void *memory, size_t bytes)
{
    if (FMP_UNLIKELY(bytes >= FMP_LARGE_BYTES)) {
        fmp_large_expect_many(memory, bytes);
    }
}

/* A new bytes object with a copy of `bytes` of them; NULL with MemoryError. */
PyObject *fmp_large_bytes_many(const void *from, size_t bytes);
FMP_INLINE PyObject *
fmp_large_bytes(const void *from, size_t bytes)
{
    return FMP_LIKELY(bytes < FMP_LARGE_BYTES) ? PyBytes_FromStringAndSize(from, (Py_ssize_t)bytes)
                                               : fmp_large_bytes_many(from, bytes);
}
/* The same, of a bytearray. */
PyObject *fmp_large_bytearray(const void *from, size_t bytes);

#endif

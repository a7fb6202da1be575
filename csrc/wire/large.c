/* New objects of many bytes; see large.h. */
#include "wire/large.h"

#include "base/copy.h"
#include "sys/memory.h"

void
fmp_large_expect_many(void *memory, size_t bytes)
{
    uintptr_t begin = (uintptr_t)memory, end = begin + bytes;
    uintptr_t first = (begin + SYS_HUGE_BYTES - 1) / SYS_HUGE_BYTES * SYS_HUGE_BYTES;
    uintptr_t last = end / SYS_HUGE_BYTES * SYS_HUGE_BYTES;
    /* Python has written to its first and last bytes: what lies between tells whether the memory is new. */
    if (first < last && !sys_is_resident((void *)(first + (last - first) / SYS_HUGE_BYTES / 2 * SYS_HUGE_BYTES))) {
        sys_ask_for_huge_pages((void *)first, last - first);
    }
}

PyObject *
fmp_large_bytes_many(const void *from, size_t bytes)
{
    PyObject *new = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (new != NULL) {
        fmp_large_expect(PyBytes_AS_STRING(new), bytes);
        fmp_copy_many(PyBytes_AS_STRING(new), from, bytes);
    }
    return new;
}

PyObject *
fmp_large_bytearray(const void *from, size_t bytes)
{
    PyObject *new = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (new != NULL && bytes != 0) {
        fmp_large_expect(PyByteArray_AS_STRING(new), bytes);
        fmp_copy_many(PyByteArray_AS_STRING(new), from, bytes);
    }
    return new;
}

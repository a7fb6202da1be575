/*
 * Atomic operations on values; see atomic.h.
 *
 * I1: every operation is acquire-release and pairs with itself in the other processes: what a process wrote before its
 * operation is seen by the one whose operation reads its result.
 */
#include "py/atomic.h"

#include "base/atomic.h"
#include "py/shared.h"

/* A value of any of the four widths, at the same address whatever the byte order. */
union cell {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
};

/* The value's bytes if it is an integer in shared memory; NULL with TypeError set. */
static void *
integer_at(PyObject *self)
{
    struct fmp_shared *s = fmp_shared_of(self);
    if (s->ctype == NULL || !s->ctype->integer) {
        PyErr_SetString(PyExc_TypeError, "atomic operations need an integer made by fastmp's Value or RawValue");
        return NULL;
    }
    return s->data;
}

/* An integer's lowest 64 bits; any object with __index__. */
static int
as_bits(PyObject *x, uint64_t *bits)
{
    PyObject *number = PyNumber_Index(x);
    if (number == NULL) {
        return -1;
    }
    *bits = PyLong_AsUnsignedLongLongMask(number);
    Py_DECREF(number);
    return 0;
}

/* `op` on the word of the type's width at `at`; the old value in `old`. */
#define FMP_EACH_WIDTH(bytes, at, old, op, bits)                    \
    switch (bytes) {                                                \
    case 1:                                                         \
        (old).u8 = op((_Atomic uint8_t *)(at), (uint8_t)(bits));    \
        break;                                                      \
    case 2:                                                         \
        (old).u16 = op((_Atomic uint16_t *)(at), (uint16_t)(bits)); \
        break;                                                      \
    case 4:                                                         \
        (old).u32 = op((_Atomic uint32_t *)(at), (uint32_t)(bits)); \
        break;                                                      \
    default:                                                        \
        (old).u64 = op((_Atomic uint64_t *)(at), (uint64_t)(bits)); \
    }

PyObject *
fmp_atomic_fetch_add(PyObject *self, PyObject *n)
{
    uint64_t bits;
    void *at = integer_at(self);
    if (at == NULL || as_bits(n, &bits) < 0) {
        return NULL;
    }
    const struct fmp_ctype *ctype = fmp_shared_of(self)->ctype;
    union cell old;
    FMP_EACH_WIDTH(ctype->bytes, at, old, fmp_fetch_add_acq_rel, bits) /* I1 */
    return ctype->get(&old);
}

PyObject *
fmp_atomic_exchange(PyObject *self, PyObject *x)
{
    uint64_t bits;
    void *at = integer_at(self);
    if (at == NULL || as_bits(x, &bits) < 0) {
        return NULL;
    }
    const struct fmp_ctype *ctype = fmp_shared_of(self)->ctype;
    union cell old;
    FMP_EACH_WIDTH(ctype->bytes, at, old, fmp_exchange_acq_rel, bits) /* I1 */
    return ctype->get(&old);
}

static bool
compare_exchange(void *at, unsigned bytes, uint64_t expected, uint64_t desired)
{
    union cell e;
    switch (bytes) {
    case 1:
        e.u8 = (uint8_t)expected;
        return fmp_cas_acq_rel((_Atomic uint8_t *)at, &e.u8, (uint8_t)desired); /* I1 */
    case 2:
        e.u16 = (uint16_t)expected;
        return fmp_cas_acq_rel((_Atomic uint16_t *)at, &e.u16, (uint16_t)desired); /* I1 */
    case 4:
        e.u32 = (uint32_t)expected;
        return fmp_cas_acq_rel((_Atomic uint32_t *)at, &e.u32, (uint32_t)desired); /* I1 */
    default:
        e.u64 = expected;
        return fmp_cas_acq_rel((_Atomic uint64_t *)at, &e.u64, desired); /* I1 */
    }
}

PyObject *
fmp_atomic_compare_exchange(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "compare_exchange() takes 2 arguments (%zd given)", nargs);
        return NULL;
    }
    uint64_t expected, desired;
    void *at = integer_at(self);
    if (at == NULL || as_bits(args[0], &expected) < 0 || as_bits(args[1], &desired) < 0) {
        return NULL;
    }
    return PyBool_FromLong(compare_exchange(at, fmp_shared_of(self)->ctype->bytes, expected, desired));
}

/*
 * Atomic operations on values; see atomic.h.
 *
 * A read-modify-write is always sequentially consistent, whichever order is asked for: an order is the least that the
 * caller gets, and beside the call from Python the difference is nothing. Loads and stores have the order asked for, as
 * there the strongest one costs a fence.
 *
 * I1: every read-modify-write, seq_cst, pairs with itself in the other processes: what a process wrote before its
 * operation is seen by the one whose operation reads its result.
 * I2: load, acquire or seq_cst if asked for, pairs with I1 and I3.
 * I3: store, release or seq_cst if asked for, pairs with I1 and I2.
 */
#include "py/atomic.h"

#include <limits.h>

#include "base/atomic.h"
#include "py/args.h"
#include "pyrt/wait.h"
#include "sync/parking.h"

/* ---- the machine's half: words of 1, 2, 4 and 8 bytes ---- */

typedef uint64_t (*rmw_fn)(void *at, unsigned bytes, uint64_t bits);

#define FMP_RMW(name, op)                                         \
    static uint64_t name(void *at, unsigned bytes, uint64_t bits) \
    {                                                             \
        switch (bytes) {                                          \
        case 1:                                                   \
            return op((_Atomic uint8_t *)at, (uint8_t)bits);      \
        case 2:                                                   \
            return op((_Atomic uint16_t *)at, (uint16_t)bits);    \
        case 4:                                                   \
            return op((_Atomic uint32_t *)at, (uint32_t)bits);    \
        default:                                                  \
            return op((_Atomic uint64_t *)at, bits);              \
        }                                                         \
    }

FMP_RMW(add, fmp_fetch_add_seq_cst)
FMP_RMW(subtract, fmp_fetch_sub_seq_cst)
FMP_RMW(or_with, fmp_fetch_or_seq_cst)
FMP_RMW(and_with, fmp_fetch_and_seq_cst)
FMP_RMW(xor_with, fmp_fetch_xor_seq_cst)
FMP_RMW(swap, fmp_exchange_seq_cst)

#define FMP_LOAD(name, op)                         \
    static uint64_t name(void *at, unsigned bytes) \
    {                                              \
        switch (bytes) {                           \
        case 1:                                    \
            return op((_Atomic uint8_t *)at);      \
        case 2:                                    \
            return op((_Atomic uint16_t *)at);     \
        case 4:                                    \
            return op((_Atomic uint32_t *)at);     \
        default:                                   \
            return op((_Atomic uint64_t *)at);     \
        }                                          \
    }

FMP_LOAD(load_relaxed, fmp_load_relaxed)
FMP_LOAD(load_acquire, fmp_load_acquire)
FMP_LOAD(load_seq_cst, fmp_load_seq_cst)

#define FMP_STORE(name, op)                                   \
    static void name(void *at, unsigned bytes, uint64_t bits) \
    {                                                         \
        switch (bytes) {                                      \
        case 1:                                               \
            op((_Atomic uint8_t *)at, (uint8_t)bits);         \
            break;                                            \
        case 2:                                               \
            op((_Atomic uint16_t *)at, (uint16_t)bits);       \
            break;                                            \
        case 4:                                               \
            op((_Atomic uint32_t *)at, (uint32_t)bits);       \
            break;                                            \
        default:                                              \
            op((_Atomic uint64_t *)at, bits);                 \
        }                                                     \
    }

FMP_STORE(store_relaxed, fmp_store_relaxed)
FMP_STORE(store_release, fmp_store_release)
FMP_STORE(store_seq_cst, fmp_store_seq_cst)

static bool
swap_if(void *at, unsigned bytes, uint64_t expected, uint64_t desired)
{
    uint8_t e8 = (uint8_t)expected;
    uint16_t e16 = (uint16_t)expected;
    uint32_t e32 = (uint32_t)expected;
    switch (bytes) {
    case 1:
        return fmp_cas_seq_cst((_Atomic uint8_t *)at, &e8, (uint8_t)desired); /* I1 */
    case 2:
        return fmp_cas_seq_cst((_Atomic uint16_t *)at, &e16, (uint16_t)desired); /* I1 */
    case 4:
        return fmp_cas_seq_cst((_Atomic uint32_t *)at, &e32, (uint32_t)desired); /* I1 */
    default:
        return fmp_cas_seq_cst((_Atomic uint64_t *)at, &expected, desired); /* I1 */
    }
}

static uint64_t
cut(uint64_t bits, unsigned bytes)
{
    return bytes < 8 ? bits & ((UINT64_C(1) << 8 * bytes) - 1) : bits;
}

/* ---- Python's half: arguments and results ---- */

/* Consume is acquire, as compilers have it. */
enum order { RELAXED, CONSUME, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST };
static const char *const order_names[] = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};

#define FOR_LOADS (1u << RELAXED | 1u << CONSUME | 1u << ACQUIRE | 1u << SEQ_CST)
#define FOR_STORES (1u << RELAXED | 1u << RELEASE | 1u << SEQ_CST)
#define FOR_ALL (FOR_LOADS | FOR_STORES | 1u << ACQ_REL)

/* The order named, SEQ_CST if none is; -1 with ValueError if there is no such order or the operation cannot have it. */
static int
order_of(const char *operation, PyObject *name, unsigned allowed)
{
    if (name == NULL) {
        return SEQ_CST;
    }
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "a memory order is a str, not %.200s", Py_TYPE(name)->tp_name);
        return -1;
    }
    for (int i = RELAXED; i <= SEQ_CST; i++) {
        if (PyUnicode_CompareWithASCIIString(name, order_names[i]) == 0) {
            if ((allowed & 1u << i) != 0) {
                return i;
            }
            PyErr_Format(PyExc_ValueError, "%s() cannot have the memory order '%s'", operation, order_names[i]);
            return -1;
        }
    }
    PyErr_Format(PyExc_ValueError, "no memory order is called %R", name);
    return -1;
}

/* The lowest 64 bits of any object with __index__; of a bool's argument whether it is true. */
static int
as_bits(const struct fmp_word *word, PyObject *x, uint64_t *bits)
{
    if (word->ctype->code == '?') {
        int truth = PyObject_IsTrue(x);
        *bits = truth > 0;
        return truth < 0 ? -1 : 0;
    }
    PyObject *number = PyNumber_Index(x);
    if (number == NULL) {
        return -1;
    }
    *bits = PyLong_AsUnsignedLongLongMask(number);
    Py_DECREF(number);
    return 0;
}

static PyObject *
as_object(const struct fmp_word *word, uint64_t bits)
{
    union {
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
    } cell;
    switch (word->ctype->bytes) {
    case 1:
        cell.u8 = (uint8_t)bits;
        break;
    case 2:
        cell.u16 = (uint16_t)bits;
        break;
    case 4:
        cell.u32 = (uint32_t)bits;
        break;
    default:
        cell.u64 = bits;
    }
    return word->ctype->get(&cell);
}

struct call {
    fmp_word_fn word_of;
    PyObject *self;
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;
};

/* `name`(x, order="seq_cst"): the old value. */
static PyObject *
read_modify_write(const char *name, rmw_fn operation, const struct call *c)
{
    static const char *const names[] = {"x", "order"};
    PyObject *a[2] = {c->nargs == 1 ? c->args[0] : NULL, NULL};
    bool plain = c->nargs == 1 && c->kwnames == NULL;
    struct fmp_word word;
    uint64_t bits;
    if (FMP_UNLIKELY(!plain) && fmp_py_args(name, names, 2, 1, c->args, c->nargs, c->kwnames, a) < 0) {
        return NULL;
    }
    if (c->word_of(c->self, &word) < 0 || order_of(name, a[1], FOR_ALL) < 0 || as_bits(&word, a[0], &bits) < 0) {
        return NULL;
    }
    if (FMP_UNLIKELY((operation == add || operation == subtract) && word.ctype->code == '?')) {
        PyErr_Format(PyExc_TypeError, "a bool has no %s()", name);
        return NULL;
    }
    return as_object(&word, operation(word.at, word.ctype->bytes, bits)); /* I1 */
}

#define FMP_RMW_METHOD(name, operation, doc)                                                                  \
    const char fmp_atomic_##name##_doc[] = #name "($self, /, x, order='seq_cst')\n--\n\n" doc;                \
    PyObject *fmp_atomic_##name(fmp_word_fn word_of, PyObject *self, PyObject *const *args, Py_ssize_t nargs, \
                                PyObject *kwnames)                                                            \
    {                                                                                                         \
        const struct call c = {word_of, self, args, nargs, kwnames};                                          \
        return read_modify_write(#name, operation, &c);                                                       \
    }

#define ONE_STEP "in one indivisible step, without a lock; the value before it."
FMP_RMW_METHOD(fetch_add, add, "Add x " ONE_STEP " It wraps as the C type does.")
FMP_RMW_METHOD(fetch_sub, subtract, "Subtract x " ONE_STEP " It wraps as the C type does.")
FMP_RMW_METHOD(fetch_or, or_with, "Set the bits of x " ONE_STEP)
FMP_RMW_METHOD(fetch_and, and_with, "Keep the bits of x only " ONE_STEP)
FMP_RMW_METHOD(fetch_xor, xor_with, "Turn the bits of x over " ONE_STEP)
FMP_RMW_METHOD(exchange, swap, "Store x " ONE_STEP)

const char fmp_atomic_compare_exchange_doc[] =
    "compare_exchange($self, /, expected, desired, order='seq_cst', failure=None)\n--\n\n"
    "Store desired if the value is expected, in one indivisible step, without a lock.\n\n"
    ":param failure: the order of the load where it is not; by default what `order` leaves for a load\n"
    ":returns: whether it was stored";

PyObject *
fmp_atomic_compare_exchange(fmp_word_fn word_of, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    static const char name[] = "compare_exchange";
    static const char *const names[] = {"expected", "desired", "order", "failure"};
    PyObject *a[4];
    struct fmp_word word;
    uint64_t expected, desired;
    if (fmp_py_args(name, names, 4, 2, args, nargs, kwnames, a) < 0 || word_of(self, &word) < 0 ||
        order_of(name, a[2], FOR_ALL) < 0 || order_of(name, a[3] != Py_None ? a[3] : NULL, FOR_LOADS) < 0 ||
        as_bits(&word, a[0], &expected) < 0 || as_bits(&word, a[1], &desired) < 0) {
        return NULL;
    }
    return PyBool_FromLong(swap_if(word.at, word.ctype->bytes, expected, desired)); /* I1 */
}

const char fmp_atomic_load_doc[] = "load($self, /, order='seq_cst')\n--\n\nThe value, without a lock.";

PyObject *
fmp_atomic_load(fmp_word_fn word_of, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"order"};
    PyObject *a[1];
    struct fmp_word word;
    int order;
    if (fmp_py_args("load", names, 1, 0, args, nargs, kwnames, a) < 0 || word_of(self, &word) < 0 ||
        (order = order_of("load", a[0], FOR_LOADS)) < 0) {
        return NULL;
    }
    uint64_t (*load)(void *, unsigned) = order == RELAXED                       ? load_relaxed
                                         : order == CONSUME || order == ACQUIRE ? load_acquire
                                                                                : load_seq_cst;
    return as_object(&word, load(word.at, word.ctype->bytes)); /* I2 */
}

const char fmp_atomic_store_doc[] = "store($self, /, x, order='seq_cst')\n--\n\nStore x, without a lock.";

PyObject *
fmp_atomic_store(fmp_word_fn word_of, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"x", "order"};
    PyObject *a[2];
    struct fmp_word word;
    uint64_t bits;
    int order;
    if (fmp_py_args("store", names, 2, 1, args, nargs, kwnames, a) < 0 || word_of(self, &word) < 0 ||
        (order = order_of("store", a[1], FOR_STORES)) < 0 || as_bits(&word, a[0], &bits) < 0) {
        return NULL;
    }
    void (*store)(void *, unsigned, uint64_t) = order == RELAXED   ? store_relaxed
                                                : order == RELEASE ? store_release
                                                                   : store_seq_cst;
    store(word.at, word.ctype->bytes, bits); /* I3 */
    Py_RETURN_NONE;
}

/* ---- waiting ---- */

/* The space around a word: it lies in one. NULL with an exception set. */
static struct fmp_space *
space_around(const struct fmp_word *word)
{
    struct fmp_space *space = fmp_space_around(word->at, word->ctype->bytes);
    if (space == NULL) {
        PyErr_SetString(PyExc_TypeError, "this does not lie in fastmp's shared memory: nobody can wait for it");
    }
    return space;
}

struct wait {
    const struct fmp_word *word;
    uint64_t expected;
};

static bool
has_changed(void *ctx)
{
    struct wait *w = ctx;
    return load_acquire(w->word->at, w->word->ctype->bytes) != w->expected; /* I2 */
}

const char fmp_atomic_wait_doc[] =
    "wait($self, /, expected, timeout=None)\n--\n\n"
    "Wait until the value is another than `expected`, at most `timeout` seconds.\n\n"
    "Who changes it calls `notify`; a change without that is noticed within a second.\n\n"
    ":returns: whether it is another";

PyObject *
fmp_atomic_wait(fmp_word_fn word_of, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"expected", "timeout"};
    PyObject *a[2];
    struct fmp_word word;
    uint64_t expected, deadline_ns;
    if (fmp_py_args("wait", names, 2, 1, args, nargs, kwnames, a) < 0 || word_of(self, &word) < 0 ||
        as_bits(&word, a[0], &expected) < 0 || fmp_py_deadline(a[1], &deadline_ns) < 0) {
        return NULL;
    }
    struct fmp_space *space = space_around(&word);
    if (space == NULL) {
        return NULL;
    }
    struct wait w = {.word = &word, .expected = cut(expected, word.ctype->bytes)};
    static _Thread_local struct fmp_spin spin; /* of all words: there is no place of their own */
    struct fmp_ec_shm *ec = fmp_parking_enter(&space->region, fmp_off_of(&space->region, word.at));
    Py_INCREF(self); /* the memory stays, whatever another thread drops meanwhile */
    int rc = fmp_py_await(ec, has_changed, &w, deadline_ns, &spin);
    Py_DECREF(self);
    return rc == FMP_PY_ERROR ? NULL : PyBool_FromLong(rc == FMP_PY_READY);
}

const char fmp_atomic_notify_doc[] = "notify($self, /, n=1)\n--\n\n"
                                     "After a change of the value: wake `n` of those who wait for it (None: all). More "
                                     "may be woken; who finds the value he expected waits on.";

PyObject *
fmp_atomic_notify(fmp_word_fn word_of, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"n"};
    PyObject *a[1];
    struct fmp_word word;
    if (fmp_py_args("notify", names, 1, 0, args, nargs, kwnames, a) < 0 || word_of(self, &word) < 0) {
        return NULL;
    }
    Py_ssize_t n = a[0] == NULL ? 1 : a[0] == Py_None ? INT_MAX : PyNumber_AsSsize_t(a[0], PyExc_OverflowError);
    if (n < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "notify() needs a number of at least 0");
        }
        return NULL;
    }
    struct fmp_space *space = space_around(&word);
    if (space == NULL) {
        return NULL;
    }
    if (n > 0) {
        fmp_parking_notify(&space->region, fmp_off_of(&space->region, word.at), n < INT_MAX ? (int)n : INT_MAX);
    }
    Py_RETURN_NONE;
}

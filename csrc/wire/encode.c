/*
 * The fast path: plain objects to bytes. Called by: conn/ and pool/ through fmp_wire_encode.
 *
 * No Python code runs here and the GIL is held, so nothing changes under our hands. The path steps aside for pickle
 * wherever it would deliver something else: another type, too deep, or a tuple, list or dict that occurs a second time,
 * which pickle would memoize.
 *
 * It memoizes str and bytes as well. These, the leaves, get numbers and are referred to, but only in a message where
 * one has occurred a second time: it is begun again then. So others pay nothing for it, neither here nor where they are
 * read.
 */
#include "wire/encode.h"
#include "wire/flat.h"

/* PUT_REPEATED: a leaf occurs a second time, and leaves have no numbers yet. */
enum { PUT_OK = 0, PUT_ERROR = -1, PUT_ASIDE = FMP_WIRE_NOT_PLAIN, PUT_REPEATED = 2 };

static int put_value(struct fmp_wire_writer *w, PyObject *o, int depth);

static FMP_COLD int
no_memory(void)
{
    PyErr_NoMemory();
    return PUT_ERROR;
}

/*
 * PUT_ASIDE if the container `o` has been met before. With a single reference, the one we came by, it cannot be met
 * twice: most objects of a message are new ones, and cost nothing here.
 */
FMP_INLINE int
meet(struct fmp_wire_writer *w, PyObject *o)
{
    int rc = Py_REFCNT(o) == 1 ? FMP_SEEN_NEW : fmp_seen_add(&w->seen, o);
    return FMP_LIKELY(rc == FMP_SEEN_NEW) ? PUT_OK : rc < 0 ? no_memory() : PUT_ASIDE;
}

/* The same for a leaf. What is not FMP_SEEN_NEW is put_met_leaf's. */
FMP_INLINE int
meet_leaf(struct fmp_wire_writer *w, PyObject *o)
{
    return Py_REFCNT(o) == 1 ? FMP_SEEN_NEW : fmp_seen_add_leaf(&w->seen, o);
}

/* The number of bytes that hold `v` is 1 << form. */
FMP_INLINE enum fmp_wire_form
int_form(int64_t v)
{
    if (v == (int8_t)v) {
        return FMP_FORM_INT8;
    }
    if (v == (int16_t)v) {
        return FMP_FORM_INT16;
    }
    return v == (int32_t)v ? FMP_FORM_INT32 : FMP_FORM_INT64;
}

/* An int beyond int64: as uint64 if it is one, else pickle's. */
static FMP_COLD int
put_large_int(struct fmp_wire_writer *w, PyObject *o)
{
    uint64_t v = PyLong_AsUnsignedLong(o);
    if (v == UINT64_MAX && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return PUT_ERROR;
        }
        PyErr_Clear();
        return PUT_ASIDE;
    }
    fmp_writer_byte(w, FMP_TAG_UINT64);
    fmp_writer_copy(w, &v, sizeof v);
    return PUT_OK;
}

static int
put_int(struct fmp_wire_writer *w, PyObject *o)
{
    int overflow;
    int64_t v = PyLong_AsLongAndOverflow(o, &overflow);
    if (FMP_UNLIKELY(overflow != 0)) {
        return overflow < 0 ? PUT_ASIDE : put_large_int(w, o);
    }
    if (v >= FMP_SMALL_INT_MIN && v <= FMP_SMALL_INT_MAX) {
        fmp_writer_byte(w, (unsigned char)(v + FMP_TAG_INT_ZERO));
        return PUT_OK;
    }
    enum fmp_wire_form form = int_form(v);
    fmp_writer_byte(w, (unsigned char)(FMP_TAG_INT8 + form));
    memcpy(w->next, &v, sizeof v); /* there is room for all eight; those that count come first */
    w->next += (size_t)1 << form;
    return PUT_OK;
}

static int
put_float(struct fmp_wire_writer *w, PyObject *o)
{
    double v = PyFloat_AS_DOUBLE(o);
    fmp_writer_byte(w, FMP_TAG_FLOAT);
    fmp_writer_copy(w, &v, sizeof v);
    return PUT_OK;
}

/* The memory of `o`, tagged: copied if it is small, else named. */
FMP_INLINE int
put_leaf(struct fmp_wire_writer *w, PyObject *o, unsigned char tag, uint64_t size, const void *data, size_t bytes)
{
    fmp_writer_tag_size(w, tag, size);
    if (FMP_UNLIKELY(bytes >= FMP_WIRE_LEAF_MIN)) {
        return fmp_writer_add_leaf(w, o, data, bytes);
    }
    if (fmp_writer_room(w, bytes) < 0) {
        return PUT_ERROR;
    }
    fmp_copy(w->next, data, bytes);
    w->next += bytes;
    return PUT_OK;
}

static int
put_reference(struct fmp_wire_writer *w, size_t number)
{
    if (fmp_writer_room(w, FMP_TAG_ROOM) < 0) {
        return PUT_ERROR;
    }
    if (number < FMP_REFS_SHORT) {
        fmp_writer_byte(w, (unsigned char)(FMP_TAG_REF + number));
        return PUT_OK;
    }
    if (number > UINT32_MAX) {
        return PUT_ASIDE;
    }
    uint32_t n = (uint32_t)number;
    fmp_writer_byte(w, FMP_TAG_REF32);
    fmp_writer_copy(w, &n, sizeof n);
    return PUT_OK;
}

/* The two that follow: `memo` is 0, or FMP_TAG_MEMO for a leaf that has been given a number. */
static int
put_whole_str(struct fmp_wire_writer *w, PyObject *o, unsigned char memo)
{
    if (fmp_writer_room(w, FMP_TAG_ROOM) < 0) {
        return PUT_ERROR;
    }
    size_t n = (size_t)PyUnicode_GET_LENGTH(o), kind = PyUnicode_KIND(o);
    unsigned char tag = PyUnicode_IS_ASCII(o)          ? FMP_TAG_ASCII
                        : kind == PyUnicode_1BYTE_KIND ? FMP_TAG_UCS1
                        : kind == PyUnicode_2BYTE_KIND ? FMP_TAG_UCS2
                                                       : FMP_TAG_UCS4;
    return put_leaf(w, o, memo | tag, n, PyUnicode_DATA(o), n * kind);
}

FMP_INLINE int
put_whole_bytes(struct fmp_wire_writer *w, PyObject *o, unsigned char memo)
{
    size_t n = (size_t)PyBytes_GET_SIZE(o);
    return put_leaf(w, o, memo | FMP_TAG_BYTES, n, PyBytes_AS_STRING(o), n);
}

/* A leaf that is not just FMP_SEEN_NEW. */
static int
put_met_leaf(struct fmp_wire_writer *w, PyObject *o, int met)
{
    switch (met) {
    case FMP_SEEN_BEFORE:
        return PUT_REPEATED;
    case FMP_SEEN_AGAIN:
        return put_reference(w, w->seen.again);
    case FMP_SEEN_NUMBERED:
        return PyBytes_CheckExact(o) ? put_whole_bytes(w, o, FMP_TAG_MEMO) : put_whole_str(w, o, FMP_TAG_MEMO);
    default:
        return no_memory();
    }
}

/* Most texts: short ASCII ones, with no look at what else a str may be. */
FMP_INLINE int
put_short_ascii(struct fmp_wire_writer *w, PyObject *o, size_t n)
{
    int met = n <= 1 ? FMP_SEEN_NEW : meet_leaf(w, o);
    if (FMP_UNLIKELY(met != FMP_SEEN_NEW || fmp_writer_room(w, FMP_TAG_ROOM + n) < 0)) {
        return met != FMP_SEEN_NEW ? put_met_leaf(w, o, met) : PUT_ERROR;
    }
    fmp_writer_byte(w, FMP_TAG_ASCII);
    fmp_writer_byte(w, (unsigned char)n);
    fmp_copy(w->next, PyUnicode_DATA(o), n);
    w->next += n;
    return PUT_OK;
}

/* A leaf that CPython itself never has twice is no shared reference. */
static int
put_any_str(struct fmp_wire_writer *w, PyObject *o)
{
#if PY_VERSION_HEX < 0x030C0000
    if (!PyUnicode_IS_READY(o)) {
        return PUT_ASIDE;
    }
#endif
    bool singleton = PyUnicode_GET_LENGTH(o) <= 1 && PyUnicode_KIND(o) == PyUnicode_1BYTE_KIND;
    int met = singleton ? FMP_SEEN_NEW : meet_leaf(w, o);
    return met == FMP_SEEN_NEW ? put_whole_str(w, o, 0) : put_met_leaf(w, o, met);
}

/* There need be no room yet. */
FMP_INLINE int
put_str(struct fmp_wire_writer *w, PyObject *o)
{
    if (FMP_LIKELY(PyUnicode_IS_COMPACT_ASCII(o)) && PyUnicode_GET_LENGTH(o) < FMP_SIZE_LONG) {
        return put_short_ascii(w, o, (size_t)PyUnicode_GET_LENGTH(o));
    }
    return put_any_str(w, o);
}

FMP_INLINE int
put_bytes(struct fmp_wire_writer *w, PyObject *o)
{
    int met = PyBytes_GET_SIZE(o) <= 1 ? FMP_SEEN_NEW : meet_leaf(w, o);
    return FMP_LIKELY(met == FMP_SEEN_NEW) ? put_whole_bytes(w, o, 0) : put_met_leaf(w, o, met);
}

/* Writes `n` ints as int64; PUT_ASIDE, with nothing written, if there is anything else among them. `form` is the widest
 * that is needed. */
static int
gather_ints(struct fmp_wire_writer *w, PyObject *const *items, size_t n, enum fmp_wire_form *form)
{
    unsigned char *to = w->next;
    int64_t all = 0;
    for (size_t i = 0; i < n; i++) {
        int overflow = 1;
        int64_t v = PyLong_CheckExact(items[i]) ? PyLong_AsLongAndOverflow(items[i], &overflow) : 0;
        if (FMP_UNLIKELY(overflow != 0)) {
            return PUT_ASIDE;
        }
        all |= v ^ (v >> 63); /* the sign taken off: the widest has the highest bit */
        memcpy(to + i * sizeof v, &v, sizeof v);
    }
    *form = int_form(all);
    return PUT_OK;
}

/* Packs `n` int64 in place into the low 1 << form bytes of each. */
static void
narrow(unsigned char *p, size_t n, enum fmp_wire_form form)
{
    for (size_t i = 0; i < n; i++) {
        int64_t v;
        memcpy(&v, p + i * sizeof v, sizeof v);
        switch (form) {
        case FMP_FORM_INT8: {
            p[i] = (unsigned char)v;
            break;
        }
        case FMP_FORM_INT16: {
            int16_t narrow = (int16_t)v;
            memcpy(p + i * sizeof narrow, &narrow, sizeof narrow);
            break;
        }
        default: {
            int32_t narrow = (int32_t)v;
            memcpy(p + i * sizeof narrow, &narrow, sizeof narrow);
            break;
        }
        }
    }
}

static int
gather_floats(struct fmp_wire_writer *w, PyObject *const *items, size_t n)
{
    unsigned char *to = w->next;
    for (size_t i = 0; i < n; i++) {
        if (!PyFloat_CheckExact(items[i])) {
            return PUT_ASIDE;
        }
        double v = PyFloat_AS_DOUBLE(items[i]);
        memcpy(to + i * sizeof v, &v, sizeof v);
    }
    return PUT_OK;
}

/* A run of ints or of floats, or PUT_ASIDE with nothing written. */
static int
put_run(struct fmp_wire_writer *w, PyObject *const *items, size_t n, unsigned char tag)
{
    bool ints = PyLong_CheckExact(items[0]);
    if (!ints && !PyFloat_CheckExact(items[0])) {
        return PUT_ASIDE;
    }
    if (fmp_writer_room(w, FMP_TAG_ROOM + n * 8) < 0) {
        return PUT_ERROR;
    }
    unsigned char *before = w->next;
    enum fmp_wire_form form = FMP_FORM_DOUBLE;
    fmp_writer_tag_size(w, tag, n);
    int rc = ints ? gather_ints(w, items, n, &form) : gather_floats(w, items, n);
    if (rc != PUT_OK) {
        w->next = before;
        return rc;
    }
    *before |= (unsigned char)form;
    if (form < FMP_FORM_INT64) {
        narrow(w->next, n, form);
    }
    w->next += form == FMP_FORM_DOUBLE ? n * 8 : n << form;
    return PUT_OK;
}

static int
put_items(struct fmp_wire_writer *w, PyObject *const *items, size_t n, bool is_tuple, int depth)
{
    if (n >= FMP_RUN_MIN) {
        int rc = put_run(w, items, n, is_tuple ? FMP_TAG_RUN | FMP_TAG_RUN_TUPLE : FMP_TAG_RUN);
        if (rc != PUT_ASIDE) {
            return rc;
        }
    }
    fmp_writer_tag_size(w, is_tuple ? FMP_TAG_TUPLE : FMP_TAG_LIST, n);
    for (size_t i = 0; i < n; i++) {
        int rc = put_value(w, items[i], depth + 1);
        if (rc != PUT_OK) {
            return rc;
        }
    }
    return PUT_OK;
}

static int
put_sequence(struct fmp_wire_writer *w, PyObject *o, bool is_tuple, int depth)
{
    size_t n = (size_t)Py_SIZE(o);
    if (is_tuple && n == 0) {
        fmp_writer_tag_size(w, FMP_TAG_TUPLE, 0);
        return PUT_OK;
    }
    int rc = depth < FMP_WIRE_DEPTH ? meet(w, o) : PUT_ASIDE;
    return rc != PUT_OK ? rc : put_items(w, PySequence_Fast_ITEMS(o), n, is_tuple, depth);
}

static int
put_dict(struct fmp_wire_writer *w, PyObject *o, int depth)
{
    int rc = depth < FMP_WIRE_DEPTH ? meet(w, o) : PUT_ASIDE;
    if (rc != PUT_OK) {
        return rc;
    }
    fmp_writer_tag_size(w, FMP_TAG_DICT, (uint64_t)PyDict_GET_SIZE(o));
    PyObject *key, *value;
    Py_ssize_t at = 0;
    for (Py_ssize_t left = PyDict_GET_SIZE(o); left > 0 && PyDict_Next(o, &at, &key, &value); left--) {
        rc = PyUnicode_CheckExact(key) ? put_str(w, key) : put_value(w, key, depth + 1);
        if (FMP_LIKELY(rc == PUT_OK)) {
            rc = put_value(w, value, depth + 1);
        }
        if (rc != PUT_OK) {
            return rc;
        }
    }
    return PUT_OK;
}

static int
put_other(struct fmp_wire_writer *w, PyObject *o)
{
    int rc = fmp_flat_is(o) ? meet(w, o) : PUT_ASIDE;
    return rc != PUT_OK ? rc : fmp_flat_put(w, o);
}

static int
put_constant(struct fmp_wire_writer *w, PyObject *o)
{
    if (o != Py_None && o != Py_True && o != Py_False) {
        return put_other(w, o);
    }
    fmp_writer_byte(w, o == Py_None ? FMP_TAG_NONE : o == Py_True ? FMP_TAG_TRUE : FMP_TAG_FALSE);
    return PUT_OK;
}

static int
put_value(struct fmp_wire_writer *w, PyObject *o, int depth)
{
    if (fmp_writer_room(w, FMP_TAG_ROOM) < 0) {
        return PUT_ERROR;
    }
    PyTypeObject *type = Py_TYPE(o);
    if (type == &PyLong_Type) {
        return put_int(w, o);
    }
    if (type == &PyUnicode_Type) {
        return put_str(w, o);
    }
    if (type == &PyFloat_Type) {
        return put_float(w, o);
    }
    if (type == &PyTuple_Type || type == &PyList_Type) {
        return put_sequence(w, o, type == &PyTuple_Type, depth);
    }
    if (type == &PyBytes_Type) {
        return put_bytes(w, o);
    }
    return type == &PyDict_Type ? put_dict(w, o, depth) : put_constant(w, o);
}

/* From here to fmp_seen_number(.., false) the message is put from its beginning, with leaves that are referred to. */
static void
begin_with_references(struct fmp_wire_writer *w)
{
    fmp_writer_clear(w);
    fmp_seen_number(&w->seen, true);
}

/* What is not just PUT_OK. */
static int
put_otherwise(struct fmp_wire_writer *w, PyObject *obj, int rc)
{
    if (rc == PUT_REPEATED) {
        begin_with_references(w);
        rc = put_value(w, obj, 0);
        fmp_seen_number(&w->seen, false);
    }
    if (rc == PUT_ASIDE) {
        fmp_writer_clear(w);
        rc = fmp_wire_pickle(w, obj);
    }
    if (rc < 0) {
        fmp_wire_reset(w);
    }
    return rc;
}

/* The writer is busy from now on: 0, or -1 with an exception set. */
static int
begin(struct fmp_wire_writer *w)
{
    if (w->busy) {
        PyErr_SetString(PyExc_RuntimeError, "the writer holds a message already");
        return -1;
    }
    w->busy = true;
    return 0;
}

int
fmp_wire_encode(struct fmp_wire_writer *w, PyObject *obj)
{
    if (begin(w) < 0) {
        return -1;
    }
    int rc = put_value(w, obj, 0);
    return FMP_LIKELY(rc == PUT_OK) ? 0 : put_otherwise(w, obj, rc);
}

static int
put_list(struct fmp_wire_writer *w, PyObject *const *items, size_t n)
{
    return fmp_writer_room(w, FMP_TAG_ROOM) < 0 ? PUT_ERROR : put_items(w, items, n, false, 0);
}

int
fmp_wire_encode_items(struct fmp_wire_writer *w, PyObject *const *items, size_t n)
{
    if (begin(w) < 0) {
        return -1;
    }
    int rc = put_list(w, items, n);
    if (rc == PUT_REPEATED) {
        begin_with_references(w);
        rc = put_list(w, items, n);
        fmp_seen_number(&w->seen, false);
    }
    if (rc != PUT_OK) {
        fmp_wire_reset(w);
    }
    return rc;
}

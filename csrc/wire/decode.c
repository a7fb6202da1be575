/*
 * Bytes back to objects. Called by: conn/ and pool/ through fmp_wire_decode and fmp_wire_decode_block.
 *
 * The bytes may be damaged: whoever wrote them may be any process of the tree. Nothing is read beyond `end`, nothing is
 * allocated for a size before it has been compared with what is left, nesting is bounded, a str is looked through
 * before it is believed to be of its kind, and a reference leads to what this message has given a number. They may also
 * change meanwhile: what is checked is read once before, sizes and tags into locals, a text into the new str.
 */
#include "wire/flat.h"
#include "wire/keys.h"
#include "wire/large.h"
#include "wire/memo.h"
#include "wire/reader.h"
#include "wire/text.h"

PyObject *
fmp_wire_damaged(const char *what)
{
    PyObject *pickle = PyImport_ImportModule("_pickle");
    PyObject *error = pickle ? PyObject_GetAttrString(pickle, "UnpicklingError") : NULL;
    if (error != NULL) {
        PyErr_Format(error, "damaged message: %s", what);
    }
    Py_XDECREF(error);
    Py_XDECREF(pickle);
    return NULL;
}

static PyObject *
get_int(struct fmp_reader *r, enum fmp_wire_form form)
{
    const unsigned char *p = fmp_take(r, (size_t)1 << form);
    return p == NULL ? NULL : PyLong_FromLong(fmp_int_at(p, form));
}

static PyObject *
get_uint64(struct fmp_reader *r)
{
    uint64_t v;
    const unsigned char *p = fmp_take(r, sizeof v);
    if (p == NULL) {
        return NULL;
    }
    memcpy(&v, p, sizeof v);
    return PyLong_FromUnsignedLong(v);
}

static PyObject *
get_float(struct fmp_reader *r)
{
    double v;
    const unsigned char *p = fmp_take(r, sizeof v);
    if (p == NULL) {
        return NULL;
    }
    memcpy(&v, p, sizeof v);
    return PyFloat_FromDouble(v);
}

FMP_INLINE PyObject *
get_bytes(struct fmp_reader *r)
{
    size_t n;
    if (fmp_take_size(r, 1, &n) < 0) {
        return NULL;
    }
    return fmp_large_bytes(fmp_take(r, n), n);
}

FMP_INLINE PyObject *
get_ascii(struct fmp_reader *r)
{
    size_t n;
    if (fmp_take_size(r, 1, &n) < 0) {
        return NULL;
    }
    return fmp_wire_ascii(fmp_take(r, n), n);
}

/* A str whose widest character needs `kind` bytes, and is no ASCII. */
static PyObject *
get_wide(struct fmp_reader *r, size_t kind)
{
    size_t n;
    if (fmp_take_size(r, kind, &n) < 0) {
        return NULL;
    }
    return fmp_wire_wide(fmp_take(r, n * kind), n, kind);
}

/* A new leaf, or NULL with an exception set, gets the next number. */
static PyObject *
remember(struct fmp_reader *r, PyObject *leaf)
{
    if (leaf != NULL && FMP_UNLIKELY(fmp_memo_add(&r->memo, leaf) < 0)) {
        Py_CLEAR(leaf);
    }
    return leaf;
}

static PyObject *
get_reference(struct fmp_reader *r, size_t number)
{
    PyObject *leaf = fmp_memo_find(&r->memo, number);
    return FMP_LIKELY(leaf != NULL) ? leaf : fmp_wire_damaged("a reference to nothing before it");
}

static PyObject *
get_far_reference(struct fmp_reader *r)
{
    uint32_t number;
    const unsigned char *p = fmp_take(r, sizeof number);
    if (p == NULL) {
        return NULL;
    }
    memcpy(&number, p, sizeof number);
    return get_reference(r, number);
}

/* The tags of FMP_TAG_MEMO and FMP_TAG_REF. */
static PyObject *
get_remembered(struct fmp_reader *r, unsigned char tag)
{
    if (tag >= FMP_TAG_REF) {
        return get_reference(r, tag - FMP_TAG_REF);
    }
    switch (tag - FMP_TAG_MEMO) {
    case FMP_TAG_BYTES:
        return remember(r, get_bytes(r));
    case FMP_TAG_ASCII:
        return remember(r, get_ascii(r));
    case FMP_TAG_UCS1:
    case FMP_TAG_UCS2:
    case FMP_TAG_UCS4:
        return remember(r, get_wide(r, (size_t)1 << (tag - FMP_TAG_MEMO - FMP_TAG_UCS1)));
    default:
        return fmp_wire_damaged("unknown tag");
    }
}

FMP_INLINE void
set_item(PyObject *sequence, bool is_tuple, size_t i, PyObject *item)
{
    if (is_tuple) {
        PyTuple_SET_ITEM(sequence, (Py_ssize_t)i, item);
    } else {
        PyList_SET_ITEM(sequence, (Py_ssize_t)i, item);
    }
}

/* Fills a new sequence with what a run holds; 0, or -1 with MemoryError. */
FMP_INLINE int
fill_run(PyObject *sequence, bool is_tuple, const unsigned char *p, size_t n, enum fmp_wire_form form)
{
    for (size_t i = 0; i < n; i++) {
        PyObject *item = fmp_run_item(p + i * fmp_form_bytes(form), form);
        if (FMP_UNLIKELY(item == NULL)) {
            return -1;
        }
        set_item(sequence, is_tuple, i, item);
    }
    return 0;
}

static PyObject *
get_run(struct fmp_reader *r, unsigned char tag)
{
    bool is_tuple = (tag & FMP_TAG_RUN_TUPLE) != 0;
    enum fmp_wire_form form = tag & (FMP_TAG_RUN_TUPLE - 1);
    if (form >= FMP_FORMS) {
        return fmp_wire_damaged("unknown form of a run");
    }
    size_t n, each = fmp_form_bytes(form);
    if (fmp_take_size(r, each, &n) < 0) {
        return NULL;
    }
    const unsigned char *p = fmp_take(r, n * each);
    PyObject *sequence = is_tuple ? PyTuple_New((Py_ssize_t)n) : PyList_New((Py_ssize_t)n);
    if (sequence != NULL && fill_run(sequence, is_tuple, p, n, form) < 0) {
        Py_CLEAR(sequence);
    }
    return sequence;
}

static PyObject *
get_sequence(struct fmp_reader *r, bool is_tuple, int depth)
{
    size_t n;
    if (fmp_take_size(r, 1, &n) < 0) {
        return NULL;
    }
    PyObject *sequence = is_tuple ? PyTuple_New((Py_ssize_t)n) : PyList_New((Py_ssize_t)n);
    for (size_t i = 0; sequence != NULL && i < n; i++) {
        PyObject *item = fmp_get_value(r, depth + 1);
        if (FMP_UNLIKELY(item == NULL)) {
            Py_CLEAR(sequence);
            break;
        }
        set_item(sequence, is_tuple, i, item);
    }
    return sequence;
}

/* Is there a short ASCII key of this tag, with all its text? */
FMP_INLINE bool
is_short_key(const struct fmp_reader *r, unsigned char tag, size_t *size)
{
    size_t n = fmp_left(r) < 2 + FMP_KEY_MIN || *r->next != tag ? 0 : r->next[1];
    FMP_READ_ONCE(n);
    *size = n;
    return n >= FMP_KEY_MIN && n <= FMP_KEY_MAX && fmp_left(r) >= 2 + n;
}

/* It is the str that came before, if there is one. What is kept must be a str of its slot, also if the message changes
 * meanwhile. */
FMP_INLINE PyObject *
get_short_key(struct fmp_reader *r, size_t n)
{
    unsigned char text[FMP_KEY_MAX];
    fmp_copy(text, r->next + 2, n);
    r->next += 2 + n;
    struct fmp_key *slot = fmp_key_slot(text, n);
    PyObject *key = fmp_key_find(slot, r->message, text, n);
    if (FMP_LIKELY(key != NULL)) {
        return key;
    }
    key = fmp_wire_ascii(text, n);
    if (key != NULL) {
        fmp_key_keep(slot, r->message, key);
    }
    return key;
}

static PyObject *
get_other_key(struct fmp_reader *r, int depth)
{
    size_t n;
    return is_short_key(r, FMP_TAG_MEMO | FMP_TAG_ASCII, &n) ? remember(r, get_short_key(r, n))
                                                             : fmp_get_value(r, depth);
}

static PyObject *
get_key(struct fmp_reader *r, int depth)
{
    size_t n;
    return FMP_LIKELY(is_short_key(r, FMP_TAG_ASCII, &n)) ? get_short_key(r, n) : get_other_key(r, depth);
}

/* One pair; 0, or -1 with an exception set. */
static int
get_pair(struct fmp_reader *r, PyObject *dict, int depth)
{
    PyObject *key = get_key(r, depth + 1);
    PyObject *value = key ? fmp_get_value(r, depth + 1) : NULL;
    int rc = value ? PyDict_SetItem(dict, key, value) : -1;
    if (FMP_UNLIKELY(rc < 0) && value != NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        fmp_wire_damaged("a key that has no hash");
    }
    Py_XDECREF(key);
    Py_XDECREF(value);
    return rc;
}

static PyObject *
get_dict(struct fmp_reader *r, int depth)
{
    size_t n;
    if (fmp_take_size(r, 2, &n) < 0) {
        return NULL;
    }
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && i < n; i++) {
        if (FMP_UNLIKELY(get_pair(r, dict, depth) < 0)) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyObject *
get_container(struct fmp_reader *r, unsigned char tag, int depth)
{
    if (depth >= FMP_WIRE_DEPTH) {
        return fmp_wire_damaged("containers too deep");
    }
    return tag == FMP_TAG_DICT ? get_dict(r, depth) : get_sequence(r, tag == FMP_TAG_TUPLE, depth);
}

PyObject *
fmp_get_value(struct fmp_reader *r, int depth)
{
    const unsigned char *p = fmp_take(r, 1);
    if (FMP_UNLIKELY(p == NULL)) {
        return NULL;
    }
    unsigned char tag = *p;
    FMP_READ_ONCE(tag);
    if (tag >= FMP_TAG_SMALL) {
        return PyLong_FromLong((long)tag - FMP_TAG_INT_ZERO);
    }
    if (tag >= FMP_TAG_RUN) {
        return tag < FMP_TAG_RUN_END ? get_run(r, tag) : get_remembered(r, tag);
    }
    switch ((enum fmp_wire_tag)tag) {
    case FMP_TAG_NONE:
        return Py_NewRef(Py_None);
    case FMP_TAG_TRUE:
        return Py_NewRef(Py_True);
    case FMP_TAG_FALSE:
        return Py_NewRef(Py_False);
    case FMP_TAG_INT8:
    case FMP_TAG_INT16:
    case FMP_TAG_INT32:
    case FMP_TAG_INT64:
        return get_int(r, tag - FMP_TAG_INT8);
    case FMP_TAG_UINT64:
        return get_uint64(r);
    case FMP_TAG_FLOAT:
        return get_float(r);
    case FMP_TAG_BYTES:
        return get_bytes(r);
    case FMP_TAG_ASCII:
        return get_ascii(r);
    case FMP_TAG_UCS1:
    case FMP_TAG_UCS2:
    case FMP_TAG_UCS4:
        return get_wide(r, (size_t)1 << (tag - FMP_TAG_UCS1));
    case FMP_TAG_TUPLE:
    case FMP_TAG_LIST:
    case FMP_TAG_DICT:
        return get_container(r, tag, depth);
    case FMP_TAG_BYTEARRAY:
        return fmp_flat_get_bytearray(r);
    case FMP_TAG_ARRAY:
        return fmp_flat_get_array(r);
    case FMP_TAG_REF32:
        return get_far_reference(r);
    default:
        return fmp_wire_damaged("unknown tag");
    }
}

void
fmp_reader_begin(struct fmp_reader *r, const void *data, size_t bytes)
{
    static uint64_t messages; /* guarded by the GIL */
    r->next = data;
    r->end = r->next + bytes;
    r->message = ++messages;
    r->memo.count = 0; /* it needs no more */
}

FMP_INLINE bool
is_pickle(unsigned char tag)
{
    return tag == FMP_TAG_PICKLE || tag == FMP_TAG_BUFFERS;
}

bool
fmp_wire_has_buffers(const void *data, size_t bytes)
{
    return bytes > 0 && *(const unsigned char *)data == FMP_TAG_BUFFERS;
}

PyObject *
fmp_wire_decode(const void *data, size_t bytes, PyObject *owner)
{
    if (bytes > 0 && is_pickle(*(const unsigned char *)data)) {
        return fmp_wire_unpickle(data, bytes, owner);
    }
    struct fmp_reader r;
    fmp_reader_begin(&r, data, bytes);
    PyObject *value = fmp_get_value(&r, 0);
    if (FMP_UNLIKELY(r.memo.count != 0)) {
        fmp_memo_clear(&r.memo);
    }
    if (value != NULL && FMP_UNLIKELY(r.next != r.end)) {
        Py_DECREF(value);
        return fmp_wire_damaged("more than one value");
    }
    return value;
}

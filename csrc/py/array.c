/*
 * `_core.SharedArray`: items and slices under the array's lock, and the buffer. Called by:
 * fastmp.sharedctypes.SynchronizedArray, its only subclass.
 *
 * An index in range and a slice of numbers are read here; every other case (wrong indices, wrong values, text,
 * structures, slice assignment) goes to the ctypes array, under the same lock, so that results and errors are its own.
 */
#include "py/shared.h"
#include "py/types.h"

static char *
item_at(const struct fmp_shared *s, Py_ssize_t i)
{
    return s->data + i * s->ctype->bytes;
}

/* An int of at most one digit as a number, without a call; false if it is longer. */
FMP_INLINE bool
as_short_index(PyObject *key, Py_ssize_t *i)
{
#if PY_VERSION_HEX >= 0x030C0000
    bool is_short = PyUnstable_Long_IsCompact((PyLongObject *)key);
    *i = is_short ? PyUnstable_Long_CompactValue((PyLongObject *)key) : 0;
    return is_short;
#else
    Py_ssize_t sign = Py_SIZE(key); /* times the number of digits */
    *i = sign * (Py_ssize_t)((PyLongObject *)key)->ob_digit[0];
    return -1 <= sign && sign <= 1;
#endif
}

/* Any int as a number; false if it is too large for one. */
static bool
as_index(PyObject *key, Py_ssize_t *i)
{
    *i = PyLong_AsSsize_t(key);
    if (FMP_UNLIKELY(*i == -1 && PyErr_Occurred())) {
        PyErr_Clear(); /* ctypes says it in its own words */
        return false;
    }
    return true;
}

/* Item i, counted from the end if it is negative; false if there is none. */
FMP_INLINE bool
find_item(const struct fmp_shared *s, Py_ssize_t i, char **at)
{
    i += i < 0 ? s->length : 0;
    if (FMP_UNLIKELY((size_t)i >= (size_t)s->length)) {
        return false;
    }
    *at = item_at(s, i);
    return true;
}

/* The address of item `key`; false if that is not for us to say at once. */
FMP_INLINE bool
find_at_once(const struct fmp_shared *s, PyObject *key, char **at)
{
    Py_ssize_t i;
    return FMP_LIKELY(PyLong_CheckExact(key) && as_short_index(key, &i)) && find_item(s, i, at);
}

/* The same; NULL if that is not for us to say at all. */
static char *
item_of(const struct fmp_shared *s, PyObject *key)
{
    Py_ssize_t i;
    char *at;
    bool is_there = s->ctype != NULL && PyLong_CheckExact(key) && as_index(key, &i) && find_item(s, i, &at);
    return is_there ? at : NULL;
}

static void
fill(const struct fmp_shared *s, PyObject *list, Py_ssize_t start, Py_ssize_t step)
{
    PyObject *(*get)(const void *) = s->ctype->get;
    const char *at = item_at(s, start);
    Py_ssize_t stride = step * s->ctype->bytes;
    for (Py_ssize_t n = 0; n < PyList_GET_SIZE(list); n++, at += stride) {
        PyObject *item = get(at);
        if (item == NULL) {
            return;
        }
        PyList_SET_ITEM(list, n, item);
    }
}

/* Numbers as a list. The bounds are unpacked before the lock is taken, as they may run Python code. */
static PyObject *
slice_of_numbers(struct fmp_shared *s, PyObject *slice)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(slice, &start, &stop, &step) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(PySlice_AdjustIndices(s->length, &start, &stop, step));
    if (list == NULL || fmp_shared_enter(s) < 0) {
        Py_XDECREF(list);
        return NULL;
    }
    fill(s, list, start, step);
    if (PyErr_Occurred()) {
        Py_CLEAR(list);
    }
    return fmp_shared_leave(s, list);
}

static FMP_APART PyObject *
subscript_any(struct fmp_shared *s, PyObject *key)
{
    if (PySlice_Check(key) && s->ctype != NULL && !s->ctype->text) {
        return slice_of_numbers(s, key);
    }
    if (FMP_UNLIKELY(fmp_shared_enter(s) < 0)) {
        return NULL;
    }
    const char *at = item_of(s, key);
    return fmp_shared_leave(s, FMP_LIKELY(at != NULL) ? s->ctype->get(at) : PyObject_GetItem(s->obj, key));
}

static PyObject *
array_subscript(PyObject *self, PyObject *key)
{
    struct fmp_shared *s = fmp_shared_of(self);
    char *at;
    PyObject *item;
    bool is_got = find_at_once(s, key, &at) && fmp_shared_get_briefly(s, s->ctype, at, &item);
    return FMP_LIKELY(is_got) ? item : subscript_any(s, key);
}

static FMP_APART int
assign_any(struct fmp_shared *s, PyObject *key, PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "__delitem__");
        return -1;
    }
    if (FMP_UNLIKELY(fmp_shared_enter(s) < 0)) {
        return -1;
    }
    int rc = 0;
    char *at = item_of(s, key);
    if (FMP_UNLIKELY(at == NULL || !s->ctype->set(at, value))) {
        rc = PyObject_SetItem(s->obj, key, value);
    }
    return fmp_shared_leave_int(s, rc);
}

static int
array_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
    struct fmp_shared *s = fmp_shared_of(self);
    char *at;
    bool is_set = value != NULL && find_at_once(s, key, &at) && fmp_shared_set_briefly(s, s->ctype, at, value);
    return FMP_LIKELY(is_set) ? 0 : assign_any(s, key, value);
}

static Py_ssize_t
array_length(PyObject *self)
{
    struct fmp_shared *s = fmp_shared_of(self);
    if (FMP_LIKELY(s->ctype != NULL)) {
        return s->length;
    }
    return s->obj != NULL ? PyObject_Size(s->obj) : 0;
}

/* For iteration: one item, one locked access, until IndexError. */
static PyObject *
array_item(PyObject *self, Py_ssize_t i)
{
    struct fmp_shared *s = fmp_shared_of(self);
    if (FMP_UNLIKELY(fmp_shared_enter(s) < 0)) {
        return NULL;
    }
    bool mine = (size_t)i < (size_t)s->length;
    return fmp_shared_leave(s, mine ? s->ctype->get(item_at(s, i)) : PySequence_GetItem(s->obj, i));
}

/* The ctypes array's own buffer, with its format and shape. Without the lock, which is the caller's to hold as long as
 * it needs. */
static int
array_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    struct fmp_shared *s = fmp_shared_of(self);
    if (s->obj == NULL) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "the array has not been initialised");
        return -1;
    }
    return PyObject_GetBuffer(s->obj, view, flags);
}

static PyType_Slot array_slots[] = {
    {Py_tp_doc, "An array of C values in shared memory, and its lock."},
    {Py_mp_subscript, array_subscript},
    {Py_mp_ass_subscript, array_ass_subscript},
    {Py_mp_length, array_length},
    {Py_sq_length, array_length},
    {Py_sq_item, array_item},
    {Py_bf_getbuffer, array_getbuffer},
    {0, NULL},
};

static PyType_Spec array_spec = {
    .name = "fastmp._core.SharedArray",
    .basicsize = sizeof(struct fmp_shared),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = array_slots,
};

int
fmp_py_register_array(PyObject *module)
{
    return fmp_py_add_type(module, &array_spec, (PyObject *)fmp_shared_type) != NULL ? 0 : -1;
}

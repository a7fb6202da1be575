/*
 * `_core.SharedValue`: `.value` under the value's lock, and the atomic operations. Called by:
 * fastmp.sharedctypes.Synchronized, its only subclass.
 *
 * One access is: take the lock, one load or store, give the lock back. What a C type cannot take for certain goes to
 * the ctypes object, under the same lock. The look-up of an attribute, and the bound method that it makes, would cost
 * as much as all of that. So `value` and `get_lock` are told by the addresses of their interned names, unless a
 * subclass has its own; and what `get_lock` gives is bound to the lock, made once for each object.
 */
#define FMP_ATOMIC_WORD fmp_shared_word
#include "py/atomic.h"
#include "py/shared.h"
#include "py/types.h"

/* The two names, and what SharedValue has under them. */
static struct {
    PyObject *value, *get_lock;
    PyObject *value_descriptor, *get_lock_descriptor;
} names;

enum { UNKNOWN = 0, DIRECT = 1, LOOKED_UP = 2 };

static FMP_APART PyObject *
get_slowly(struct fmp_shared *s)
{
    if (FMP_UNLIKELY(fmp_shared_enter(s) < 0)) {
        return NULL;
    }
    PyObject *result = FMP_LIKELY(s->ctype != NULL) ? s->ctype->get(s->data) : PyObject_GetAttr(s->obj, names.value);
    return fmp_shared_leave(s, result);
}

static PyObject *
value_get(PyObject *self, void *Py_UNUSED(closure))
{
    struct fmp_shared *s = fmp_shared_of(self);
    PyObject *result;
    bool is_got = s->ctype != NULL && fmp_shared_get_briefly(s, s->ctype, s->data, &result);
    return FMP_LIKELY(is_got) ? result : get_slowly(s);
}

static FMP_APART int
set_slowly(struct fmp_shared *s, PyObject *value)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "property 'value' of '%.200s' object has no deleter", Py_TYPE(s)->tp_name);
        return -1;
    }
    if (FMP_UNLIKELY(fmp_shared_enter(s) < 0)) {
        return -1;
    }
    int rc = 0;
    if (FMP_UNLIKELY(s->ctype == NULL || !s->ctype->set(s->data, value))) {
        rc = PyObject_SetAttr(s->obj, names.value, value);
    }
    return fmp_shared_leave_int(s, rc);
}

static int
value_set(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    struct fmp_shared *s = fmp_shared_of(self);
    bool is_set = s->ctype != NULL && value != NULL && fmp_shared_set_briefly(s, s->ctype, s->data, value);
    return FMP_LIKELY(is_set) ? 0 : set_slowly(s, value);
}

/* get_lock() without its object: bound to the lock, which it gives. */
static PyObject *
lock_itself(PyObject *lock, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    if (nargs != 0) {
        PyErr_Format(PyExc_TypeError, "get_lock() takes no arguments (%zd given)", nargs);
        return NULL;
    }
    return Py_NewRef(lock);
}

static PyMethodDef lock_itself_def = {"get_lock", (PyCFunction)(void (*)(void))lock_itself, METH_FASTCALL,
                                      "The lock that every access takes."};

static bool
type_has(PyTypeObject *type, PyObject *name, PyObject *descriptor)
{
    PyObject *found = PyObject_GetAttr((PyObject *)type, name);
    Py_XDECREF(found);
    return found == descriptor;
}

/* Are both attributes ours, and not a subclass's? Asked once for each object, after its __init__. */
static FMP_COLD bool
find_out(PyObject *self)
{
    struct fmp_shared *s = fmp_shared_of(self);
    if (s->guard.lock == NULL) {
        return false;
    }
    bool ours = type_has(Py_TYPE(self), names.value, names.value_descriptor) &&
                type_has(Py_TYPE(self), names.get_lock, names.get_lock_descriptor);
    s->get_lock = ours ? PyCFunction_New(&lock_itself_def, s->guard.lock) : NULL;
    PyErr_Clear(); /* the look-up says it again, if it is of interest */
    s->direct = s->get_lock != NULL ? DIRECT : LOOKED_UP;
    return s->direct == DIRECT;
}

FMP_INLINE bool
is_direct(PyObject *self)
{
    uint8_t direct = fmp_shared_of(self)->direct;
    return FMP_LIKELY(direct == DIRECT) || (direct == UNKNOWN && find_out(self));
}

static PyObject *
value_getattro(PyObject *self, PyObject *name)
{
    if (name == names.value && is_direct(self)) {
        return value_get(self, NULL);
    }
    if (name == names.get_lock && is_direct(self)) {
        return Py_NewRef(fmp_shared_of(self)->get_lock);
    }
    return PyObject_GenericGetAttr(self, name);
}

static int
value_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    if (name == names.value && is_direct(self)) {
        return value_set(self, value, NULL);
    }
    return PyObject_GenericSetAttr(self, name, value);
}

static PyGetSetDef value_getset[] = {
    {"value", value_get, value_set, "The value, read and written under the lock.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* The word for the atomic operations. A ValueBlock is aligned for every type. */
int
fmp_shared_word(PyObject *self, struct fmp_word *word)
{
    struct fmp_shared *s = fmp_shared_of(self);
    if (s->ctype == NULL || !fmp_ctype_is_atomic(s->ctype)) {
        PyErr_SetString(PyExc_TypeError,
                        "atomic operations need an integer or bool made by fastmp's Value; for a part of an object "
                        "there is fastmp.atomic()");
        return -1;
    }
    *word = (struct fmp_word){.at = s->data, .ctype = s->ctype};
    return 0;
}

FMP_ATOMIC_OPERATIONS(FMP_ATOMIC_METHOD)

static PyMethodDef value_methods[] = {
    FMP_ATOMIC_OPERATIONS(FMP_ATOMIC_ENTRY) /* and the end of the table */
    {NULL, NULL, 0, NULL},
};

static PyType_Slot value_slots[] = {
    {Py_tp_doc, "A simple C value in shared memory, and its lock."},
    {Py_tp_getattro, value_getattro},
    {Py_tp_setattro, value_setattro},
    {Py_tp_getset, value_getset},
    {Py_tp_methods, value_methods},
    {0, NULL},
};

static PyType_Spec value_spec = {
    .name = "fastmp._core.SharedValue",
    .basicsize = sizeof(struct fmp_shared),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = value_slots,
};

/* Keeps `name`, interned, and what `type` has under it. */
static int
remember(PyTypeObject *type, const char *text, PyObject **name, PyObject **descriptor)
{
    *name = PyUnicode_InternFromString(text);
    *descriptor = *name != NULL ? PyObject_GetAttr((PyObject *)type, *name) : NULL;
    return *descriptor != NULL ? 0 : -1;
}

int
fmp_py_register_value(PyObject *module)
{
    PyTypeObject *type = fmp_py_add_type(module, &value_spec, (PyObject *)fmp_shared_type);
    if (type == NULL || remember(type, "value", &names.value, &names.value_descriptor) < 0) {
        return -1;
    }
    return remember(type, "get_lock", &names.get_lock, &names.get_lock_descriptor);
}

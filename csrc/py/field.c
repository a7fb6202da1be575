/*
 * `_core.Field`: a field of a synchronized structure, as an attribute: read and written under the lock. Called by:
 * fastmp/sharedctypes.py, which makes the class of each structure's wrapper.
 *
 * A number, bool or character that is aligned is one load or store here, as `.value` of a simple value is; everything
 * else (nested structures, arrays, pointers, bit fields, wrong values) goes to the ctypes object under the same lock.
 */
#include "py/shared.h"

#include <structmember.h> /* needs Python.h */

#include "py/types.h"

struct field {
    PyObject_HEAD
    PyObject *name;
    const struct fmp_ctype *ctype; /* NULL: always by the ctypes object */
    Py_ssize_t offset;
};

static struct field *
as_field(PyObject *op)
{
    return (struct field *)op;
}

static PyObject *
field_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"name", "code", "offset", NULL};
    PyObject *name, *code;
    Py_ssize_t offset;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UUn:Field", names, &name, &code, &offset)) {
        return NULL;
    }
    if (offset < 0) {
        PyErr_SetString(PyExc_ValueError, "the offset of a field must not be negative");
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        Py_INCREF(name);
        PyUnicode_InternInPlace(&name);
        as_field(self)->name = name;
        as_field(self)->ctype = PyUnicode_GET_LENGTH(code) == 1 ? fmp_ctype_find(PyUnicode_READ_CHAR(code, 0)) : NULL;
        as_field(self)->offset = offset;
    }
    return self;
}

static void
field_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(as_field(self)->name);
    type->tp_free(self);
    Py_DECREF(type);
}

/* The field's bytes, or NULL if that is for the ctypes object to say. */
FMP_INLINE char *
place_of(const struct field *f, const struct fmp_shared *s)
{
    bool inside = f->ctype != NULL && s->base != NULL && f->offset <= s->bytes - (Py_ssize_t)f->ctype->bytes;
    return FMP_LIKELY(inside) ? s->base + f->offset : NULL;
}

static struct fmp_shared *
shared_of(struct field *f, PyObject *owner)
{
    if (FMP_UNLIKELY(!PyObject_TypeCheck(owner, fmp_shared_type))) {
        PyErr_Format(PyExc_TypeError, "the field %R belongs to synchronized structures, not to %.200s", f->name,
                     Py_TYPE(owner)->tp_name);
        return NULL;
    }
    return fmp_shared_of(owner);
}

static PyObject *
field_get(PyObject *self, PyObject *owner, PyObject *Py_UNUSED(type))
{
    struct field *f = as_field(self);
    if (owner == NULL) {
        return Py_NewRef(self);
    }
    struct fmp_shared *s = shared_of(f, owner);
    if (s == NULL) {
        return NULL;
    }
    const char *at = place_of(f, s);
    PyObject *result;
    if (FMP_LIKELY(at != NULL && fmp_shared_get_briefly(s, f->ctype, at, &result))) {
        return result;
    }
    if (fmp_shared_enter(s) < 0) {
        return NULL;
    }
    at = place_of(f, s); /* once more: the wait may have been long */
    return fmp_shared_leave(s, at != NULL ? f->ctype->get(at) : PyObject_GetAttr(s->obj, f->name));
}

static int
field_set(PyObject *self, PyObject *owner, PyObject *value)
{
    struct field *f = as_field(self);
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "the field %R cannot be deleted", f->name);
        return -1;
    }
    struct fmp_shared *s = shared_of(f, owner);
    if (s == NULL) {
        return -1;
    }
    char *at = place_of(f, s);
    if (FMP_LIKELY(at != NULL && fmp_shared_set_briefly(s, f->ctype, at, value))) {
        return 0;
    }
    if (fmp_shared_enter(s) < 0) {
        return -1;
    }
    at = place_of(f, s); /* as above */
    bool stored = at != NULL && f->ctype->set(at, value);
    return fmp_shared_leave_int(s, stored ? 0 : PyObject_SetAttr(s->obj, f->name, value));
}

static PyMemberDef field_members[] = {
    {"__name__", T_OBJECT, offsetof(struct field, name), READONLY, "The field's name."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot field_slots[] = {
    {Py_tp_doc, "Field(name, code, offset)\n--\n\nA field of a synchronized structure."},
    {Py_tp_new, field_new},
    {Py_tp_dealloc, field_dealloc},
    {Py_tp_descr_get, field_get},
    {Py_tp_descr_set, field_set},
    {Py_tp_members, field_members},
    {0, NULL},
};

static PyType_Spec field_spec = {
    .name = "fastmp._core.Field",
    .basicsize = sizeof(struct field),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = field_slots,
};

int
fmp_py_register_field(PyObject *module)
{
    return fmp_py_add_type(module, &field_spec, NULL) != NULL ? 0 : -1;
}

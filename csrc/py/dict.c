/*
 * `_core.SharedDict`: the mapping on csrc/dict/dict.h. Called by: fastmp/_shared_dict.py, which has the rest of the
 * mapping protocol.
 *
 * Each operation is three steps: Python to bytes; the lock, memory, no Python; bytes to Python. So nothing that runs
 * under the lock can call back, and whoever is killed under it leaves the table whole (see there). The GIL is kept
 * under the lock, as the heap wants.
 */
#include "dict/dict.h"

#include <Python.h>

#include <structmember.h> /* needs Python.h */

#include "py/dict_entry.h"
#include "py/types.h"
#include "pyrt/travel.h"
#include "pyrt/wait.h"

static PyObject *
dict_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs;
    PyObject *self = type->tp_alloc(type, 0);
    /* of the kind RING: what it names in transit goes with it */
    if (self != NULL &&
        fmp_handle_new(&fmp_shared_dict_of(self)->handle, sizeof(struct fmp_dict_shm), FMP_BLOCK_RING) < 0) {
        Py_CLEAR(self);
    }
    if (self != NULL) {
        fmp_dict_init(fmp_handle_at(&fmp_shared_dict_of(self)->handle));
    }
    return self;
}

static void
dict_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (fmp_shared_dict_of(self)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    fmp_handle_release(&fmp_shared_dict_of(self)->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

/* The value of a copy that is let go of; NULL with an exception set. */
static PyObject *
value_of(struct fmp_copied *c)
{
    PyObject *value = fmp_copied_value(c);
    fmp_copied_release(c);
    return value;
}

/* The value, decoded after the lock; NULL with KeyError. */
static PyObject *
dict_subscript(PyObject *op, PyObject *key)
{
    struct fmp_copied c;
    int rc = fmp_shared_dict_fetch(op, key, false, &c);
    if (rc <= 0) {
        if (rc == 0) {
            PyErr_SetObject(PyExc_KeyError, key);
        }
        return NULL;
    }
    return value_of(&c);
}

static int
dict_ass_subscript(PyObject *op, PyObject *key, PyObject *value)
{
    if (value != NULL) {
        return fmp_shared_dict_set(op, key, value);
    }
    struct fmp_copied c;
    int rc = fmp_shared_dict_fetch(op, key, true, &c);
    if (rc > 0) {
        fmp_copied_release(&c);
    } else if (rc == 0) {
        PyErr_SetObject(PyExc_KeyError, key);
    }
    return rc > 0 ? 0 : -1;
}

static Py_ssize_t
dict_length(PyObject *op)
{
    struct fmp_dict d;
    if (fmp_shared_dict_enter(fmp_shared_dict_of(op), &d) < 0) {
        return -1;
    }
    Py_ssize_t n = fmp_dict_length(&d);
    return fmp_shared_dict_leave(&d) < 0 ? -1 : n;
}

static int
dict_contains(PyObject *op, PyObject *key)
{
    struct fmp_key_bytes k;
    struct fmp_dict d;
    int rc = fmp_key_encode(&k, key);
    if (rc == 0 && (rc = fmp_shared_dict_enter(fmp_shared_dict_of(op), &d)) == 0) {
        struct fmp_dict_key wanted = fmp_dict_key_of(k.data, (uint32_t)k.bytes);
        bool found = fmp_dict_find(&d, &wanted) != NULL;
        rc = fmp_shared_dict_leave(&d) < 0 ? -1 : found;
    }
    fmp_key_release(&k);
    return rc;
}

/* (key, default=None) of get and pop: -1 with TypeError. */
static int
key_and_default(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject **fallback)
{
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes 1 or 2 arguments (%zd given)", name, nargs);
        return -1;
    }
    *fallback = nargs == 2 ? args[1] : NULL;
    return 0;
}

static PyObject *
dict_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    struct fmp_copied c;
    PyObject *fallback;
    int rc = key_and_default("get", args, nargs, &fallback);
    rc = rc == 0 ? fmp_shared_dict_fetch(op, args[0], false, &c) : rc;
    if (rc <= 0) {
        return rc < 0 ? NULL : Py_NewRef(fallback != NULL ? fallback : Py_None);
    }
    return value_of(&c);
}

static PyObject *
dict_pop(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    struct fmp_copied c;
    PyObject *fallback;
    int rc = key_and_default("pop", args, nargs, &fallback);
    rc = rc == 0 ? fmp_shared_dict_fetch(op, args[0], true, &c) : rc;
    if (rc < 0) {
        return NULL;
    }
    if (rc == 0 && fallback == NULL) {
        PyErr_SetObject(PyExc_KeyError, args[0]);
    }
    if (rc == 0) {
        return Py_XNewRef(fallback);
    }
    return value_of(&c);
}

static PyObject *
dict_popitem(PyObject *op, PyObject *unused)
{
    (void)unused;
    struct fmp_dict d;
    struct fmp_copied c;
    if (fmp_shared_dict_enter(fmp_shared_dict_of(op), &d) < 0) {
        return NULL;
    }
    const struct fmp_dict_record *r = fmp_dict_last(&d);
    int rc = r != NULL ? fmp_copied_make(&c, r) : -ENOENT;
    if (rc == 0) {
        struct fmp_dict_key key = {.data = c.key, .bytes = (uint32_t)c.key_bytes, .hash = r->hash};
        (void)fmp_dict_remove(&d, &key);
    }
    if (fmp_shared_dict_leave(&d) < 0) {
        if (rc == 0) {
            fmp_copied_release(&c);
        }
        return NULL;
    }
    if (rc != 0) {
        return rc == -ENOENT ? (PyErr_SetString(PyExc_KeyError, "popitem(): the dict is empty"), NULL)
                             : PyErr_NoMemory();
    }
    PyObject *key = fmp_copied_key(&c), *value = key != NULL ? fmp_copied_value(&c) : NULL;
    fmp_copied_release(&c);
    PyObject *pair = value != NULL ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}

/* The value that was there, or the one given, which is there now. */
static PyObject *
dict_setdefault(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    struct fmp_entry e;
    struct fmp_dict d;
    struct fmp_copied c;
    PyObject *value;
    if (key_and_default("setdefault", args, nargs, &value) < 0) {
        return NULL;
    }
    value = value != NULL ? value : Py_None;
    int rc = fmp_entry_encode(&e, args[0], value), code = 0;
    bool found = false;
    if (rc == 0 && (rc = fmp_shared_dict_enter(fmp_shared_dict_of(op), &d)) == 0) {
        struct fmp_dict_key key = fmp_dict_key_of(e.key.data, (uint32_t)e.key.bytes);
        const struct fmp_dict_record *r = fmp_dict_find(&d, &key);
        found = r != NULL;
        code = found ? fmp_copied_make(&c, r) : fmp_entry_put(&d, &e);
        rc = fmp_shared_dict_leave(&d);
        if (rc < 0 && found && code == 0) {
            fmp_copied_release(&c);
        }
    }
    fmp_entry_release(&e);
    if (rc < 0 || code != 0) {
        return rc < 0 ? NULL : fmp_py_raise(code, NULL);
    }
    if (!found) {
        return Py_NewRef(value);
    }
    return value_of(&c);
}

static PyObject *
dict_clear(PyObject *op, PyObject *unused)
{
    (void)unused;
    struct fmp_dict d;
    if (fmp_shared_dict_enter(fmp_shared_dict_of(op), &d) < 0) {
        return NULL;
    }
    int rc = fmp_dict_clear(&d);
    if (fmp_shared_dict_leave(&d) < 0) {
        return NULL;
    }
    return rc == 0 ? Py_NewRef(Py_None) : fmp_py_raise(rc, NULL);
}

/* ---- all entries at one moment ---- */

/* Copies of all records, one behind the other, and how many; NULL with an exception set. */
static unsigned char *
copy_all(PyObject *op, uint32_t *count)
{
    struct fmp_dict d;
    if (fmp_shared_dict_enter(fmp_shared_dict_of(op), &d) < 0) {
        return NULL;
    }
    const struct fmp_dict_record *r;
    uint64_t bytes;
    unsigned char *all = fmp_dict_measure(&d, &bytes) ? PyMem_RawMalloc(bytes + 1) : NULL, *to = all;
    *count = 0;
    for (uint32_t at = 0; all != NULL && (r = fmp_dict_next(&d, &at)) != NULL; ++*count) {
        size_t n = sizeof *r + r->key_bytes + r->extra_bytes + r->value_bytes;
        memcpy(to, r, n);
        to += n;
    }
    if (fmp_shared_dict_leave(&d) < 0) {
        PyMem_RawFree(all);
        return NULL;
    }
    return all != NULL ? all : (unsigned char *)PyErr_NoMemory();
}

enum part { KEYS, VALUES, ITEMS };

static PyObject *
part_of(const struct fmp_copied *c, enum part part)
{
    if (part != ITEMS) {
        return part == KEYS ? fmp_copied_key(c) : fmp_copied_value(c);
    }
    PyObject *key = fmp_copied_key(c), *value = key != NULL ? fmp_copied_value(c) : NULL;
    PyObject *pair = value != NULL ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}

static PyObject *
list_of(PyObject *op, enum part part)
{
    uint32_t count;
    unsigned char *all = copy_all(op, &count), *at = all;
    PyObject *list = all != NULL ? PyList_New(0) : NULL;
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        struct fmp_dict_record head;
        memcpy(&head, at, sizeof head);
        struct fmp_copied c = {.key = at + sizeof head,
                               .key_bytes = head.key_bytes,
                               .extra_bytes = head.extra_bytes,
                               .value_bytes = head.value_bytes};
        c.extra = c.key + c.key_bytes;
        c.value = c.extra + c.extra_bytes;
        at = c.value + c.value_bytes;
        PyObject *item = part_of(&c, part);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    PyMem_RawFree(all);
    return list;
}

static PyObject *
dict_keys(PyObject *op, PyObject *unused)
{
    (void)unused;
    return list_of(op, KEYS);
}

static PyObject *
dict_values(PyObject *op, PyObject *unused)
{
    (void)unused;
    return list_of(op, VALUES);
}

static PyObject *
dict_items(PyObject *op, PyObject *unused)
{
    (void)unused;
    return list_of(op, ITEMS);
}

static PyObject *
dict_iter(PyObject *op)
{
    PyObject *keys = list_of(op, KEYS);
    PyObject *iterator = keys != NULL ? PyObject_GetIter(keys) : NULL;
    Py_XDECREF(keys);
    return iterator;
}

/* ---- on its way to another process ---- */

static PyObject *
dict_travel(PyObject *self, PyObject *unused)
{
    (void)unused;
    return fmp_travel_pack(&fmp_shared_dict_of(self)->handle);
}

static PyObject *
dict_arrive(PyObject *type, PyObject *record)
{
    PyTypeObject *cls = (PyTypeObject *)type;
    PyObject *self = cls->tp_alloc(cls, 0);
    struct fmp_handle *handle = self != NULL ? &fmp_shared_dict_of(self)->handle : NULL;
    if (self != NULL && fmp_travel_unpack(handle, record, FMP_BLOCK_RING, sizeof(struct fmp_dict_shm)) < 0) {
        Py_CLEAR(self);
    }
    if (self != NULL && ((struct fmp_dict_shm *)fmp_handle_at(handle))->magic != FMP_DICT_MAGIC) {
        PyErr_SetString(PyExc_ValueError, "this is no shared dict");
        Py_CLEAR(self);
    }
    return self;
}

static PyMethodDef dict_methods[] = {
    {"get", (PyCFunction)(void (*)(void))dict_get, METH_FASTCALL,
     "get($self, key, default=None, /)\n--\n\nThe value of the key, or the default."},
    {"pop", (PyCFunction)(void (*)(void))dict_pop, METH_FASTCALL,
     "pop($self, key, default=<unrepresentable>, /)\n--\n\nRemove the key and return its value, or the default, or "
     "raise KeyError: in one step."},
    {"popitem", dict_popitem, METH_NOARGS,
     "popitem($self, /)\n--\n\nRemove the last entry and return it, in one step; KeyError if there is none."},
    {"setdefault", (PyCFunction)(void (*)(void))dict_setdefault, METH_FASTCALL,
     "setdefault($self, key, default=None, /)\n--\n\nThe value of the key; if there is none, the default, which is put "
     "there: in one step."},
    {"clear", dict_clear, METH_NOARGS, "clear($self, /)\n--\n\nRemove all entries, in one step."},
    {"keys", dict_keys, METH_NOARGS, "keys($self, /)\n--\n\nThe keys of this moment, as a list."},
    {"values", dict_values, METH_NOARGS, "values($self, /)\n--\n\nThe values of this moment, as a list."},
    {"_travel", dict_travel, METH_NOARGS,
     "What a child that is being started finds the dict by; None if there is none."},
    {"_arrive", dict_arrive, METH_O | METH_CLASS, "The dict of such a record."},
    {"items", dict_items, METH_NOARGS, "items($self, /)\n--\n\nThe entries of this moment, as a list."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef dict_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct fmp_shared_dict, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot dict_slots[] = {
    {Py_tp_doc, "SharedDict()\n--\n\nA dict in shared memory."},
    {Py_tp_new, dict_new},
    {Py_tp_dealloc, dict_dealloc},
    {Py_tp_iter, dict_iter},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_mp_subscript, dict_subscript},
    {Py_mp_ass_subscript, dict_ass_subscript},
    {Py_mp_length, dict_length},
    {Py_sq_contains, dict_contains},
    {Py_tp_methods, dict_methods},
    {Py_tp_members, dict_members},
    {0, NULL},
};

static PyType_Spec dict_spec = {
    .name = "fastmp._core.SharedDict",
    .basicsize = sizeof(struct fmp_shared_dict),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_MAPPING,
    .slots = dict_slots,
};

int
fmp_py_register_dict(PyObject *module)
{
    return fmp_py_add_type(module, &dict_spec, NULL) != NULL ? 0 : -1;
}

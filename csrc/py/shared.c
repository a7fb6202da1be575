/* The base of synchronized values and arrays; see shared.h. */
#include "py/shared.h"

#include "py/types.h"
#include "py/valueblock.h"

PyTypeObject *fmp_shared_type;

/* Where the ctypes object's bytes are, if it has a block; and what they are, if it has a code. */
static int
place(struct fmp_shared *s, PyObject *block, PyObject *code, Py_ssize_t length)
{
    if (block == Py_None) {
        return 0;
    }
    Py_ssize_t bytes;
    char *data = fmp_valueblock_at(block, &bytes);
    if (data == NULL) {
        return -1;
    }
    Py_INCREF(block);
    Py_XSETREF(s->block, block);
    s->base = data;
    s->bytes = bytes;
    const struct fmp_ctype *ctype =
        PyUnicode_GET_LENGTH(code) == 1 ? fmp_ctype_find(PyUnicode_READ_CHAR(code, 0)) : NULL;
    if (ctype == NULL) {
        return 0;
    }
    if (length < 0 || length > bytes / ctype->bytes) {
        PyErr_Format(PyExc_ValueError, "%zd elements of %d bytes do not fit a block of %zd", length, ctype->bytes,
                     bytes);
        return -1;
    }
    s->data = data;
    s->ctype = ctype;
    s->length = length;
    return 0;
}

/* __init__(obj, lock, block, code, length): a second call is refused, as the first one's block may be in use. */
static int
shared_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"obj", "lock", "block", "code", "length", NULL};
    PyObject *obj, *lock, *block, *code;
    Py_ssize_t length;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOUn:Shared", names, &obj, &lock, &block, &code, &length)) {
        return -1;
    }
    struct fmp_shared *s = fmp_shared_of(self);
    if (s->obj != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a shared object is initialised once");
        return -1;
    }
    if (place(s, block, code, length) < 0) {
        return -1;
    }
    Py_INCREF(obj);
    s->obj = obj;
    fmp_guard_init(&s->guard, lock);
    return 0;
}

static int
shared_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct fmp_shared *s = fmp_shared_of(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(s->guard.lock);
    Py_VISIT(s->obj);
    Py_VISIT(s->get_lock);
    return 0; /* a block refers to nothing */
}

/* `obj` and the lock go, and with them the way to the bytes: a finalizer that still has the object gets an error, not
 * freed memory. */
static int
shared_clear(PyObject *self)
{
    struct fmp_shared *s = fmp_shared_of(self);
    s->data = s->base = NULL;
    s->ctype = NULL;
    s->length = 0;
    s->direct = 0;
    fmp_guard_clear(&s->guard);
    Py_CLEAR(s->obj);
    Py_CLEAR(s->get_lock);
    Py_CLEAR(s->block);
    return 0;
}

static void
shared_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    shared_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
give(PyObject *held, PyObject *self)
{
    if (held == NULL) {
        PyErr_Format(PyExc_RuntimeError, "%.200s.__init__() has not been called", Py_TYPE(self)->tp_name);
        return NULL;
    }
    return Py_NewRef(held);
}

static PyObject *
shared_get_obj(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return give(fmp_shared_of(self)->obj, self);
}

static PyObject *
shared_get_lock(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return give(fmp_shared_of(self)->guard.lock, self);
}

/* The lock's own, as the object passes for it in a `with`. */
static PyObject *
shared_enter(PyObject *self, PyObject *Py_UNUSED(unused))
{
    struct fmp_guard *guard = &fmp_shared_of(self)->guard;
    if (FMP_LIKELY(guard->native != NULL)) {
        return fmp_py_lock_enter(guard->lock, NULL);
    }
    PyObject *lock = give(guard->lock, self);
    PyObject *result = lock != NULL ? PyObject_CallMethod(lock, "__enter__", NULL) : NULL;
    Py_XDECREF(lock);
    return result;
}

static PyObject *
shared_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    struct fmp_guard *guard = &fmp_shared_of(self)->guard;
    if (FMP_LIKELY(guard->native != NULL)) {
        return fmp_py_lock_exit(guard->lock);
    }
    PyObject *lock = give(guard->lock, self);
    PyObject *method = lock != NULL ? PyObject_GetAttrString(lock, "__exit__") : NULL;
    PyObject *result = method != NULL ? PyObject_Vectorcall(method, args, (size_t)nargs, NULL) : NULL;
    Py_XDECREF(method);
    Py_XDECREF(lock);
    return result;
}

static PyMethodDef shared_methods[] = {
    {"get_obj", shared_get_obj, METH_NOARGS, "The ctypes object, on the same bytes."},
    {"get_lock", shared_get_lock, METH_NOARGS, "The lock that every access takes."},
    {"__enter__", shared_enter, METH_NOARGS, "Take the lock."},
    {"__exit__", (PyCFunction)(void (*)(void))shared_exit, METH_FASTCALL, "Let go of the lock."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot shared_slots[] = {
    {Py_tp_doc, "Shared(obj, lock, block, code, length)\n--\n\nA ctypes object and its lock."},
    {Py_tp_init, shared_init},
    {Py_tp_traverse, shared_traverse},
    {Py_tp_clear, shared_clear},
    {Py_tp_dealloc, shared_dealloc},
    {Py_tp_methods, shared_methods},
    {0, NULL},
};

static PyType_Spec shared_spec = {
    .name = "fastmp._core.Shared",
    .basicsize = sizeof(struct fmp_shared),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = shared_slots,
};

int
fmp_py_register_shared(PyObject *module)
{
    fmp_shared_type = fmp_py_add_type(module, &shared_spec, NULL);
    return fmp_shared_type != NULL ? 0 : -1;
}

/* `fastmp.synchronize.Lock`: the non-recursive lock, which any process may release; see lock.h. */
#include "py/args.h"
#include "py/lock.h"

PyTypeObject *fmp_py_lock_type;

static PyObject *
lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    return fmp_py_lock_new(type, kwargs, false);
}

static int
lock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    return fmp_py_only_ctx("Lock", args, kwargs);
}

PyObject *
fmp_py_lock_let_go(PyObject *op)
{
    struct fmp_py_lock *self = fmp_py_as_lock(op);
    self->thread = 0; /* before the word is free, as its next owner may be a thread of ours */
    if (FMP_UNLIKELY(fmp_lock_release(self->shm) != 0)) {
        PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
lock_release(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    return fmp_py_no_args("release", nargs) == 0 ? fmp_py_lock_let_go(self) : NULL;
}

static PyObject *
lock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return fmp_py_lock_let_go(self);
}

static PyMethodDef lock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))fmp_py_lock_acquire, METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, /, block=True, timeout=None)\n--\n\nTake the lock, waiting at most ``timeout`` seconds if "
     "``block``.\n\n:returns: whether it was taken"},
    {"release", (PyCFunction)(void (*)(void))lock_release, METH_FASTCALL,
     "release($self, /)\n--\n\nLet go of the lock, whoever has taken it.\n\n:raises ValueError: if it is free"},
    {"__enter__", fmp_py_lock_enter, METH_NOARGS, "Take the lock."},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, "Let go of it."},
    FMP_PY_LOCK_LOOKS,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, "Lock(*, ctx)\n--\n\nA lock of all processes: whoever takes it, any process may release it. Where its "
                "owner is killed, "
                "the next one to ask for it gets it, with an `OwnerDied` warning."},
    {Py_tp_new, lock_new},
    {Py_tp_init, lock_init},
    {Py_tp_methods, lock_methods},
    {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "fastmp.synchronize.Lock",
    .basicsize = sizeof(struct fmp_py_lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = lock_slots,
};

int
fmp_py_register_lock(PyObject *module)
{
    fmp_py_lock_type = fmp_py_add_type(module, &lock_spec, (PyObject *)fmp_py_semlock_type);
    if (fmp_py_lock_type == NULL || fmp_py_bound_register(fmp_py_lock_type) < 0 ||
        fmp_py_semlock_kind(fmp_py_lock_type, FMP_PY_SEMAPHORE) < 0) {
        return -1;
    }
    return fmp_py_semlock_maxvalue_1(fmp_py_lock_type);
}

/* `fastmp.synchronize.RLock`: the recursive lock, which belongs to a thread of a process; see lock.h. */
#include "py/args.h"
#include "py/lock.h"

PyTypeObject *fmp_py_rlock_type;

static PyObject *
rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    return fmp_py_lock_new(type, kwargs, true);
}

static int
rlock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    return fmp_py_only_ctx("RLock", args, kwargs);
}

PyObject *
fmp_py_rlock_let_go(PyObject *op)
{
    struct fmp_py_lock *self = fmp_py_as_lock(op);
    if (FMP_UNLIKELY(!fmp_py_lock_is_mine(self))) {
        PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
        return NULL;
    }
    if (--self->count == 0) {
        self->thread = 0; /* before the word is free, as its next owner may be a thread of ours */
        (void)fmp_lock_release(self->shm);
    }
    Py_RETURN_NONE;
}

static PyObject *
rlock_release(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    return fmp_py_no_args("release", nargs) == 0 ? fmp_py_rlock_let_go(self) : NULL;
}

static PyObject *
rlock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return fmp_py_rlock_let_go(self);
}

static PyMethodDef rlock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))fmp_py_lock_acquire, METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, /, block=True, timeout=None)\n--\n\nTake the lock, once more if this thread has it, waiting at "
     "most "
     "``timeout`` seconds if ``block``.\n\n:returns: whether it was taken"},
    {"release", (PyCFunction)(void (*)(void))rlock_release, METH_FASTCALL,
     "release($self, /)\n--\n\nLet go of the lock once.\n\n:raises AssertionError: if this thread does not have it"},
    {"__enter__", fmp_py_lock_enter, METH_NOARGS, "Take the lock."},
    {"__exit__", (PyCFunction)(void (*)(void))rlock_exit, METH_FASTCALL, "Let go of it once."},
    FMP_PY_LOCK_LOOKS,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, "RLock(*, ctx)\n--\n\nA lock that the thread which has it may take again. Where its owner is killed, "
                "the next one to "
                "ask for it gets it, with an `OwnerDied` warning."},
    {Py_tp_new, rlock_new},
    {Py_tp_init, rlock_init},
    {Py_tp_methods, rlock_methods},
    {0, NULL},
};

static PyType_Spec rlock_spec = {
    .name = "fastmp.synchronize.RLock",
    .basicsize = sizeof(struct fmp_py_lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = rlock_slots,
};

int
fmp_py_register_rlock(PyObject *module)
{
    fmp_py_rlock_type = fmp_py_add_type(module, &rlock_spec, (PyObject *)fmp_py_semlock_type);
    if (fmp_py_rlock_type == NULL || fmp_py_bound_register(fmp_py_rlock_type) < 0 ||
        fmp_py_semlock_kind(fmp_py_rlock_type, FMP_PY_RECURSIVE_MUTEX) < 0) {
        return -1;
    }
    return fmp_py_semlock_maxvalue_1(fmp_py_rlock_type);
}

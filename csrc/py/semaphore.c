/*
 * `fastmp.synchronize.Semaphore` and `BoundedSemaphore`. Called by: Python.
 *
 * Both types have the same functions; each has method objects of its own, as the interpreter's fast calls want the
 * object's exact type (semlock.h). How often this process has acquired, less how often it has released, is private to
 * it.
 */
#include "sync/semaphore.h"

#include <limits.h>

#include "py/args.h"
#include "py/semlock.h"

struct semaphore {
    struct fmp_py_semlock base;
    struct fmp_semaphore_shm *shm;
    long count;          /* of this process, since `generation` */
    unsigned generation; /* of the fork that made the process */
    uintptr_t thread;    /* the one that acquired last */
    struct fmp_spin spin;
};

static struct semaphore *
as_semaphore(PyObject *op)
{
    return (struct semaphore *)op;
}

static PyObject *
semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    PyObject *op = fmp_py_semlock_new(type, kwargs, sizeof(struct fmp_semaphore_shm));
    if (op != NULL) {
        as_semaphore(op)->shm = fmp_handle_at(&as_semaphore(op)->base.handle);
        as_semaphore(op)->generation = fmp_fork_generation;
    }
    return op;
}

/* __init__(value=1, *, ctx): the value, or -1 with an exception set. */
static int
initial_value(PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", "ctx", NULL};
    int value = 1;
    PyObject *ctx;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i$O:Semaphore", names, &value, &ctx)) {
        return -1;
    }
    if (kwargs == NULL || PyDict_GetItemString(kwargs, "ctx") == NULL) {
        PyErr_SetString(PyExc_TypeError, "Semaphore.__init__() missing 1 required keyword-only argument: 'ctx'");
        return -1;
    }
    if (value < 0) {
        fmp_py_raise(-EINVAL, NULL);
        return -1;
    }
    return value;
}

static int
semaphore_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    int value = initial_value(args, kwargs);
    if (value >= 0) {
        fmp_semaphore_init(as_semaphore(self)->shm, (uint32_t)value, INT_MAX);
    }
    return value < 0 ? -1 : 0;
}

static int
bounded_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    int value = initial_value(args, kwargs);
    if (value >= 0) {
        fmp_semaphore_init(as_semaphore(self)->shm, (uint32_t)value, (uint32_t)value);
    }
    return value < 0 ? -1 : 0;
}

/* ---- acquire and release ---- */

/* A forked child has acquired nothing yet. */
FMP_INLINE void
count_one(struct semaphore *self, long one)
{
    if (FMP_UNLIKELY(self->generation != fmp_fork_generation)) {
        self->generation = fmp_fork_generation;
        self->count = 0;
    }
    self->count += one;
}

struct wait {
    struct fmp_semaphore_shm *shm;
    struct fmp_spin spin;
};

static int
step(void *ctx, uint64_t deadline_ns)
{
    struct wait *wait = ctx;
    return fmp_semaphore_acquire(wait->shm, deadline_ns, &wait->spin);
}

/* 1 acquired, 0 not, -1 with an exception set. */
static int
acquire_slowly(struct semaphore *self, uint64_t deadline_ns)
{
    if (deadline_ns == 0) {
        return 0;
    }
    struct wait wait = {.shm = self->shm, .spin = self->spin};
    wait.spin.held_up = fmp_ec_never_held_up;
    int code = fmp_py_wait(step, &wait, deadline_ns);
    self->spin = wait.spin;
    return code == 0 ? 1 : code == -ETIMEDOUT ? 0 : -1;
}

FMP_INLINE PyObject *
acquire_until(struct semaphore *self, uint64_t deadline_ns)
{
    int taken = fmp_semaphore_try(self->shm);
    if (FMP_UNLIKELY(!taken)) {
        taken = acquire_slowly(self, deadline_ns);
        if (taken <= 0) {
            return taken < 0 ? NULL : Py_NewRef(Py_False);
        }
    }
    self->thread = fmp_py_thread();
    count_one(self, 1);
    Py_RETURN_TRUE;
}

static PyObject *
semaphore_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t deadline_ns = FMP_NEVER;
    if (FMP_UNLIKELY(nargs != 0 || kwnames != NULL) && fmp_py_acquire_args(args, nargs, kwnames, &deadline_ns) < 0) {
        return NULL;
    }
    return acquire_until(as_semaphore(self), deadline_ns);
}

static PyObject *
let_go(PyObject *op)
{
    struct semaphore *self = as_semaphore(op);
    if (FMP_UNLIKELY(fmp_semaphore_release(self->shm) != 0)) {
        PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
        return NULL;
    }
    count_one(self, -1);
    Py_RETURN_NONE;
}

static PyObject *
semaphore_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return acquire_until(as_semaphore(self), FMP_NEVER);
}

static PyObject *
semaphore_release(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    return fmp_py_no_args("release", nargs) == 0 ? let_go(self) : NULL;
}

static PyObject *
semaphore_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return let_go(self);
}

/* ---- looks ---- */

static PyObject *
semaphore_get_value(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(fmp_semaphore_value(as_semaphore(self)->shm));
}

static PyObject *
semaphore_is_zero(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(fmp_semaphore_value(as_semaphore(self)->shm) == 0);
}

static long
own_count(struct semaphore *self)
{
    return self->generation == fmp_fork_generation ? self->count : 0;
}

static PyObject *
semaphore_count(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(own_count(as_semaphore(self)));
}

static PyObject *
semaphore_is_mine(PyObject *op, PyObject *unused)
{
    (void)unused;
    struct semaphore *self = as_semaphore(op);
    return PyBool_FromLong(own_count(self) > 0 && self->thread == fmp_py_thread());
}

static PyObject *
semaphore_maxvalue(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(as_semaphore(self)->shm->max);
}

/* ---- the types ---- */

static PyMethodDef semaphore_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))semaphore_acquire, METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, /, block=True, timeout=None)\n--\n\nTake one, waiting at most ``timeout`` seconds if "
     "``block``.\n\n"
     ":returns: whether there was one"},
    {"release", (PyCFunction)(void (*)(void))semaphore_release, METH_FASTCALL,
     "release($self, /)\n--\n\nGive one back.\n\n:raises ValueError: if there are as many as there can be"},
    {"__enter__", semaphore_enter, METH_NOARGS, "Take one."},
    {"__exit__", (PyCFunction)(void (*)(void))semaphore_exit, METH_FASTCALL, "Give it back."},
    {"get_value", semaphore_get_value, METH_NOARGS, "get_value($self, /)\n--\n\nHow many there are now."},
    {"_get_value", semaphore_get_value, METH_NOARGS, "How many there are now."},
    {"locked", semaphore_is_zero, METH_NOARGS, "locked($self, /)\n--\n\nWhether there is none."},
    {"_is_zero", semaphore_is_zero, METH_NOARGS, "Whether there is none."},
    {"_is_mine", semaphore_is_mine, METH_NOARGS, "Whether this thread was the last of its process to take one."},
    {"_count", semaphore_count, METH_NOARGS, "How many this process has taken, less what it has given back."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_getset[] = {
    {"maxvalue", semaphore_maxvalue, NULL, "How many there can be.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, "Semaphore(value=1, *, ctx)\n--\n\nA counter of all processes, which `acquire` waits to be above 0."},
    {Py_tp_new, semaphore_new},
    {Py_tp_init, semaphore_init},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {0, NULL},
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, "BoundedSemaphore(value=1, *, ctx)\n--\n\nA semaphore that never counts more than it began with."},
    {Py_tp_init, bounded_init},
    {Py_tp_methods, semaphore_methods},
    {0, NULL},
};

static PyType_Spec semaphore_spec = {
    .name = "fastmp.synchronize.Semaphore",
    .basicsize = sizeof(struct semaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = semaphore_slots,
};

static PyType_Spec bounded_spec = {
    .name = "fastmp.synchronize.BoundedSemaphore",
    .basicsize = sizeof(struct semaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = bounded_slots,
};

int
fmp_py_register_semaphore(PyObject *module)
{
    PyTypeObject *type = fmp_py_add_type(module, &semaphore_spec, (PyObject *)fmp_py_semlock_type);
    PyTypeObject *bounded = type != NULL ? fmp_py_add_type(module, &bounded_spec, (PyObject *)type) : NULL;
    if (bounded == NULL || fmp_py_bound_register(type) < 0 || fmp_py_bound_register(bounded) < 0) {
        return -1;
    }
    return fmp_py_semlock_kind(type, FMP_PY_SEMAPHORE);
}

/*
 * `fastmp._core.Barrier`, the base of fastmp.synchronize.Barrier; see sync/barrier.h for its protocol. Called by:
 * Python.
 */
#include "sync/barrier.h"

#include "py/semlock.h"

#include <structmember.h> /* needs Python.h */

struct barrier {
    struct fmp_py_semlock base; /* for its block and its weak references: a Barrier is no SemLock */
    struct fmp_barrier_shm *shm;
    uint32_t parties;
    PyObject *action, *timeout; /* NULL before __init__ */
    struct fmp_spin spin;
};

static struct barrier *
as_barrier(PyObject *op)
{
    return (struct barrier *)op;
}

/* ---- making ---- */

static PyObject *
barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    PyObject *op = fmp_py_semlock_new(type, kwargs, sizeof(struct fmp_barrier_shm));
    if (op != NULL) {
        as_barrier(op)->shm = fmp_handle_at(&as_barrier(op)->base.handle);
    }
    return op;
}

static int
set_parties(struct barrier *self, Py_ssize_t parties)
{
    if (parties < 1) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0");
        return -1;
    }
    if (parties > (Py_ssize_t)FMP_BARRIER_PARTIES_MAX) {
        PyErr_Format(PyExc_ValueError, "parties must be <= %u", FMP_BARRIER_PARTIES_MAX);
        return -1;
    }
    self->parties = (uint32_t)parties;
    return 0;
}

static int
barrier_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"parties", "action", "timeout", "ctx", NULL};
    struct barrier *self = as_barrier(op);
    PyObject *action = Py_None, *timeout = Py_None, *ctx = NULL;
    Py_ssize_t parties;
    uint64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n|OO$O:Barrier", names, &parties, &action, &timeout, &ctx)) {
        return -1;
    }
    if (ctx == NULL) {
        PyErr_SetString(PyExc_TypeError, "Barrier.__init__() missing 1 required keyword-only argument: 'ctx'");
        return -1;
    }
    if (set_parties(self, parties) < 0 || fmp_py_semaphore_deadline(timeout, &deadline_ns) < 0) {
        return -1;
    }
    Py_XSETREF(self->action, Py_NewRef(action));
    Py_XSETREF(self->timeout, Py_NewRef(timeout));
    return 0;
}

static int
barrier_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_barrier(self)->action);
    Py_VISIT(as_barrier(self)->timeout);
    return 0;
}

static int
barrier_clear(PyObject *self)
{
    Py_CLEAR(as_barrier(self)->action);
    Py_CLEAR(as_barrier(self)->timeout);
    return 0;
}

static void
barrier_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    (void)barrier_clear(self);
    fmp_py_semlock_dealloc(self);
}

/* ---- wait ---- */

/* Raises threading.BrokenBarrierError; always NULL. */
static PyObject *
raise_broken(void)
{
    PyObject *module = PyImport_ImportModule("threading");
    PyObject *error = module != NULL ? PyObject_GetAttrString(module, "BrokenBarrierError") : NULL;
    if (error != NULL) {
        PyErr_SetNone(error);
    }
    Py_XDECREF(error);
    Py_XDECREF(module);
    return NULL;
}

static int
step(void *ctx, uint64_t deadline_ns)
{
    return fmp_barrier_wait(ctx, deadline_ns);
}

/* The last party: an action that fails breaks the barrier. 0, or -1 with an exception set. */
static int
act(struct barrier *self, struct fmp_barrier_waiter *w)
{
    PyObject *result = PyObject_CallNoArgs(self->action);
    if (result == NULL) {
        fmp_barrier_abort(self->shm);
        return -1;
    }
    Py_DECREF(result);
    if (fmp_barrier_trip(w) != 0) {
        raise_broken();
        return -1;
    }
    return 0;
}

/* 0 passed; 1 the generation before ours is over, arrive again; -1 with an exception set. */
static int
wait_out(struct fmp_barrier_waiter *w, bool arrived, uint64_t deadline_ns)
{
    int code = fmp_py_wait(step, w, deadline_ns);
    if (code == -ECANCELED) {
        if (arrived) {
            fmp_barrier_withdraw(w);
        }
        return -1;
    }
    if (!arrived) {
        return 1;
    }
    if (code != 0) {
        raise_broken();
        return -1;
    }
    return 0;
}

/* As wait_out. */
static int
pass(struct barrier *self, struct fmp_barrier_waiter *w, uint64_t deadline_ns)
{
    switch (fmp_barrier_arrive(w)) {
    case FMP_BARRIER_PASSES:
        return 0;
    case FMP_BARRIER_ACTS:
        return act(self, w);
    case FMP_BARRIER_WAITS:
        return wait_out(w, true, deadline_ns);
    case FMP_BARRIER_COMES:
        return wait_out(w, false, deadline_ns);
    case FMP_BARRIER_BROKEN:
        break;
    }
    raise_broken();
    return -1;
}

static PyObject *
barrier_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct barrier *self = as_barrier(op);
    PyObject *timeout;
    uint64_t deadline_ns;
    if (fmp_py_timeout_arg("wait", args, nargs, kwnames, &timeout) < 0) {
        return NULL;
    }
    if (self->action == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Barrier.__init__() was not called");
        return NULL;
    }
    if (fmp_py_semaphore_deadline(timeout == NULL || timeout == Py_None ? self->timeout : timeout, &deadline_ns) < 0 ||
        fmp_py_me(&self->base.handle) == 0) {
        return NULL;
    }
    struct fmp_barrier_waiter w = {.shm = self->shm,
                                   .region = &self->base.handle.space->region,
                                   .parties = self->parties,
                                   .acts = self->action != Py_None,
                                   .spin = self->spin};
    int rc;
    do {
        rc = pass(self, &w, deadline_ns);
    } while (rc == 1);
    self->spin = w.spin;
    return rc < 0 ? NULL : PyLong_FromUnsignedLong(w.index);
}

/* ---- the rest ---- */

static PyObject *
barrier_reset(PyObject *op, PyObject *unused)
{
    (void)unused;
    struct barrier *self = as_barrier(op);
    fmp_barrier_reset(self->shm, &self->base.handle.space->region);
    Py_RETURN_NONE;
}

static PyObject *
barrier_abort(PyObject *self, PyObject *unused)
{
    (void)unused;
    fmp_barrier_abort(as_barrier(self)->shm);
    Py_RETURN_NONE;
}

static PyObject *
get_parties(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(as_barrier(self)->parties);
}

static PyObject *
get_n_waiting(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(fmp_barrier_waiting(as_barrier(self)->shm, as_barrier(self)->parties));
}

static PyObject *
get_broken(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(fmp_barrier_is_broken(as_barrier(self)->shm));
}

static PyGetSetDef barrier_getset[] = {
    {"parties", get_parties, NULL, "How many processes must arrive.", NULL},
    {"n_waiting", get_n_waiting, NULL, "How many have arrived and wait.", NULL},
    {"broken", get_broken, NULL, "Whether the barrier is broken.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef barrier_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))barrier_wait, METH_FASTCALL | METH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\nWait until all parties have arrived, at most ``timeout`` "
     "seconds.\n\n:returns: the "
     "order of arrival, from 0\n:raises threading.BrokenBarrierError: if the barrier is or gets broken, or the time is "
     "over"},
    {"reset", barrier_reset, METH_NOARGS,
     "reset($self, /)\n--\n\nMake the barrier whole again; who waits is told it is broken."},
    {"abort", barrier_abort, METH_NOARGS, "abort($self, /)\n--\n\nBreak the barrier."},
    FMP_PY_REDUCE,
    {NULL, NULL, 0, NULL},
};

static PyMemberDef barrier_members[] = {
    {"_action", T_OBJECT, offsetof(struct barrier, action), READONLY, "What the last party calls."},
    {"_timeout", T_OBJECT, offsetof(struct barrier, timeout), READONLY, "How long `wait` waits if it is not told."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct barrier, base.weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc,
     "Barrier(parties, action=None, timeout=None, *, ctx)\n--\n\nA place where processes wait for each other."},
    {Py_tp_new, barrier_new},
    {Py_tp_init, barrier_init},
    {Py_tp_dealloc, barrier_dealloc},
    {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},
    {Py_tp_methods, barrier_methods},
    {Py_tp_members, barrier_members},
    {Py_tp_getset, barrier_getset},
    {0, NULL},
};

static PyType_Spec barrier_spec = {
    .name = "fastmp._core.Barrier",
    .basicsize = sizeof(struct barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = barrier_slots,
};

int
fmp_py_register_barrier(PyObject *module)
{
    return fmp_py_add_type(module, &barrier_spec, NULL) == NULL ? -1 : 0;
}

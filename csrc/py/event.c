/* `fastmp.synchronize.Event`; see sync/event.h for its protocol. Called by: Python. */
#include "sync/event.h"

#include "py/semlock.h"

#include <structmember.h> /* needs Python.h */

struct event {
    struct fmp_py_semlock base; /* for its block and its weak references: an Event is no SemLock */
    struct fmp_event_shm *shm;
    struct fmp_spin spin;
};

static struct event *
as_event(PyObject *op)
{
    return (struct event *)op;
}

static PyObject *
event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    PyObject *op = fmp_py_semlock_new(type, kwargs, sizeof(struct fmp_event_shm));
    if (op != NULL) {
        as_event(op)->shm = fmp_handle_at(&as_event(op)->base.handle);
    }
    return op;
}

static int
event_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    return fmp_py_only_ctx("Event", args, kwargs);
}

static PyObject *
event_is_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(fmp_event_is_set(as_event(self)->shm));
}

static PyObject *
event_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    fmp_event_set(as_event(self)->shm);
    Py_RETURN_NONE;
}

static PyObject *
event_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    fmp_event_clear(as_event(self)->shm);
    Py_RETURN_NONE;
}

static PyObject *
event_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct event *self = as_event(op);
    uint64_t deadline_ns;
    PyObject *timeout;
    if (fmp_py_timeout_arg("wait", args, nargs, kwnames, &timeout) < 0 ||
        fmp_py_semaphore_deadline(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    struct fmp_event_waiter waiter = fmp_event_begin(self->shm);
    struct fmp_spin spin = self->spin;
    spin.held_up = fmp_ec_never_held_up;
    int rc = fmp_py_await(&self->shm->changed, fmp_event_passed, &waiter, deadline_ns, &spin);
    self->spin = spin;
    return rc == FMP_PY_ERROR ? NULL : PyBool_FromLong(rc == FMP_PY_READY);
}

static PyMethodDef event_methods[] = {
    {"is_set", event_is_set, METH_NOARGS, "is_set($self, /)\n--\n\nWhether the flag is set."},
    {"set", event_set, METH_NOARGS, "set($self, /)\n--\n\nSet the flag: all who wait go on."},
    {"clear", event_clear, METH_NOARGS,
     "clear($self, /)\n--\n\nClear the flag: who waits from now on waits for the next `set`."},
    {"wait", (PyCFunction)(void (*)(void))event_wait, METH_FASTCALL | METH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\nWait until the flag is set, at most ``timeout`` seconds.\n\n:returns: "
     "whether it "
     "was, even if it was cleared at once"},
    FMP_PY_REDUCE,
    {NULL, NULL, 0, NULL},
};

static PyMemberDef event_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct event, base.weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc, "Event(*, ctx)\n--\n\nA flag that processes can wait for."},
    {Py_tp_new, event_new},
    {Py_tp_init, event_init},
    {Py_tp_dealloc, fmp_py_semlock_dealloc},
    {Py_tp_repr, fmp_py_cold_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_members, event_members},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "fastmp.synchronize.Event",
    .basicsize = sizeof(struct event),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = event_slots,
};

int
fmp_py_register_event(PyObject *module)
{
    return fmp_py_add_type(module, &event_spec, NULL) == NULL ? -1 : 0;
}

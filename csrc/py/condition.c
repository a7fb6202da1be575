/*
 * `fastmp.synchronize.Condition`; see sync/condition.h for its protocol. Called by: Python.
 *
 * Its lock is one of ours as a rule, and handled without Python calls. Any other object that has acquire, release and
 * the inner `_semlock` of the standard library's locks will do (condition_lock.c).
 */
#include "sync/condition.h"

#include <limits.h>

#include "py/condition_lock.h"
#include "sys/clock.h"

#include <structmember.h> /* needs Python.h */

/* As many waiters as one block of 2 KiB has records for. */
#define RECORDS ((2048 - sizeof(struct fmp_condition_shm)) / sizeof(uint64_t))
static_assert(FMP_CONDITION_BYTES(RECORDS) <= 2048, "the records end with the block");

struct condition {
    struct fmp_py_semlock base; /* for its block and its weak references: a Condition is no SemLock */
    struct fmp_condition shared;
    PyObject *lock;
    struct fmp_spin spin;
};

static PyTypeObject *condition_type; /* borrowed from the module */

static struct condition *
as_condition(PyObject *op)
{
    return (struct condition *)op;
}

/* ---- making ---- */

static PyObject *
condition_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    PyObject *op = fmp_py_semlock_new(type, kwargs, FMP_CONDITION_BYTES(RECORDS));
    if (op != NULL) {
        struct condition *self = as_condition(op);
        self->base.bound.is_off = true; /* until there is a lock */
        self->shared = (struct fmp_condition){
            .shm = fmp_handle_at(&self->base.handle), .region = &self->base.handle.space->region, .records = RECORDS};
    }
    return op;
}

/* A Condition on a lock of ours refers to nothing that could refer to it, if it is no subclass's. So the garbage
 * collector, which does not see who has a kept method, need not know it. */
static void
keep_bound_methods(PyObject *op)
{
    struct fmp_py_bound *bound = &as_condition(op)->base.bound;
    bound->is_off = !Py_IS_TYPE(op, condition_type) || !fmp_py_is_plain_lock(as_condition(op)->lock);
    if (!bound->is_off) {
        PyObject_GC_UnTrack(op);
    } else if (!PyObject_GC_IsTracked(op)) {
        PyObject_GC_Track(op);
        fmp_py_bound_forget(op, bound);
    }
}

static int
condition_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"lock", "ctx", NULL};
    PyObject *lock = Py_None, *ctx = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:Condition", names, &lock, &ctx)) {
        return -1;
    }
    if (ctx == NULL) {
        PyErr_SetString(PyExc_TypeError, "Condition.__init__() missing 1 required keyword-only argument: 'ctx'");
        return -1;
    }
    lock = lock != Py_None ? Py_NewRef(lock) : PyObject_CallMethod(ctx, "RLock", NULL);
    if (lock == NULL || fmp_py_condition_lock_check(lock) < 0) {
        Py_XDECREF(lock);
        return -1;
    }
    Py_XSETREF(as_condition(op)->lock, lock);
    keep_bound_methods(op);
    return 0;
}

static int
condition_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_condition(self)->lock);
    return 0;
}

static int
condition_clear(PyObject *self)
{
    Py_CLEAR(as_condition(self)->lock);
    return 0;
}

static void
condition_dealloc(PyObject *self)
{
    if (fmp_py_bound_dealloc(self, &as_condition(self)->base.bound)) {
        return;
    }
    PyObject_GC_UnTrack(self);
    (void)condition_clear(self);
    fmp_py_semlock_dealloc(self);
}

/* ---- the lock's own methods ---- */

/* False with an exception set where a subclass has not called __init__. */
static bool
has_lock(struct condition *self)
{
    if (FMP_UNLIKELY(self->lock == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "Condition.__init__() was not called");
    }
    return self->lock != NULL;
}

static PyObject *
call_lock(PyObject *op, const char *method, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct condition *self = as_condition(op);
    PyObject *bound = has_lock(self) ? PyObject_GetAttrString(self->lock, method) : NULL;
    if (bound == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(bound, args, (size_t)nargs, kwnames);
    Py_DECREF(bound);
    return result;
}

/* The lock if it is one of ours, else NULL. */
FMP_INLINE PyObject *
plain_lock(PyObject *op)
{
    PyObject *lock = as_condition(op)->lock;
    return FMP_LIKELY(lock != NULL && fmp_py_is_plain_lock(lock)) ? lock : NULL;
}

static PyObject *
condition_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *lock = plain_lock(self);
    if (FMP_UNLIKELY(lock == NULL)) {
        return call_lock(self, "acquire", args, nargs, kwnames);
    }
    Py_INCREF(lock); /* while we wait another thread may give the condition another one */
    PyObject *result = fmp_py_lock_acquire(lock, args, nargs, kwnames);
    Py_DECREF(lock);
    return result;
}

static PyObject *
condition_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *lock = plain_lock(self);
    return FMP_LIKELY(lock != NULL) ? fmp_py_lock_exit(lock) : call_lock(self, "release", NULL, 0, NULL);
}

static PyObject *
condition_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *lock = plain_lock(self);
    if (FMP_UNLIKELY(lock == NULL)) {
        return call_lock(self, "__enter__", NULL, 0, NULL);
    }
    Py_INCREF(lock); /* as above */
    PyObject *result = fmp_py_lock_enter(lock, NULL);
    Py_DECREF(lock);
    return result;
}

static PyObject *
condition_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *lock = plain_lock(self);
    return FMP_LIKELY(lock != NULL) ? fmp_py_lock_exit(lock) : call_lock(self, "__exit__", args, nargs, NULL);
}

/* ---- wait ---- */

static int
step(void *ctx, uint64_t deadline_ns)
{
    return fmp_condition_sleep(ctx, deadline_ns);
}

/* Enlisted, with the lock released: sleeps, and takes the lock again whatever happens. As fmp_py_wait's code. */
static int
sleep_and_retake(struct condition *self, struct fmp_condition_waiter *w, uint64_t deadline_ns, size_t count)
{
    int code = fmp_py_wait(step, w, deadline_ns);
    if (code == -ECANCELED) {
        fmp_condition_cancel(w);
    }
    bool interrupted = fmp_py_condition_lock_retake(self->lock, count) < 0 || PyErr_Occurred();
    if (code == 0 && interrupted) {
        fmp_condition_cancel(w); /* nobody will act on the notification here: it goes to another */
    } else if (code == 0) {
        fmp_condition_leave(w); /* only now: were we killed before, it would go to another too */
    }
    return interrupted ? -ECANCELED : code;
}

/* The caller is known to hold the lock. 1 notified, 0 not in time, -1 with an exception set. */
static int
wait_until(struct condition *self, uint64_t deadline_ns)
{
    struct fmp_condition_waiter w = {.condition = &self->shared, .spin = self->spin};
    if (fmp_py_me(&self->base.handle) == 0) {
        return -1;
    }
    if (fmp_condition_enlist(&w) != 0) {
        PyErr_Format(PyExc_OSError, "more than %d threads wait on one Condition", (int)RECORDS);
        return -1;
    }
    size_t count;
    if (fmp_py_condition_lock_release(self->lock, &count) < 0) {
        fmp_condition_cancel(&w);
        return -1;
    }
    int code = sleep_and_retake(self, &w, deadline_ns, count);
    self->spin = w.spin;
    return code == 0 ? 1 : code == -ETIMEDOUT ? 0 : -1;
}

/* 0 if this thread holds the lock, else -1 with AssertionError set. */
static int
check_mine(struct condition *self, const char *otherwise)
{
    int mine = has_lock(self) ? fmp_py_condition_lock_is_mine(self->lock) : -1;
    if (mine == 0) {
        PyErr_SetString(PyExc_AssertionError, otherwise);
    }
    return mine == 1 ? 0 : -1;
}

static PyObject *
condition_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct condition *self = as_condition(op);
    uint64_t deadline_ns;
    PyObject *timeout;
    if (fmp_py_timeout_arg("wait", args, nargs, kwnames, &timeout) < 0 ||
        check_mine(self, "must acquire() condition before using wait()") < 0 ||
        fmp_py_semaphore_deadline(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    int notified = wait_until(self, deadline_ns);
    return notified < 0 ? NULL : PyBool_FromLong(notified);
}

/* Calls predicate() until it is true or the time is over: its last result, or NULL. */
static PyObject *
wait_for_until(PyObject *op, PyObject *predicate, uint64_t deadline_ns)
{
    for (;;) {
        PyObject *result = PyObject_CallNoArgs(predicate);
        int is_true = result != NULL ? PyObject_IsTrue(result) : -1;
        if (is_true == 1 || (is_true == 0 && deadline_ns != FMP_NEVER && sys_now_ns() >= deadline_ns)) {
            return result;
        }
        Py_XDECREF(result);
        if (is_true < 0 || check_mine(as_condition(op), "must acquire() condition before using wait()") < 0 ||
            wait_until(as_condition(op), deadline_ns) < 0) {
            return NULL;
        }
    }
}

static PyObject *
condition_wait_for(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"predicate", "timeout"};
    PyObject *given[2];
    uint64_t deadline_ns;
    if (fmp_py_args("wait_for", names, 2, 1, args, nargs, kwnames, given) < 0 ||
        fmp_py_semaphore_deadline(given[1], &deadline_ns) < 0) {
        return NULL;
    }
    return wait_for_until(op, given[0], deadline_ns);
}

/* ---- notify ---- */

static PyObject *
notify(struct condition *self, unsigned n)
{
    if (check_mine(self, "lock is not owned") < 0) {
        return NULL;
    }
    (void)fmp_condition_notify(&self->shared, n);
    Py_RETURN_NONE;
}

static PyObject *
condition_notify(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"n"};
    PyObject *given;
    Py_ssize_t n = 1;
    if (fmp_py_args("notify", names, 1, 0, args, nargs, kwnames, &given) < 0) {
        return NULL;
    }
    if (given != NULL) {
        n = PyNumber_AsSsize_t(given, NULL); /* a number too large is all of them */
        if (n == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    return notify(as_condition(self), n < 0 ? 0 : n > UINT_MAX ? UINT_MAX : (unsigned)n);
}

static PyObject *
condition_notify_all(PyObject *self, PyObject *unused)
{
    (void)unused;
    return notify(as_condition(self), UINT_MAX);
}

/* ---- looks ---- */

static PyObject *
condition_waiting(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(fmp_condition_waiting(&as_condition(self)->shared));
}

static PyObject *
condition_notified(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(fmp_condition_notified(&as_condition(self)->shared));
}

static PyObject *
get_cold(PyObject *self, void *name)
{
    return fmp_py_cold(name, self);
}

static PyGetSetDef condition_getset[] = {
    {"_sleeping_count", get_cold, NULL, "Has get_value(): how many wait or are about to wake.", "_sleeping_count"},
    {"_woken_count", get_cold, NULL, "Has get_value(): how many of those have been notified.", "_woken_count"},
    {"_wait_semaphore", get_cold, NULL, "Has get_value(): 0, as every notification has its receiver.",
     "_wait_semaphore"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef condition_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))condition_acquire, METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, /, block=True, timeout=None)\n--\n\nTake the condition's lock."},
    {"release", condition_release, METH_NOARGS, "release($self, /)\n--\n\nLet go of the condition's lock."},
    {"__enter__", condition_enter, METH_NOARGS, "Take the condition's lock."},
    {"__exit__", (PyCFunction)(void (*)(void))condition_exit, METH_FASTCALL, "Let go of the condition's lock."},
    {"wait", (PyCFunction)(void (*)(void))condition_wait, METH_FASTCALL | METH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\nLet go of the lock, wait for a notification for at most ``timeout`` seconds, "
     "and take "
     "the lock again.\n\n:returns: whether a notification came\n:raises AssertionError: without the lock"},
    {"wait_for", (PyCFunction)(void (*)(void))condition_wait_for, METH_FASTCALL | METH_KEYWORDS,
     "wait_for($self, /, predicate, timeout=None)\n--\n\nWait until ``predicate()`` is true.\n\n:returns: its last "
     "result"},
    {"notify", (PyCFunction)(void (*)(void))condition_notify, METH_FASTCALL | METH_KEYWORDS,
     "notify($self, /, n=1)\n--\n\nWake ``n`` waiters, those who have waited longest.\n\n:raises AssertionError: "
     "without the "
     "lock"},
    {"notify_all", condition_notify_all, METH_NOARGS, "notify_all($self, /)\n--\n\nWake all waiters."},
    {"_waiting", condition_waiting, METH_NOARGS, "How many wait and have not been notified."},
    {"_notified", condition_notified, METH_NOARGS, "How many have been notified and do not have the lock again."},
    FMP_PY_REDUCE,
    {NULL, NULL, 0, NULL},
};

static PyMemberDef condition_members[] = {
    {"_lock", T_OBJECT_EX, offsetof(struct condition, lock), READONLY, "The lock."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct condition, base.weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot condition_slots[] = {
    {Py_tp_doc,
     "Condition(lock=None, *, ctx)\n--\n\nWaiting, under a lock, for what another process does under the same lock."},
    {Py_tp_new, condition_new},
    {Py_tp_init, condition_init},
    {Py_tp_dealloc, condition_dealloc},
    {Py_tp_traverse, condition_traverse},
    {Py_tp_clear, condition_clear},
    {Py_tp_repr, fmp_py_cold_repr},
    {Py_tp_methods, condition_methods},
    {Py_tp_members, condition_members},
    {Py_tp_getset, condition_getset},
    {0, NULL},
};

static PyType_Spec condition_spec = {
    .name = "fastmp.synchronize.Condition",
    .basicsize = sizeof(struct condition),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = condition_slots,
};

int
fmp_py_register_condition(PyObject *module)
{
    condition_type = fmp_py_add_type(module, &condition_spec, NULL);
    return condition_type != NULL ? fmp_py_bound_register(condition_type) : -1;
}

/*
 * fastmp._core.Future: the C half of the executor's futures. Called by: fastmp/concurrent/futures/process.py, whose
 * Future is this and a concurrent.futures.Future: state, result and exception live here, under the names that the
 * standard library's code uses, so that wait, as_completed, add_done_callback and asyncio work on it; condition,
 * waiters and callbacks are made when somebody asks for them.
 */
#include "py/job.h"

#include <structmember.h>

#include "py/args.h"
#include "py/types.h"

enum state { PENDING, RUNNING, CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, STATES };

struct fmp_future {
    struct fmp_job job; /* value is the result or, unless success, the exception */
    uint8_t state;
    PyObject *condition, *waiters, *callbacks;
};

PyTypeObject *fmp_future_type;
static const char *const state_text[STATES] = {"PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"};
static PyObject *state_names[STATES];

/* ---- completion ---- */

static void
tell(PyObject *self, const char *method)
{
    PyObject *result = PyObject_CallMethod(self, method, NULL);
    if (result == NULL) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(result);
}

static bool
somebody_listens(const struct fmp_future *f)
{
    return f->condition != NULL || f->callbacks != NULL || f->waiters != NULL;
}

void
fmp_future_finish(struct fmp_job *job)
{
    struct fmp_future *f = (struct fmp_future *)job;
    if (f->state == CANCELLED || f->state == CANCELLED_AND_NOTIFIED) {
        return; /* cancelled in the same moment as its worker was lost */
    }
    f->state = FINISHED;
    job->done = true;
    if (FMP_UNLIKELY(somebody_listens(f))) {
        tell((PyObject *)f, "_announce");
    }
}

void
fmp_future_cancelled(struct fmp_job *job)
{
    struct fmp_future *f = (struct fmp_future *)job;
    job->done = true;
    if (f->state == CANCELLED && somebody_listens(f)) {
        tell((PyObject *)f, "set_running_or_notify_cancel");
    } else {
        f->state = CANCELLED_AND_NOTIFIED;
    }
}

/* Has a worker begun the task? It says so by its claim. */
static void
refresh(struct fmp_future *f)
{
    struct fmp_job *job = &f->job;
    if (f->state != PENDING) {
        return;
    }
    /* relaxed: news, no more */
    if (job->begun || (job->claim != 0 && job->crew != NULL &&
                       fmp_load_relaxed(&job->crew->shm->claims[job->claim - 1]) == FMP_CLAIM_RUNNING)) {
        f->state = RUNNING;
    }
}

static bool
is_ours(const struct fmp_future *f)
{
    return f->job.crew != NULL && f->job.crew->fork_generation == fmp_fork_generation;
}

/* Takes what results there are, so that a future that is done says so although nobody waits. */
static int
look(struct fmp_future *f)
{
    if (f->job.done || !is_ours(f)) {
        return 0;
    }
    int rc = fmp_crew_pump(f->job.crew);
    refresh(f);
    return rc;
}

/* ---- waiting ---- */

/* FMP_PY_READY: it is done; FMP_PY_TIMEOUT; FMP_PY_ERROR. For futures of a crew of this process. */
static int
wait_done(struct fmp_future *f, PyObject *timeout)
{
    uint64_t deadline_ns;
    if (fmp_py_deadline(timeout, &deadline_ns) < 0) {
        return FMP_PY_ERROR;
    }
    struct fmp_crew *crew = (struct fmp_crew *)Py_NewRef((PyObject *)f->job.crew);
    int rc = fmp_crew_wait(crew, &f->job, deadline_ns);
    Py_DECREF(crew);
    if (rc == FMP_PY_TIMEOUT) {
        PyErr_SetNone(PyExc_TimeoutError);
        return FMP_PY_ERROR;
    }
    return rc;
}

/* Waits as `name` of the standard library does, for a future that no crew of this process completes. */
static PyObject *
standard(PyObject *self, const char *name, PyObject *timeout)
{
    static PyObject *kept;
    PyObject *base = fmp_py_lookup(&kept, "concurrent.futures._base", "Future");
    if (base == NULL) {
        return NULL;
    }
    return PyObject_CallMethod(base, name, "OO", self, timeout != NULL ? timeout : Py_None);
}

static bool
is_cancelled(const struct fmp_future *f)
{
    return f->state == CANCELLED || f->state == CANCELLED_AND_NOTIFIED;
}

static void
raise_cancelled(void)
{
    static PyObject *kept;
    PyObject *error = fmp_py_lookup(&kept, "concurrent.futures._base", "CancelledError");
    if (error != NULL) {
        PyErr_SetNone(error);
    }
}

/* Parses the timeout and waits: 1 it is done here, 0 the standard library must wait (timeout in *timeout), -1 with an
 * exception. */
static int
await_outcome(PyObject *self, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
              PyObject **timeout)
{
    static const char *const names[] = {"timeout"};
    struct fmp_future *f = (struct fmp_future *)self;
    if (fmp_py_args(name, names, 1, 0, args, nargs, kwnames, timeout) < 0) {
        return -1;
    }
    if (f->state < CANCELLED) {
        if (!is_ours(f)) {
            return 0;
        }
        if (wait_done(f, *timeout) < 0) {
            return -1;
        }
    }
    if (is_cancelled(f)) {
        raise_cancelled();
        return -1;
    }
    return f->state == FINISHED;
}

PyDoc_STRVAR(result_doc, "result($self, /, timeout=None)\n--\n\nThe call's result, or its exception raised; "
                         "TimeoutError after timeout seconds.");
static PyObject *
future_result(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout;
    struct fmp_job *job = (struct fmp_job *)self;
    int rc = await_outcome(self, "result", args, nargs, kwnames, &timeout);
    if (rc <= 0) {
        return rc < 0 ? NULL : standard(self, "result", timeout);
    }
    if (job->success) {
        return Py_NewRef(job->value != NULL ? job->value : Py_None);
    }
    PyErr_SetObject((PyObject *)Py_TYPE(job->value), job->value);
    return NULL;
}

PyDoc_STRVAR(exception_doc,
             "exception($self, /, timeout=None)\n--\n\nThe exception that the call raised, None if it raised none.");
static PyObject *
future_exception(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout;
    struct fmp_job *job = (struct fmp_job *)self;
    int rc = await_outcome(self, "exception", args, nargs, kwnames, &timeout);
    if (rc <= 0) {
        return rc < 0 ? NULL : standard(self, "exception", timeout);
    }
    return Py_NewRef(job->success ? Py_None : job->value);
}

PyDoc_STRVAR(done_doc, "done($self, /)\n--\n\nWas the future cancelled, or has the call ended?");
static PyObject *
future_done(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_future *f = (struct fmp_future *)self;
    return look(f) < 0 ? NULL : PyBool_FromLong(f->state >= CANCELLED);
}

PyDoc_STRVAR(running_doc, "running($self, /)\n--\n\nIs a worker at the call?");
static PyObject *
future_running(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_future *f = (struct fmp_future *)self;
    return look(f) < 0 ? NULL : PyBool_FromLong(f->state == RUNNING);
}

PyDoc_STRVAR(
    try_cancel_doc,
    "_try_cancel($self, /)\n--\n\nCancels the call if no worker has begun it. True if this call cancelled it.");
static PyObject *
future_try_cancel(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_future *f = (struct fmp_future *)self;
    if (look(f) < 0) {
        return NULL;
    }
    if (f->state != PENDING) {
        Py_RETURN_FALSE;
    }
    if (f->job.claim != 0 && is_ours(f)) {
        uint8_t pending = FMP_CLAIM_PENDING;
        /* relaxed: one CAS decides between parent and worker, and publishes nothing else */
        if (!fmp_cas_relaxed(&f->job.crew->shm->claims[f->job.claim - 1], &pending, FMP_CLAIM_CANCELLED)) {
            f->state = RUNNING;
            Py_RETURN_FALSE;
        }
    }
    f->state = CANCELLED;
    f->job.done = true;
    Py_RETURN_TRUE;
}

/* ---- the attributes that the standard library's code uses ---- */

static PyObject *
get_state(PyObject *self, void *unused)
{
    (void)unused;
    struct fmp_future *f = (struct fmp_future *)self;
    refresh(f);
    return Py_NewRef(state_names[f->state]);
}

static int
set_state(PyObject *self, PyObject *value, void *unused)
{
    (void)unused;
    struct fmp_future *f = (struct fmp_future *)self;
    for (int i = 0; value != NULL && i < STATES; i++) {
        if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, state_text[i]) == 0) {
            f->state = (uint8_t)i;
            f->job.done = i >= CANCELLED;
            return 0;
        }
    }
    PyErr_SetString(PyExc_ValueError, "not a state of a future");
    return -1;
}

static PyObject *
get_result(PyObject *self, void *unused)
{
    (void)unused;
    struct fmp_job *job = (struct fmp_job *)self;
    return Py_NewRef(job->success && job->value != NULL ? job->value : Py_None);
}

static PyObject *
get_exception(PyObject *self, void *unused)
{
    (void)unused;
    struct fmp_job *job = (struct fmp_job *)self;
    return Py_NewRef(!job->success && job->value != NULL ? job->value : Py_None);
}

static int
set_outcome(PyObject *self, PyObject *value, void *success)
{
    struct fmp_job *job = (struct fmp_job *)self;
    if (value == NULL || (success == NULL && value == Py_None)) { /* the standard library clears `_exception` so */
        return 0;
    }
    job->success = success != NULL;
    Py_XSETREF(job->value, Py_NewRef(value));
    return 0;
}

static PyObject *
get_condition(PyObject *self, void *unused)
{
    (void)unused;
    struct fmp_future *f = (struct fmp_future *)self;
    if (f->condition == NULL) {
        PyObject *threading = PyImport_ImportModule("threading");
        f->condition = threading != NULL ? PyObject_CallMethod(threading, "Condition", NULL) : NULL;
        Py_XDECREF(threading);
    }
    /* Somebody is going to wait elsewhere than here: then somebody else must pump. */
    if (f->condition == NULL || (!f->job.done && is_ours(f) && fmp_crew_ask_for_helper(f->job.crew) < 0)) {
        return NULL;
    }
    return Py_NewRef(f->condition);
}

static PyObject *
get_list(PyObject **list)
{
    if (*list == NULL) {
        *list = PyList_New(0);
    }
    return Py_XNewRef(*list);
}

static PyObject *
get_waiters(PyObject *self, void *unused)
{
    (void)unused;
    return get_list(&((struct fmp_future *)self)->waiters);
}

static PyObject *
get_callbacks(PyObject *self, void *unused)
{
    (void)unused;
    return get_list(&((struct fmp_future *)self)->callbacks);
}

static PyGetSetDef future_getset[] = {
    {"_state", get_state, set_state, "The state, as in concurrent.futures.", NULL},
    {"_result", get_result, set_outcome, "The result, None if there is none.", ""},
    {"_exception", get_exception, set_outcome, "The exception, None if there is none.", NULL},
    {"_condition", get_condition, NULL, "Notified when the future is done.", NULL},
    {"_waiters", get_waiters, NULL, "Who waits for several futures.", NULL},
    {"_done_callbacks", get_callbacks, NULL, "Called when the future is done.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef future_methods[] = {
    {"result", (PyCFunction)(void (*)(void))future_result, METH_FASTCALL | METH_KEYWORDS, result_doc},
    {"exception", (PyCFunction)(void (*)(void))future_exception, METH_FASTCALL | METH_KEYWORDS, exception_doc},
    {"done", future_done, METH_NOARGS, done_doc},
    {"running", future_running, METH_NOARGS, running_doc},
    {"_try_cancel", future_try_cancel, METH_NOARGS, try_cancel_doc},
    {NULL, NULL, 0, NULL},
};

static int
future_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct fmp_future *f = (struct fmp_future *)self;
    Py_VISIT(f->condition);
    Py_VISIT(f->waiters);
    Py_VISIT(f->callbacks);
    return fmp_job_traverse(self, visit, arg);
}

static int
future_clear(PyObject *self)
{
    struct fmp_future *f = (struct fmp_future *)self;
    Py_CLEAR(f->condition);
    Py_CLEAR(f->waiters);
    Py_CLEAR(f->callbacks);
    return fmp_job_clear(self);
}

static void
future_dealloc(PyObject *self)
{
    fmp_job_free(self, future_clear);
}

/* The standard library's __init__ would make what is here already, and a condition that may never be asked for. */
static int
future_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Future() takes no arguments");
        return -1;
    }
    return 0;
}

static PyType_Slot future_slots[] = {
    {Py_tp_doc, "The C half of an executor's future."},
    {Py_tp_dealloc, future_dealloc},
    {Py_tp_traverse, future_traverse},
    {Py_tp_clear, future_clear},
    {Py_tp_init, future_init},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_getset},
    {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "fastmp._core.Future",
    .basicsize = sizeof(struct fmp_future),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = future_slots,
};

int
fmp_py_register_future(PyObject *module)
{
    for (int i = 0; i < STATES; i++) {
        Py_XSETREF(state_names[i], PyUnicode_InternFromString(state_text[i]));
        if (state_names[i] == NULL) {
            return -1;
        }
    }
    fmp_future_type = fmp_py_add_type(module, &future_spec, (PyObject *)fmp_job_type);
    return fmp_future_type != NULL ? 0 : -1;
}

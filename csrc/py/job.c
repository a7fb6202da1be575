/*
 * fastmp._core.Job: what AsyncResult, MapResult and the imap iterators wait with. Called by: fastmp/pool.py, which
 * subclasses it.
 */
#include "py/job.h"

#include <structmember.h>

#include "py/args.h"
#include "py/types.h"

PyTypeObject *fmp_job_type;
static PyObject *exc_timeout; /* multiprocessing.TimeoutError */

int
fmp_job_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct fmp_job *job = (struct fmp_job *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(job->crew);
    Py_VISIT(job->value);
    Py_VISIT(job->function);
    Py_VISIT(job->owner);
    return 0;
}

int
fmp_job_clear(PyObject *self)
{
    struct fmp_job *job = (struct fmp_job *)self;
    Py_CLEAR(job->crew);
    Py_CLEAR(job->value);
    Py_CLEAR(job->function);
    Py_CLEAR(job->owner);
    return 0;
}

void
fmp_job_free(PyObject *self, inquiry clear)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (((struct fmp_job *)self)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    (void)clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static void
job_dealloc(PyObject *self)
{
    fmp_job_free(self, fmp_job_clear);
}

/* A forked copy of a job waits for a parent's result that will never come to this process: only the deadline ends that.
 */
static bool
is_ours(struct fmp_job *job)
{
    return job->crew != NULL && job->crew->fork_generation == fmp_fork_generation;
}

/* FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PY_ERROR */
static int
wait_for(struct fmp_job *job, PyObject *timeout)
{
    uint64_t deadline_ns;
    if (fmp_py_deadline(timeout, &deadline_ns) < 0) {
        return FMP_PY_ERROR;
    }
    if (job->done) {
        return FMP_PY_READY;
    }
    if (!is_ours(job)) {
        PyErr_SetString(PyExc_RuntimeError, "the result belongs to another process, or to a pool that is gone");
        return FMP_PY_ERROR;
    }
    struct fmp_crew *crew = (struct fmp_crew *)Py_NewRef((PyObject *)job->crew);
    int rc = fmp_crew_wait(crew, job, deadline_ns);
    Py_DECREF(crew);
    return rc;
}

static int
look(struct fmp_job *job)
{
    if (job->done || !is_ours(job)) {
        return 0;
    }
    struct fmp_crew *crew = (struct fmp_crew *)Py_NewRef((PyObject *)job->crew);
    int rc = fmp_crew_pump(crew);
    Py_DECREF(crew);
    return rc;
}

PyDoc_STRVAR(ready_doc, "ready($self, /)\n--\n\nHas the call completed?");
static PyObject *
job_ready(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_job *job = (struct fmp_job *)self;
    return look(job) < 0 ? NULL : PyBool_FromLong(job->done);
}

PyDoc_STRVAR(
    successful_doc,
    "successful($self, /)\n--\n\nDid the call complete without an exception? ValueError if it has not completed.");
static PyObject *
job_successful(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_job *job = (struct fmp_job *)self;
    if (look(job) < 0) {
        return NULL;
    }
    if (!job->done) {
        PyErr_Format(PyExc_ValueError, "%R not ready", self);
        return NULL;
    }
    return PyBool_FromLong(job->success);
}

PyDoc_STRVAR(wait_doc,
             "wait($self, /, timeout=None)\n--\n\nWaits until the result is there, or timeout seconds have passed.");
static PyObject *
job_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    PyObject *a[1];
    if (fmp_py_args("wait", names, 1, 0, args, nargs, kwnames, a) < 0 || wait_for((struct fmp_job *)self, a[0]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The value, or the exception raised. */
static PyObject *
outcome(bool success, PyObject *value)
{
    if (success) {
        return Py_NewRef(value != NULL ? value : Py_None);
    }
    if (value == NULL || !PyExceptionInstance_Check(value)) {
        PyErr_Format(PyExc_RuntimeError, "a task failed with %R, which is no exception",
                     value != NULL ? value : Py_None);
        return NULL;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    return NULL;
}

PyDoc_STRVAR(get_doc,
             "get($self, /, timeout=None)\n--\n\n"
             "The result, or the call's exception raised; multiprocessing.TimeoutError after timeout seconds.");
static PyObject *
job_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    struct fmp_job *job = (struct fmp_job *)self;
    PyObject *a[1];
    if (fmp_py_args("get", names, 1, 0, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    switch (wait_for(job, a[0])) {
    case FMP_PY_READY:
        return outcome(job->success, job->value);
    case FMP_PY_TIMEOUT:
        PyErr_SetNone(exc_timeout);
    }
    return NULL;
}

/* ---- streams ---- */

/* Takes the next item's (success, value) out of the stream: a new reference, NULL without an exception if it is not
 * there. */
static PyObject *
take_next(struct fmp_job *job)
{
    PyObject *key = PyLong_FromSsize_t(job->next);
    if (key == NULL) {
        return NULL;
    }
    PyObject *item = PyDict_GetItemWithError(job->value, key);
    if (item != NULL) {
        Py_INCREF(item);
        if (PyDict_DelItem(job->value, key) < 0) {
            Py_CLEAR(item);
        } else {
            job->next++;
        }
    }
    Py_DECREF(key);
    return item;
}

/* Waits until an item or the end is there: 1 item in *item, 0 the end, -1 with an exception (TimeoutError too). */
static int
await_next(struct fmp_job *job, uint64_t deadline_ns, PyObject **item)
{
    for (;;) {
        *item = take_next(job);
        if (*item != NULL) {
            return 1;
        }
        if (PyErr_Occurred()) {
            return -1;
        }
        if (job->length >= 0 && job->next >= job->length) {
            return 0;
        }
        if (FMP_UNLIKELY(job->done)) { /* all are there, and this one is not */
            fmp_py_raise(-EBADMSG, "a damaged result: this one came with another number");
            return -1;
        }
        if (!is_ours(job)) {
            PyErr_SetString(PyExc_RuntimeError, "the results belong to another process, or to a pool that is gone");
            return -1;
        }
        /* What came in the meantime was delivered by the pump inside the wait, so look again before saying timeout. */
        Py_ssize_t arrived = job->arrived, length = job->length;
        if (fmp_crew_pump_some(job->crew) < 0) {
            return -1;
        }
        if (arrived != job->arrived || length != job->length) {
            continue;
        }
        int rc = fmp_crew_wait(job->crew, NULL, deadline_ns);
        if (rc == FMP_PY_TIMEOUT && arrived == job->arrived && length == job->length) {
            PyErr_SetNone(exc_timeout);
            return -1;
        }
        if (rc == FMP_PY_ERROR) {
            return -1;
        }
    }
}

static PyObject *
next_by(struct fmp_job *job, uint64_t deadline_ns)
{
    PyObject *item;
    if (job->value == NULL || !PyDict_CheckExact(job->value) || await_next(job, deadline_ns, &item) <= 0) {
        return NULL; /* without an exception: StopIteration */
    }
    PyObject *result = outcome(PyTuple_GET_ITEM(item, 0) == Py_True, PyTuple_GET_ITEM(item, 1));
    Py_DECREF(item);
    return result;
}

static PyObject *
job_iternext(PyObject *self)
{
    return next_by((struct fmp_job *)self, FMP_NEVER);
}

PyDoc_STRVAR(next_doc, "next($self, /, timeout=None)\n--\n\n"
                       "The next result of an imap iterator; multiprocessing.TimeoutError after timeout seconds.");
static PyObject *
job_next(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    PyObject *a[1];
    uint64_t deadline_ns;
    if (fmp_py_args("next", names, 1, 0, args, nargs, kwnames, a) < 0 || fmp_py_deadline(a[0], &deadline_ns) < 0) {
        return NULL;
    }
    PyObject *result = next_by((struct fmp_job *)self, deadline_ns);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

/* ---- for the helper thread ---- */

PyDoc_STRVAR(finish_doc, "_finish($self, /)\n--\n\nThe callbacks have run: those who wait may go on.");
static PyObject *
job_finish(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_job *job = (struct fmp_job *)self;
    job->done = true;
    if (is_ours(job)) {
        fmp_crew_poke(job->crew);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(complete_doc,
             "_complete($self, value, /)\n--\n\nA result that needed no worker; _finish is still to be called.");
static PyObject *
job_complete(PyObject *self, PyObject *value)
{
    struct fmp_job *job = (struct fmp_job *)self;
    job->success = true;
    Py_XSETREF(job->value, Py_NewRef(value));
    Py_RETURN_NONE;
}

static PyMethodDef job_methods[] = {
    {"ready", job_ready, METH_NOARGS, ready_doc},
    {"successful", job_successful, METH_NOARGS, successful_doc},
    {"wait", (PyCFunction)(void (*)(void))job_wait, METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {"get", (PyCFunction)(void (*)(void))job_get, METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"_finish", job_finish, METH_NOARGS, finish_doc},
    {"_complete", job_complete, METH_O, complete_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef job_members[] = {
    {"_success", T_BOOL, offsetof(struct fmp_job, success), READONLY, "The call completed without an exception."},
    {"_value", T_OBJECT, offsetof(struct fmp_job, value), READONLY, "The result or the exception."},
    {"_deferred", T_BOOL, offsetof(struct fmp_job, deferred), 0, "The helper thread finishes the job (callbacks)."},
    {"_pool", T_OBJECT, offsetof(struct fmp_job, owner), 0, "What is to live until the results are there."},
    {"_job", T_ULONGLONG, offsetof(struct fmp_job, id), READONLY, "Its number in the pool."},
    {"_length", T_PYSSIZET, offsetof(struct fmp_job, length), READONLY, "How many results there will be."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct fmp_job, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot job_slots[] = {
    {Py_tp_doc, "What one call of a pool waits for."},
    {Py_tp_dealloc, job_dealloc},
    {Py_tp_traverse, fmp_job_traverse},
    {Py_tp_clear, fmp_job_clear},
    {Py_tp_methods, job_methods},
    {Py_tp_members, job_members},
    {0, NULL},
};

static PyType_Spec job_spec = {
    .name = "fastmp._core.Job",
    .basicsize = sizeof(struct fmp_job),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = job_slots,
};

static PyMethodDef stream_methods[] = {
    {"next", (PyCFunction)(void (*)(void))job_next, METH_FASTCALL | METH_KEYWORDS, next_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, "The results of an imap call, one by one."},
    {Py_tp_dealloc, job_dealloc},
    {Py_tp_traverse, fmp_job_traverse},
    {Py_tp_clear, fmp_job_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, job_iternext},
    {Py_tp_methods, stream_methods},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "fastmp._core.Stream",
    .basicsize = sizeof(struct fmp_job),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = stream_slots,
};

int
fmp_py_register_job(PyObject *module)
{
    PyObject *multiprocessing = PyImport_ImportModule("multiprocessing.context");
    if (multiprocessing == NULL) {
        return -1;
    }
    Py_XSETREF(exc_timeout, PyObject_GetAttrString(multiprocessing, "TimeoutError"));
    Py_DECREF(multiprocessing);
    fmp_job_type = exc_timeout != NULL ? fmp_py_add_type(module, &job_spec, NULL) : NULL;
    if (fmp_job_type == NULL) {
        return -1;
    }
    return fmp_py_add_type(module, &stream_spec, (PyObject *)fmp_job_type) != NULL ? 0 : -1;
}

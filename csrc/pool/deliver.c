/* Results to the jobs that wait for them; see crew.h. */
#include "pool/crew.h"

PyObject *
fmp_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *exc = PyErr_GetRaisedException();
#else
    PyObject *type, *exc, *traceback;
    PyErr_Fetch(&type, &exc, &traceback);
    PyErr_NormalizeException(&type, &exc, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(exc, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
#endif
    return exc != NULL ? exc : Py_NewRef(Py_None);
}

/* The job is complete: out of the table; its callbacks are the helper's. */
static void
finish(struct fmp_crew *crew, struct fmp_job *job)
{
    Py_INCREF(job);
    fmp_crew_forget_job(crew, job->id);
    if (job->deferred) {
        if (PyList_Append(crew->deferred, (PyObject *)job) < 0) {
            PyErr_WriteUnraisable((PyObject *)job);
        }
        fmp_crew_poke(crew);
    } else if (job->kind == FMP_JOB_FUTURE) {
        fmp_future_finish(job);
    } else {
        job->done = true;
    }
    if (crew->waiters > 0) {
        fmp_crew_poke(crew);
    }
    Py_DECREF(job);
}

static void
keep_value(struct fmp_job *job, bool success, PyObject *value)
{
    job->success = success;
    Py_XSETREF(job->value, value);
}

/* Puts a chunk's results into the list of a map. False if they were there already. */
static bool
store_chunk(struct fmp_job *job, Py_ssize_t start, PyObject *value)
{
    PyObject *list = job->value;
    if (start >= PyList_GET_SIZE(list) || PyList_GET_ITEM(list, start) != NULL) {
        return false;
    }
    if (job->chunksize == 1) {
        PyList_SET_ITEM(list, start, Py_NewRef(value));
        return true;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(value) && start + i < PyList_GET_SIZE(list); i++) {
        PyList_SET_ITEM(list, start + i, Py_NewRef(PyList_GET_ITEM(value, i)));
    }
    return true;
}

/* A failed map keeps its first error, in place of the list; what still comes is only counted. */
static void
deliver_chunk(struct fmp_crew *crew, struct fmp_job *job, uint32_t index, bool success, PyObject *value)
{
    Py_ssize_t start = (Py_ssize_t)index * job->chunksize;
    bool damaged = success && job->chunksize != 1 && !PyList_CheckExact(value);
    if (job->success && success && !damaged) {
        if (!store_chunk(job, start, value)) {
            Py_DECREF(value);
            return;
        }
        Py_DECREF(value);
    } else if (job->success && !damaged) {
        keep_value(job, false, value);
    } else {
        Py_DECREF(value);
    }
    if (++job->arrived * job->chunksize >= job->length) {
        finish(crew, job);
    }
}

static void
deliver_item(struct fmp_crew *crew, struct fmp_job *job, uint32_t index, bool success, PyObject *value)
{
    PyObject *key = PyLong_FromSsize_t(job->ordered ? (Py_ssize_t)index : job->arrived);
    PyObject *item = Py_BuildValue("(NN)", PyBool_FromLong(success), value);
    if (key == NULL || item == NULL || PyDict_SetItem(job->value, key, item) < 0) {
        PyErr_WriteUnraisable((PyObject *)job);
    }
    Py_XDECREF(key);
    Py_XDECREF(item);
    job->arrived++;
    if (job->length >= 0 && job->arrived >= job->length) {
        finish(crew, job);
    } else if (crew->waiters > 0) {
        fmp_crew_poke(crew);
    }
}

static void
release_claim(struct fmp_crew *crew, uint32_t claim)
{
    if (claim != 0 && claim <= FMP_CREW_DEPTH && crew->free_claim_count < FMP_CREW_DEPTH) {
        crew->free_claims[crew->free_claim_count++] = (uint16_t)claim;
    }
}

void
fmp_crew_deliver(struct fmp_crew *crew, const struct fmp_task_head *head, enum fmp_result_kind kind, PyObject *value)
{
    struct fmp_job *job = fmp_crew_job(crew, head->job);
    if (job == NULL) {
        Py_DECREF(value); /* done already: a worker killed after its result was published */
        return;
    }
    bool success = kind == FMP_RESULT_VALUE;
    crew->pokes++; /* whoever waits for anything to happen has it */
    switch (job->kind) {
    case FMP_JOB_MAP:
        deliver_chunk(crew, job, head->index, success, value);
        return;
    case FMP_JOB_STREAM:
        deliver_item(crew, job, head->index, success, value);
        return;
    case FMP_JOB_FUTURE:
        release_claim(crew, job->claim);
        job->claim = 0;
        if (kind == FMP_RESULT_CANCELLED) {
            Py_INCREF(job);
            fmp_crew_forget_job(crew, job->id);
            fmp_future_cancelled(job);
            Py_DECREF(job);
            Py_DECREF(value);
            return;
        }
    }
    keep_value(job, success, value);
    finish(crew, job);
}

/* Results to the jobs that wait for them; see crew.h. */
#include "pool/crew.h"

#include <string.h>

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

/* Fills the `count` places of `list` from `start` on with what `chunk` holds, which it then does no more: it is nobody
 * else's. */
static void
move_items(PyObject *list, Py_ssize_t start, PyObject *chunk, Py_ssize_t count)
{
    PyObject **items = ((PyListObject *)chunk)->ob_item;
    memcpy(((PyListObject *)list)->ob_item + start, items, (size_t)count * sizeof *items);
    Py_SET_SIZE(chunk, 0);
}

/* Puts a chunk's results into the list of a map. False if they do not belong there, or are there already. */
static bool
store_chunk(struct fmp_job *job, uint32_t index, PyObject *value)
{
    PyObject *list = job->value;
    if (index > (PyList_GET_SIZE(list) - 1) / job->chunksize) {
        return false;
    }
    Py_ssize_t start = (Py_ssize_t)index * job->chunksize, left = PyList_GET_SIZE(list) - start;
    if (PyList_GET_ITEM(list, start) != NULL) {
        return false;
    }
    if (job->chunksize == 1) {
        PyList_SET_ITEM(list, start, Py_NewRef(value));
        return true;
    }
    Py_ssize_t count = left < job->chunksize ? left : job->chunksize;
    if (!PyList_CheckExact(value) || PyList_GET_SIZE(value) != count) {
        return false;
    }
    move_items(list, start, value, count);
    return true;
}

/* A failed map keeps its first error, in place of the list; what still comes is only counted. */
static bool
deliver_chunk(struct fmp_crew *crew, struct fmp_job *job, uint32_t index, bool success, PyObject *value)
{
    if (job->success && !success) {
        keep_value(job, false, value);
    } else {
        bool stored = !job->success || store_chunk(job, index, value);
        Py_DECREF(value);
        if (!stored) {
            return false;
        }
    }
    if (++job->arrived * job->chunksize >= job->length) {
        finish(crew, job);
    }
    return true;
}

/* Can it be the index of an item that was sent and has not arrived? Those are no more than both rings hold, with what
 * is left of calls that have failed. */
static bool
is_expected(struct fmp_job *job, Py_ssize_t index)
{
    PyObject *key = PyLong_FromSsize_t(index);
    int known = key != NULL ? PyDict_Contains(job->value, key) : -1;
    Py_XDECREF(key);
    PyErr_Clear();
    return known == 0 && index >= job->next && index <= job->arrived + 4 * (Py_ssize_t)FMP_CREW_DEPTH &&
           (job->length < 0 || index < job->length);
}

static bool
deliver_item(struct fmp_crew *crew, struct fmp_job *job, uint32_t index, bool success, PyObject *value)
{
    if (job->ordered && !is_expected(job, (Py_ssize_t)index)) {
        Py_DECREF(value);
        return false;
    }
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
    return true;
}

static void
release_claim(struct fmp_crew *crew, uint32_t claim)
{
    if (claim != 0 && claim <= FMP_CREW_DEPTH && crew->free_claim_count < FMP_CREW_DEPTH) {
        crew->free_claims[crew->free_claim_count++] = (uint16_t)claim;
    }
}

bool
fmp_crew_deliver(struct fmp_crew *crew, const struct fmp_task_head *head, enum fmp_result_kind kind, PyObject *value)
{
    struct fmp_job *job = fmp_crew_job(crew, head->job);
    if (job == NULL) {
        Py_DECREF(value);
        return fmp_crew_had_job(crew, head->job); /* done already: a worker killed after its result was published */
    }
    bool success = kind == FMP_RESULT_VALUE;
    crew->pokes++; /* whoever waits for anything to happen has it */
    switch (job->kind) {
    case FMP_JOB_MAP:
        return deliver_chunk(crew, job, head->index, success, value);
    case FMP_JOB_STREAM:
        return deliver_item(crew, job, head->index, success, value);
    case FMP_JOB_FUTURE:
        release_claim(crew, job->claim);
        job->claim = 0;
        if (kind == FMP_RESULT_CANCELLED) {
            Py_INCREF(job);
            fmp_crew_forget_job(crew, job->id);
            fmp_future_cancelled(job);
            Py_DECREF(job);
            Py_DECREF(value);
            return true;
        }
    }
    keep_value(job, success, value);
    finish(crew, job);
    return true;
}

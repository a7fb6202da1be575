/*
 * The calls of a Crew: work is given, results are taken. Called by: crew.c, as methods.
 */
#include "py/args.h"
#include "py/crew.h"
#include "py/job.h"

/* ---- giving work ---- */

static void
set_up_job(struct fmp_job *job, enum fmp_job_kind kind)
{
    job->kind = (uint8_t)kind;
    job->success = true;
    job->chunksize = 1;
    job->length = 1;
}

const char fmp_py_crew_submit_doc[] = "submit(job, func, args, kwargs=None)\n--\n\nOne call; job gets its result.";
PyObject *
fmp_py_crew_submit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0) {
        return NULL;
    }
    if (nargs < 3 || nargs > 4 || !PyObject_TypeCheck(args[0], fmp_job_type) || !PyTuple_Check(args[2]) ||
        (nargs == 4 && !PyDict_Check(args[3]))) {
        PyErr_SetString(PyExc_TypeError, "submit(job, func, args: tuple, kwargs: dict)");
        return NULL;
    }
    struct fmp_job *job = (struct fmp_job *)args[0];
    set_up_job(job, FMP_JOB_VALUE);
    if (fmp_crew_submit(fmp_crew_of(self), job, args[1], args[2], nargs == 4 ? args[3] : NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char fmp_py_crew_submit_future_doc[] =
    "submit_future(cls, func, args, kwargs)\n--\n\nOne call; its new future, of class cls.";
PyObject *
fmp_py_crew_submit_future(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0) {
        return NULL;
    }
    if (nargs != 4 || !PyType_Check(args[0]) || !PyType_IsSubtype((PyTypeObject *)args[0], fmp_future_type) ||
        !PyTuple_CheckExact(args[2]) || !PyDict_CheckExact(args[3])) {
        PyErr_SetString(PyExc_TypeError, "submit_future(cls, func, args, kwargs)");
        return NULL;
    }
    PyTypeObject *cls = (PyTypeObject *)args[0];
    PyObject *future = cls->tp_alloc(cls, 0);
    if (future == NULL) {
        return NULL;
    }
    set_up_job((struct fmp_job *)future, FMP_JOB_FUTURE);
    fmp_crew_of(self)->submitted++;
    if (fmp_crew_submit(fmp_crew_of(self), (struct fmp_job *)future, args[1], args[2], args[3]) < 0) {
        Py_CLEAR(future);
    }
    return future;
}

const char fmp_py_crew_map_doc[] =
    "map(job, func, items, star, chunksize)\n--\n\n"
    "func of each of items, a list, tuple or range that is not empty; job gets the list of results.";
PyObject *
fmp_py_crew_map(PyObject *self, PyObject *args)
{
    PyObject *object, *func, *items;
    int star;
    Py_ssize_t chunksize;
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0 ||
        !PyArg_ParseTuple(args, "O!OOpn:map", fmp_job_type, &object, &func, &items, &star, &chunksize)) {
        return NULL;
    }
    Py_ssize_t length = fmp_crew_map_length(items);
    if (length <= 0 || chunksize < 1 || length / chunksize >= UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "map needs a list, tuple or range with items and a chunksize of at least 1");
        return NULL;
    }
    struct fmp_job *job = (struct fmp_job *)object;
    set_up_job(job, FMP_JOB_MAP);
    job->length = length;
    job->chunksize = chunksize;
    job->value = PyList_New(job->length);
    enum fmp_task_kind kind =
        chunksize == 1 ? (star ? FMP_TASK_STAR : FMP_TASK_MAP) : (star ? FMP_TASK_STAR_MANY : FMP_TASK_MAP_MANY);
    if (job->value == NULL || fmp_crew_map(fmp_crew_of(self), job, func, items, kind) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char fmp_py_crew_stream_doc[] =
    "stream(job, func, iterator, star, ordered)\n--\n\n"
    "func of each item of iterator, which is asked as results make room; job hands them out.";
PyObject *
fmp_py_crew_stream(PyObject *self, PyObject *args)
{
    PyObject *object, *func, *iterator;
    int star, ordered;
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0 ||
        !PyArg_ParseTuple(args, "O!OOpp:stream", fmp_job_type, &object, &func, &iterator, &star, &ordered)) {
        return NULL;
    }
    if (!PyIter_Check(iterator)) {
        PyErr_SetString(PyExc_TypeError, "stream needs an iterator");
        return NULL;
    }
    struct fmp_job *job = (struct fmp_job *)object;
    set_up_job(job, FMP_JOB_STREAM);
    job->length = -1;
    job->ordered = ordered != 0;
    job->value = PyDict_New();
    if (job->value == NULL ||
        fmp_crew_map(fmp_crew_of(self), job, func, iterator, star ? FMP_TASK_STAR : FMP_TASK_MAP) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- results ---- */

const char fmp_py_crew_pump_doc[] =
    "pump(timeout=0)\n--\n\n"
    "Takes what results there are and sends what waits; if there is nothing to do, waits up to timeout seconds.\n"
    "False if nothing came.";
PyObject *
fmp_py_crew_pump(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    PyObject *a[1];
    uint64_t deadline_ns = 0;
    struct fmp_crew *crew = fmp_crew_of(self);
    if (fmp_py_crew_check_parent(crew) < 0 || fmp_py_args("pump", names, 1, 0, args, nargs, kwnames, a) < 0 ||
        (a[0] != NULL && fmp_py_deadline(a[0], &deadline_ns) < 0)) {
        return NULL;
    }
    if (deadline_ns == 0) {
        return fmp_crew_pump(crew) < 0 ? NULL : Py_NewRef(Py_True);
    }
    int rc = fmp_crew_wait(crew, NULL, deadline_ns);
    return rc < 0 ? NULL : PyBool_FromLong(rc == FMP_PY_READY);
}

const char fmp_py_crew_poke_doc[] = "poke()\n--\n\nMakes every thread that waits for results look again.";
PyObject *
fmp_py_crew_poke(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (fmp_crew_of(self)->shm != NULL) {
        fmp_crew_poke(fmp_crew_of(self));
    }
    Py_RETURN_NONE;
}

const char fmp_py_crew_job_list_doc[] = "job_list()\n--\n\nThe calls that are not done.";
PyObject *
fmp_py_crew_job_list(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_crew *crew = fmp_crew_of(self);
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < crew->job_room; i++) {
        if (crew->jobs[i] != NULL && PyList_Append(list, (PyObject *)crew->jobs[i]) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

const char fmp_py_crew_fail_all_doc[] =
    "fail_all(error)\n--\n\nEvery call that is not done fails with error; what waits is dropped.";
PyObject *
fmp_py_crew_fail_all(PyObject *self, PyObject *error)
{
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0) {
        return NULL;
    }
    fmp_crew_fail_all(fmp_crew_of(self), error);
    Py_RETURN_NONE;
}

/*
 * fastmp._core.Crew: the engine of Pool and ProcessPoolExecutor. Called by: fastmp/pool.py and
 * fastmp/concurrent/futures/process.py, which make the worker processes and decide what to do when one ends; the path
 * of a task and its result is in csrc/pool/.
 */
#include "pool/crew.h"

#include <structmember.h>

#include "py/args.h"
#include "py/job.h"
#include "py/types.h"
#include "pyrt/travel.h"

PyTypeObject *fmp_crew_type;

#define WORKERS_MAX 4000 /* below the participants that a region can have */

static struct fmp_crew *
crew_of(PyObject *self)
{
    return (struct fmp_crew *)self;
}

/* A crew serves the process that made it: its workers run `work`, its children have a copy that does nothing. */
static int
check_parent(struct fmp_crew *crew)
{
    if (crew->shm == NULL || crew->fork_generation != fmp_fork_generation) {
        PyErr_SetString(PyExc_RuntimeError, "this pool belongs to another process");
        return -1;
    }
    return 0;
}

/* ---- making ---- */

/* A new block, or with a travel record one that exists. */
static int
open_handle(struct fmp_handle *handle, uint64_t bytes, enum fmp_block_kind kind, PyObject *record)
{
    return record == NULL ? fmp_handle_new(handle, bytes, kind) : fmp_travel_unpack(handle, record, kind, bytes);
}

static int
open_ring(struct fmp_handle *handle, struct fmp_channel *ch, PyObject *record)
{
    uint64_t bytes = fmp_ring_bytes(FMP_CREW_DEPTH);
    if (open_handle(handle, bytes, FMP_BLOCK_RING, record) < 0) {
        return -1;
    }
    if (record == NULL) {
        (void)fmp_ring_init(fmp_handle_at(handle), FMP_CREW_DEPTH);
    }
    if (fmp_channel_open(ch, handle->space, handle->off, bytes) < 0) {
        return -1;
    }
    ch->head_bytes = sizeof(struct fmp_task_head);
    return 0;
}

static int
open_private(struct fmp_crew *crew, uint32_t workers)
{
    crew->pids = PyMem_Calloc(workers, sizeof *crew->pids);
    crew->answers = PyMem_Calloc(workers, sizeof *crew->answers);
    crew->free_claims = PyMem_Calloc(FMP_CREW_DEPTH, sizeof *crew->free_claims);
    crew->functions = PyDict_New();
    crew->deferred = PyList_New(0);
    crew->reports = PyList_New(0);
    if (crew->pids == NULL || crew->answers == NULL || crew->free_claims == NULL || crew->functions == NULL ||
        crew->deferred == NULL || crew->reports == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t claim = FMP_CREW_DEPTH; claim > 0; claim--) {
        crew->free_claims[crew->free_claim_count++] = (uint16_t)claim;
    }
    crew->feeds_end = &crew->feeds;
    crew->max_workers = workers;
    crew->fork_generation = fmp_fork_generation;
    return 0;
}

static int
crew_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct fmp_crew *crew = crew_of(self);
    unsigned workers;
    PyObject *tasks = NULL, *results = NULL, *shm = NULL;
    int is_strict = 0;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "Crew() takes no keyword arguments");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "I|(OOO)p:Crew", &workers, &tasks, &results, &shm, &is_strict)) {
        return -1;
    }
    if (crew->shm != NULL || workers == 0 || workers > WORKERS_MAX) {
        PyErr_Format(PyExc_ValueError, "a crew has 1 to %d workers", WORKERS_MAX);
        return -1;
    }
    uint64_t bytes = sizeof(struct fmp_crew_shm) + workers * sizeof(struct fmp_worker_shm);
    if (open_private(crew, workers) < 0 || open_ring(&crew->tasks_handle, &crew->tasks, tasks) < 0 ||
        open_ring(&crew->results_handle, &crew->results, results) < 0 ||
        open_handle(&crew->shm_handle, bytes, FMP_BLOCK_OTHER, shm) < 0) {
        return -1;
    }
    if (tasks != NULL) {
        crew->fork_generation = fmp_fork_generation - 1; /* as in a forked child: it is its parent's */
        crew->bad_result = is_strict ? Py_NewRef(Py_True) : NULL;
    }
    crew->shm = fmp_handle_at(&crew->shm_handle);
    return 0;
}

/* To a worker that is being started: Crew(workers, (tasks, results, shm), is_strict). */
static PyObject *
crew_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_crew *crew = crew_of(self);
    if (check_parent(crew) < 0) {
        return NULL;
    }
    PyObject *tasks = fmp_travel_pack(&crew->tasks_handle);
    PyObject *results = tasks != NULL ? fmp_travel_pack(&crew->results_handle) : NULL;
    PyObject *shm = results != NULL ? fmp_travel_pack(&crew->shm_handle) : NULL;
    if (shm == NULL || shm == Py_None) {
        if (shm == Py_None) {
            PyErr_SetString(PyExc_NotImplementedError, "pool objects cannot be passed between processes or pickled");
        }
        Py_XDECREF(tasks);
        Py_XDECREF(results);
        Py_XDECREF(shm);
        return NULL;
    }
    bool is_strict = crew->bad_result != NULL && crew->bad_result != Py_None;
    return Py_BuildValue("O(I(NNN)O)", (PyObject *)Py_TYPE(self), (unsigned)crew->max_workers, tasks, results, shm,
                         is_strict ? Py_True : Py_False);
}

/* ---- giving work ---- */

static void
set_up_job(struct fmp_job *job, enum fmp_job_kind kind)
{
    job->kind = (uint8_t)kind;
    job->success = true;
    job->chunksize = 1;
    job->length = 1;
}

PyDoc_STRVAR(submit_doc, "submit(job, func, args, kwargs=None)\n--\n\nOne call; job gets its result.");
static PyObject *
crew_submit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (check_parent(crew_of(self)) < 0) {
        return NULL;
    }
    if (nargs < 3 || nargs > 4 || !PyObject_TypeCheck(args[0], fmp_job_type) || !PyTuple_Check(args[2]) ||
        (nargs == 4 && !PyDict_Check(args[3]))) {
        PyErr_SetString(PyExc_TypeError, "submit(job, func, args: tuple, kwargs: dict)");
        return NULL;
    }
    struct fmp_job *job = (struct fmp_job *)args[0];
    set_up_job(job, FMP_JOB_VALUE);
    if (fmp_crew_submit(crew_of(self), job, args[1], args[2], nargs == 4 ? args[3] : NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(submit_future_doc,
             "submit_future(cls, func, args, kwargs)\n--\n\nOne call; its new future, of class cls.");
static PyObject *
crew_submit_future(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (check_parent(crew_of(self)) < 0) {
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
    crew_of(self)->submitted++;
    if (fmp_crew_submit(crew_of(self), (struct fmp_job *)future, args[1], args[2], args[3]) < 0) {
        Py_CLEAR(future);
    }
    return future;
}

PyDoc_STRVAR(map_doc, "map(job, func, items, star, chunksize)\n--\n\n"
                      "func of each of items, a list or tuple that is not empty; job gets the list of results.");
static PyObject *
crew_map(PyObject *self, PyObject *args)
{
    PyObject *object, *func, *items;
    int star;
    Py_ssize_t chunksize;
    if (check_parent(crew_of(self)) < 0 ||
        !PyArg_ParseTuple(args, "O!OOpn:map", fmp_job_type, &object, &func, &items, &star, &chunksize)) {
        return NULL;
    }
    if (!(PyList_Check(items) || PyTuple_Check(items)) || PySequence_Fast_GET_SIZE(items) == 0 || chunksize < 1 ||
        PySequence_Fast_GET_SIZE(items) / chunksize >= UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "map needs a list or tuple with items and a chunksize of at least 1");
        return NULL;
    }
    struct fmp_job *job = (struct fmp_job *)object;
    set_up_job(job, FMP_JOB_MAP);
    job->length = PySequence_Fast_GET_SIZE(items);
    job->chunksize = chunksize;
    job->value = PyList_New(job->length);
    enum fmp_task_kind kind =
        chunksize == 1 ? (star ? FMP_TASK_STAR : FMP_TASK_MAP) : (star ? FMP_TASK_STAR_MANY : FMP_TASK_MAP_MANY);
    if (job->value == NULL || fmp_crew_map(crew_of(self), job, func, items, kind) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stream_doc, "stream(job, func, iterator, star, ordered)\n--\n\n"
                         "func of each item of iterator, which is asked as results make room; job hands them out.");
static PyObject *
crew_stream(PyObject *self, PyObject *args)
{
    PyObject *object, *func, *iterator;
    int star, ordered;
    if (check_parent(crew_of(self)) < 0 ||
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
        fmp_crew_map(crew_of(self), job, func, iterator, star ? FMP_TASK_STAR : FMP_TASK_MAP) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- results ---- */

PyDoc_STRVAR(
    pump_doc,
    "pump(timeout=0)\n--\n\n"
    "Takes what results there are and sends what waits; if there is nothing to do, waits up to timeout seconds.\n"
    "False if nothing came.");
static PyObject *
crew_pump(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    PyObject *a[1];
    uint64_t deadline_ns = 0;
    struct fmp_crew *crew = crew_of(self);
    if (check_parent(crew) < 0 || fmp_py_args("pump", names, 1, 0, args, nargs, kwnames, a) < 0 ||
        (a[0] != NULL && fmp_py_deadline(a[0], &deadline_ns) < 0)) {
        return NULL;
    }
    if (deadline_ns == 0) {
        return fmp_crew_pump(crew) < 0 ? NULL : Py_NewRef(Py_True);
    }
    int rc = fmp_crew_wait(crew, NULL, deadline_ns);
    return rc < 0 ? NULL : PyBool_FromLong(rc == FMP_PY_READY);
}

PyDoc_STRVAR(poke_doc, "poke()\n--\n\nMakes every thread that waits for results look again.");
static PyObject *
crew_poke(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (crew_of(self)->shm != NULL) {
        fmp_crew_poke(crew_of(self));
    }
    Py_RETURN_NONE;
}

/* ---- workers ---- */

static int
parse_place(struct fmp_crew *crew, unsigned place)
{
    if (place >= crew->max_workers) {
        PyErr_Format(PyExc_IndexError, "no worker %u in a crew of %u", place, crew->max_workers);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(set_worker_doc,
             "set_worker(place, pid)\n--\n\nThe worker at place is the process pid: its end is noticed.");
static PyObject *
crew_set_worker(PyObject *self, PyObject *args)
{
    unsigned place;
    int pid;
    struct fmp_crew *crew = crew_of(self);
    if (check_parent(crew) < 0 || !PyArg_ParseTuple(args, "Ii:set_worker", &place, &pid) ||
        parse_place(crew, place) < 0) {
        return NULL;
    }
    crew->pids[place] = pid;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(bury_worker_doc,
             "bury_worker(place, make_error)\n--\n\n"
             "The worker at place has ended and was reaped: its results are taken, what it had in hand fails with\n"
             "make_error(job, index).\n"
             "The number of tasks lost.");
static PyObject *
crew_bury_worker(PyObject *self, PyObject *args)
{
    unsigned place;
    PyObject *error;
    struct fmp_crew *crew = crew_of(self);
    if (check_parent(crew) < 0 || !PyArg_ParseTuple(args, "IO:bury_worker", &place, &error) ||
        parse_place(crew, place) < 0) {
        return NULL;
    }
    Py_ssize_t lost = fmp_crew_bury_worker(crew, place, error);
    return lost < 0 ? NULL : PyLong_FromSsize_t(lost);
}

PyDoc_STRVAR(fail_all_doc,
             "fail_all(error)\n--\n\nEvery call that is not done fails with error; what waits is dropped.");
static PyObject *
crew_fail_all(PyObject *self, PyObject *error)
{
    if (check_parent(crew_of(self)) < 0) {
        return NULL;
    }
    fmp_crew_fail_all(crew_of(self), error);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(job_list_doc, "job_list()\n--\n\nThe calls that are not done.");
static PyObject *
crew_job_list(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_crew *crew = crew_of(self);
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < crew->job_room; i++) {
        if (crew->jobs[i] != NULL && PyList_Append(list, (PyObject *)crew->jobs[i]) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

PyDoc_STRVAR(
    send_exit_doc,
    "send_exit()\n--\n\nOne worker will end when it has done what is before it. OSError(EAGAIN) if the ring is full.");
static PyObject *
crew_send_exit(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (check_parent(crew_of(self)) < 0 || fmp_crew_send_exit(crew_of(self)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(wake_doc, "wake()\n--\n\nAll workers are to be there.");
static PyObject *
crew_wake(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (check_parent(crew_of(self)) < 0) {
        return NULL;
    }
    while (crew_of(self)->asleep != 0) {
        fmp_crew_wake_dormant_slow(crew_of(self));
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc,
             "close()\n--\n\nWorkers that are not there yet need not come: who has no pid now never begins.");
static PyObject *
crew_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (check_parent(crew_of(self)) < 0) {
        return NULL;
    }
    fmp_crew_close(crew_of(self));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(work_doc,
             "work(place, max_tasks, wrap_error, wrap_unpicklable, parent=-1)\n--\n\n"
             "In a worker process: runs tasks until told to end, until the parent is gone, or max_tasks (0: no bound) "
             "are done.\n"
             "parent is a descriptor that polls readable when the parent has ended.\n"
             "wrap_error(exception) and wrap_unpicklable(exception, value) give what is sent instead of a result.");
static PyObject *
crew_work(PyObject *self, PyObject *args)
{
    unsigned place;
    Py_ssize_t max_tasks;
    PyObject *wrap_error, *wrap_unpicklable;
    int parent = -1;
    struct fmp_crew *crew = crew_of(self);
    if (!PyArg_ParseTuple(args, "InOO|i:work", &place, &max_tasks, &wrap_error, &wrap_unpicklable, &parent) ||
        parse_place(crew, place) < 0) {
        return NULL;
    }
    if (crew->shm == NULL || crew->fork_generation == fmp_fork_generation) {
        PyErr_SetString(PyExc_RuntimeError, "work() is for a child of the process that made the crew");
        return NULL;
    }
    Py_ssize_t count = fmp_worker_run(crew, place, max_tasks, wrap_error, wrap_unpicklable, parent);
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

PyDoc_STRVAR(report_doc, "report(place, value)\n--\n\nIn a worker process that cannot begin: the parent finds value in "
                         "reports.");
static PyObject *
crew_report(PyObject *self, PyObject *args)
{
    unsigned place;
    PyObject *value;
    struct fmp_crew *crew = crew_of(self);
    if (!PyArg_ParseTuple(args, "IO:report", &place, &value) || parse_place(crew, place) < 0 ||
        fmp_worker_report(crew, place, value) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(has_begun_doc, "has_begun(place)\n--\n\nHas the worker at place begun to take tasks?");
static PyObject *
crew_has_begun(PyObject *self, PyObject *args)
{
    unsigned place;
    struct fmp_crew *crew = crew_of(self);
    if (check_parent(crew) < 0 || !PyArg_ParseTuple(args, "I:has_begun", &place) || parse_place(crew, place) < 0) {
        return NULL;
    }
    return PyBool_FromLong(fmp_crew_has_begun(crew, place));
}

/* ---- the type ---- */

static int
crew_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct fmp_crew *crew = crew_of(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(crew->functions);
    Py_VISIT(crew->last_callable);
    Py_VISIT(crew->last_function);
    Py_VISIT(crew->maintain);
    Py_VISIT(crew->need_helper);
    Py_VISIT(crew->bad_result);
    Py_VISIT(crew->by_value);
    Py_VISIT(crew->deferred);
    Py_VISIT(crew->reports);
    for (uint32_t i = 0; i < crew->job_room; i++) {
        Py_VISIT(crew->jobs[i]);
    }
    return fmp_crew_traverse_feeds(crew, visit, arg);
}

static int
crew_clear(PyObject *self)
{
    struct fmp_crew *crew = crew_of(self);
    if (crew->feeds_end != NULL && crew->fork_generation == fmp_fork_generation) {
        fmp_crew_drop_feeds(crew);
    }
    for (uint32_t i = 0; i < crew->job_room; i++) {
        Py_CLEAR(crew->jobs[i]);
    }
    Py_CLEAR(crew->functions);
    Py_CLEAR(crew->last_callable);
    Py_CLEAR(crew->last_function);
    Py_CLEAR(crew->maintain);
    Py_CLEAR(crew->need_helper);
    Py_CLEAR(crew->bad_result);
    Py_CLEAR(crew->by_value);
    Py_CLEAR(crew->deferred);
    Py_CLEAR(crew->reports);
    return 0;
}

static void
crew_dealloc(PyObject *self)
{
    struct fmp_crew *crew = crew_of(self);
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (crew->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    (void)crew_clear(self);
    PyMem_Free(crew->jobs);
    PyMem_Free(crew->job_generations);
    PyMem_Free(crew->free_jobs);
    PyMem_Free(crew->free_claims);
    PyMem_Free(crew->pids);
    PyMem_Free(crew->answers);
    fmp_handle_release(&crew->shm_handle);
    fmp_handle_release(&crew->results_handle);
    fmp_handle_release(&crew->tasks_handle);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
get_backlog(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(crew_of(self)->feeds != NULL);
}

static PyObject *
get_waiting(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(fmp_crew_count_feeds(crew_of(self)));
}

static PyObject *
get_made(PyObject *self, void *unused)
{
    (void)unused;
    struct fmp_crew *crew = crew_of(self);
    return PyLong_FromUnsignedLong(crew->shm != NULL ? fmp_load_relaxed(&crew->shm->made) : 0); /* relaxed: a count */
}

#define FAST(name) (PyCFunction)(void (*)(void)) crew_##name

static PyMethodDef crew_methods[] = {
    {"submit", FAST(submit), METH_FASTCALL, submit_doc},
    {"submit_future", FAST(submit_future), METH_FASTCALL, submit_future_doc},
    {"map", crew_map, METH_VARARGS, map_doc},
    {"stream", crew_stream, METH_VARARGS, stream_doc},
    {"pump", FAST(pump), METH_FASTCALL | METH_KEYWORDS, pump_doc},
    {"poke", crew_poke, METH_NOARGS, poke_doc},
    {"set_worker", crew_set_worker, METH_VARARGS, set_worker_doc},
    {"bury_worker", crew_bury_worker, METH_VARARGS, bury_worker_doc},
    {"fail_all", crew_fail_all, METH_O, fail_all_doc},
    {"job_list", crew_job_list, METH_NOARGS, job_list_doc},
    {"send_exit", crew_send_exit, METH_NOARGS, send_exit_doc},
    {"close", crew_close, METH_NOARGS, close_doc},
    {"wake", crew_wake, METH_NOARGS, wake_doc},
    {"report", crew_report, METH_VARARGS, report_doc},
    {"has_begun", crew_has_begun, METH_VARARGS, has_begun_doc},
    {"work", crew_work, METH_VARARGS, work_doc},
    {"__reduce__", crew_reduce, METH_NOARGS, "Pickles only for a worker that is being started."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef crew_members[] = {
    {"maintain", T_OBJECT, offsetof(struct fmp_crew, maintain), 0, "Called when a worker has ended."},
    {"need_helper", T_OBJECT, offsetof(struct fmp_crew, need_helper), 0,
     "Called when somebody must pump while nobody waits."},
    {"bad_result", T_OBJECT, offsetof(struct fmp_crew, bad_result), 0,
     "Called with the exception when a result cannot be unpickled; set, it also ends workers at a task that cannot."},
    {"by_value", T_OBJECT, offsetof(struct fmp_crew, by_value), 0,
     "What goes by value instead of by pickle: a Sender in the parent, Results in a worker."},
    {"deferred", T_OBJECT, offsetof(struct fmp_crew, deferred), READONLY,
     "Done jobs whose callbacks are still to run."},
    {"reports", T_OBJECT, offsetof(struct fmp_crew, reports), READONLY, "What workers that could not begin have said."},
    {"template_pid", T_INT, offsetof(struct fmp_crew, template_pid), 0,
     "Who forks the workers that are not there yet; -1: it has ended."},
    {"jobs", T_UINT, offsetof(struct fmp_crew, job_count), READONLY, "How many calls are not done."},
    {"submitted", T_ULONGLONG, offsetof(struct fmp_crew, submitted), READONLY, "How many futures there ever were."},
    {"answered", T_ULONGLONG, offsetof(struct fmp_crew, answered), READONLY, "How many results were ever taken."},
    {"pumps", T_ULONGLONG, offsetof(struct fmp_crew, pumps), READONLY, "How often results were taken."},
    {"in_flight", T_UINT, offsetof(struct fmp_crew, in_flight), READONLY, "How many tasks are sent and not answered."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct fmp_crew, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef crew_getset[] = {
    {"made", get_made, NULL, "How many workers the template has forked before its Python.", NULL},
    {"backlog", get_backlog, NULL, "Do tasks wait for room?", NULL},
    {"waiting", get_waiting, NULL, "How many calls have tasks that wait for room.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot crew_slots[] = {
    {Py_tp_doc, "The engine of a pool: tasks to its workers, results back."},
    {Py_tp_init, crew_init},
    {Py_tp_dealloc, crew_dealloc},
    {Py_tp_traverse, crew_traverse},
    {Py_tp_clear, crew_clear},
    {Py_tp_methods, crew_methods},
    {Py_tp_members, crew_members},
    {Py_tp_getset, crew_getset},
    {0, NULL},
};

static PyType_Spec crew_spec = {
    .name = "fastmp._core.Crew",
    .basicsize = sizeof(struct fmp_crew),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = crew_slots,
};

/* ---- Function: internal, holds a function's block ---- */

static void
function_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fmp_handle_release(&((struct fmp_function *)self)->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot function_slots[] = {
    {Py_tp_doc, "A function in shared memory, to be named by tasks."},
    {Py_tp_dealloc, function_dealloc},
    {0, NULL},
};

static PyType_Spec function_spec = {
    .name = "fastmp._core.Function",
    .basicsize = sizeof(struct fmp_function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = function_slots,
};

int
fmp_py_register_crew(PyObject *module)
{
    fmp_function_type = fmp_py_add_type(module, &function_spec, NULL);
    if (fmp_function_type == NULL) {
        return -1;
    }
    fmp_crew_type = fmp_py_add_type(module, &crew_spec, NULL);
    return fmp_crew_type != NULL ? 0 : -1;
}

/*
 * fastmp._core.Crew: the engine of Pool and ProcessPoolExecutor. Called by: fastmp/pool.py, fastmp/_pool_upkeep.py and
 * fastmp/concurrent/futures/process.py, which make the worker processes and decide what to do when one ends. Here are
 * its life and its table; the methods are in crew_calls.c and crew_workers.c, the path of a task and its result in
 * csrc/pool/.
 */
#include "py/crew.h"

#include <structmember.h>

#include "py/types.h"
#include "pyrt/travel.h"

PyTypeObject *fmp_crew_type;

#define WORKERS_MAX 4000 /* below the participants that a region can have */

int
fmp_py_crew_raise_foreign(void)
{
    PyErr_SetString(PyExc_RuntimeError, "this pool belongs to another process");
    return -1;
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
    struct fmp_crew *crew = fmp_crew_of(self);
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
    static bool is_ready;
    if (!is_ready) {
        fmp_wire_practise(); /* workers that are forked find it done */
        is_ready = true;
    }
    return 0;
}

/* To a worker that is being started: Crew(workers, (tasks, results, shm), is_strict). */
static PyObject *
crew_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_crew *crew = fmp_crew_of(self);
    if (fmp_py_crew_check_parent(crew) < 0) {
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

/* ---- the type ---- */

static int
crew_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct fmp_crew *crew = fmp_crew_of(self);
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
    struct fmp_crew *crew = fmp_crew_of(self);
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
    struct fmp_crew *crew = fmp_crew_of(self);
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
    return PyBool_FromLong(fmp_crew_of(self)->feeds != NULL);
}

static PyObject *
get_waiting(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(fmp_crew_count_feeds(fmp_crew_of(self)));
}

static PyObject *
get_made(PyObject *self, void *unused)
{
    (void)unused;
    struct fmp_crew *crew = fmp_crew_of(self);
    return PyLong_FromUnsignedLong(crew->shm != NULL ? fmp_load_relaxed(&crew->shm->made) : 0); /* relaxed: a count */
}

#define FAST(name) (PyCFunction)(void (*)(void)) fmp_py_crew_##name

static PyMethodDef crew_methods[] = {
    {"submit", FAST(submit), METH_FASTCALL, fmp_py_crew_submit_doc},
    {"submit_future", FAST(submit_future), METH_FASTCALL, fmp_py_crew_submit_future_doc},
    {"map", fmp_py_crew_map, METH_VARARGS, fmp_py_crew_map_doc},
    {"stream", fmp_py_crew_stream, METH_VARARGS, fmp_py_crew_stream_doc},
    {"pump", FAST(pump), METH_FASTCALL | METH_KEYWORDS, fmp_py_crew_pump_doc},
    {"poke", fmp_py_crew_poke, METH_NOARGS, fmp_py_crew_poke_doc},
    {"set_worker", fmp_py_crew_set_worker, METH_VARARGS, fmp_py_crew_set_worker_doc},
    {"bury_worker", fmp_py_crew_bury_worker, METH_VARARGS, fmp_py_crew_bury_worker_doc},
    {"fail_all", fmp_py_crew_fail_all, METH_O, fmp_py_crew_fail_all_doc},
    {"job_list", fmp_py_crew_job_list, METH_NOARGS, fmp_py_crew_job_list_doc},
    {"send_exit", fmp_py_crew_send_exit, METH_NOARGS, fmp_py_crew_send_exit_doc},
    {"close", fmp_py_crew_close, METH_NOARGS, fmp_py_crew_close_doc},
    {"wake", fmp_py_crew_wake, METH_NOARGS, fmp_py_crew_wake_doc},
    {"report", fmp_py_crew_report, METH_VARARGS, fmp_py_crew_report_doc},
    {"has_begun", fmp_py_crew_has_begun, METH_VARARGS, fmp_py_crew_has_begun_doc},
    {"work", fmp_py_crew_work, METH_VARARGS, fmp_py_crew_work_doc},
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

/*
 * The workers of a Crew: who is at which place, how they begin, work and end. Called by: crew.c, as methods, of which
 * work and report are for a worker's process, the others for the parent.
 */
#include "py/crew.h"

static int
parse_place(struct fmp_crew *crew, unsigned place)
{
    if (place >= crew->max_workers) {
        PyErr_Format(PyExc_IndexError, "no worker %u in a crew of %u", place, crew->max_workers);
        return -1;
    }
    return 0;
}

const char fmp_py_crew_set_worker_doc[] =
    "set_worker(place, pid)\n--\n\nThe worker at place is the process pid: its end is noticed.";
PyObject *
fmp_py_crew_set_worker(PyObject *self, PyObject *args)
{
    unsigned place;
    int pid;
    struct fmp_crew *crew = fmp_crew_of(self);
    if (fmp_py_crew_check_parent(crew) < 0 || !PyArg_ParseTuple(args, "Ii:set_worker", &place, &pid) ||
        parse_place(crew, place) < 0) {
        return NULL;
    }
    crew->pids[place] = pid;
    Py_RETURN_NONE;
}

const char fmp_py_crew_bury_worker_doc[] =
    "bury_worker(place, make_error)\n--\n\n"
    "The worker at place has ended and was reaped: its results are taken, what it had in hand fails with\n"
    "make_error(job, index).\n"
    "The number of tasks lost.";
PyObject *
fmp_py_crew_bury_worker(PyObject *self, PyObject *args)
{
    unsigned place;
    PyObject *error;
    struct fmp_crew *crew = fmp_crew_of(self);
    if (fmp_py_crew_check_parent(crew) < 0 || !PyArg_ParseTuple(args, "IO:bury_worker", &place, &error) ||
        parse_place(crew, place) < 0) {
        return NULL;
    }
    Py_ssize_t lost = fmp_crew_bury_worker(crew, place, error);
    return lost < 0 ? NULL : PyLong_FromSsize_t(lost);
}

const char fmp_py_crew_send_exit_doc[] =
    "send_exit()\n--\n\nOne worker will end when it has done what is before it. OSError(EAGAIN) if the ring is full.";
PyObject *
fmp_py_crew_send_exit(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0 || fmp_crew_send_exit(fmp_crew_of(self)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char fmp_py_crew_wake_doc[] = "wake()\n--\n\nAll workers are to be there.";
PyObject *
fmp_py_crew_wake(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0) {
        return NULL;
    }
    while (fmp_crew_of(self)->asleep != 0) {
        fmp_crew_wake_dormant_slow(fmp_crew_of(self));
    }
    Py_RETURN_NONE;
}

const char fmp_py_crew_close_doc[] =
    "close()\n--\n\nWorkers that are not there yet need not come: who has no pid now never begins.";
PyObject *
fmp_py_crew_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (fmp_py_crew_check_parent(fmp_crew_of(self)) < 0) {
        return NULL;
    }
    fmp_crew_close(fmp_crew_of(self));
    Py_RETURN_NONE;
}

const char fmp_py_crew_work_doc[] =
    "work(place, max_tasks, wrap_error, wrap_unpicklable, parent=-1)\n--\n\n"
    "In a worker process: runs tasks until told to end, until the parent is gone, or max_tasks (0: no bound) "
    "are done.\n"
    "parent is a descriptor that polls readable when the parent has ended.\n"
    "wrap_error(exception) and wrap_unpicklable(exception, value) give what is sent instead of a result.";
PyObject *
fmp_py_crew_work(PyObject *self, PyObject *args)
{
    unsigned place;
    Py_ssize_t max_tasks;
    PyObject *wrap_error, *wrap_unpicklable;
    int parent = -1;
    struct fmp_crew *crew = fmp_crew_of(self);
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

const char fmp_py_crew_report_doc[] =
    "report(place, value)\n--\n\nIn a worker process that cannot begin: the parent finds value in reports.";
PyObject *
fmp_py_crew_report(PyObject *self, PyObject *args)
{
    unsigned place;
    PyObject *value;
    struct fmp_crew *crew = fmp_crew_of(self);
    if (!PyArg_ParseTuple(args, "IO:report", &place, &value) || parse_place(crew, place) < 0 ||
        fmp_worker_report(crew, place, value) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char fmp_py_crew_has_begun_doc[] = "has_begun(place)\n--\n\nHas the worker at place begun to take tasks?";
PyObject *
fmp_py_crew_has_begun(PyObject *self, PyObject *args)
{
    unsigned place;
    struct fmp_crew *crew = fmp_crew_of(self);
    if (fmp_py_crew_check_parent(crew) < 0 || !PyArg_ParseTuple(args, "I:has_begun", &place) ||
        parse_place(crew, place) < 0) {
        return NULL;
    }
    return PyBool_FromLong(fmp_crew_has_begun(crew, place));
}

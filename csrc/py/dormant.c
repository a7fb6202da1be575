/*
 * fork_dormant: the first worker of a pool and the template, forked in one go, and the sleep of the template until it
 * is needed. Called by: fastmp/_dormant.py.
 */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "py/args.h"
#include "py/child.h"
#include "py/types.h"
#include "pool/crew.h"
#include "sys/process.h"

struct template
{
    struct fmp_dormant_child child;
    int socket, parent;   /* where it is asked for workers, and a descriptor of its parent */
    PyObject *sockets[2]; /* the parent's end, and the other one: neither is for workers */
    PyObject *children;   /* by place: the arguments of run_child, or None */
    PyObject *run;        /* what else to call */
};

/* In the template, in which all signals are blocked: until its Python is asked for a worker. Also in each worker that
 * it forks before. */
static int
template_wakes(void *ctx)
{
    const struct template *me = ctx;
    int place = fmp_crew_fork_workers(&me->child);
    if (place != 0) {
        return place;
    }
    struct pollfd fds[] = {{.fd = me->socket, .events = POLLIN}, {.fd = me->parent, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0) {
    }
    char byte;
    bool is_asked = fds[1].revents == 0 && recv(me->socket, &byte, 1, MSG_PEEK) > 0;
    return is_asked ? (int)me->child.crew->max_workers : -1;
}

/* As BaseProcess._bootstrap has it, which would have caught it a little later. */
static int
code_of_exit(void)
{
    PyObject *error = fmp_take_exception();
    PyObject *told = PyObject_GetAttrString(error, "code");
    int code = 1;
    if (told == Py_None) {
        code = 0;
    } else if (told != NULL && PyLong_Check(told)) {
        code = (int)PyLong_AsLongAndOverflow(told, &(int){0});
    } else if (told != NULL) {
        PySys_FormatStderr("%S\n", told);
    }
    Py_XDECREF(told);
    Py_DECREF(error);
    return code & 0xFF;
}

static int
close_socket(PyObject *socket)
{
    return fmp_child_drop(PyObject_CallMethodNoArgs(socket, FMP_NAME(close)));
}

/* Comes back with NULL and an exception, or if `run` does. */
static PyObject *
begin(const struct template *template, int me)
{
    if (PyErr_CheckSignals() < 0) {
        return NULL;
    }
    if (me < PyList_GET_SIZE(template->children)) {
        PyObject *plain = PyList_GET_ITEM(template->children, me);
        if (close_socket(template->sockets[0]) < 0 || close_socket(template->sockets[1]) < 0 ||
            (plain != Py_None && fmp_child_run_child(NULL, plain) == NULL)) {
            return NULL;
        }
    }
    fmp_child_take_stdin_back();
    return PyObject_CallFunction(template->run, "i", me);
}

/* In a child that begins. A signal that has waited since it was forked is handled within it, so whatever its handler
 * raises does not reach what the parent was about to do. */
static _Noreturn void
run_child(const struct template *template, int me)
{
    PyObject *result = begin(template, me);
    int code = 1;
    if (result == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        code = 128 + SIGINT; /* the parent prints the traceback */
    } else if (result == NULL && PyErr_ExceptionMatches(PyExc_SystemExit)) {
        code = code_of_exit();
    } else if (result == NULL) {
        PyErr_WriteUnraisable(template->run);
    }
    fmp_runtime_leave();
    _exit(code);
}

/* 0, or -1 with an exception set. */
static int
fork_both(struct template *template)
{
    struct fmp_crew *crew = template->child.crew;
    struct fmp_dormant children[] = {{.wakes = fmp_crew_first_wakes, .ctx = &template->child},
                                     {.wakes = template_wakes, .ctx = template}};
    pid_t pids[2];
    int me = -1;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    fmp_crew_expect_workers(crew);
    fmp_child_lead(true);
    int made = fmp_runtime_fork_dormant(children, 2, pids, &me);
    fmp_child_lead(false);
    if (me != (int)crew->max_workers) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (me >= 0) {
        run_child(template, me);
    }
    if (made > 0) {
        crew->pids[0] = pids[0];
    }
    if (made > 1) {
        crew->template_pid = pids[1];
    }
    return made;
}

PyDoc_STRVAR(
    fork_dormant_doc,
    "fork_dormant((crew, pid, sockets, parent, patience, children, run))\n--\n\n"
    "Forks the first worker of a crew, which begins, and the template, which sleeps without Python. pid is this\n"
    "process, parent a pidfd of it. The template forks the other workers when there is work for them, or after\n"
    "patience seconds, and then waits for a question at the second one of its two sockets, which are closed in\n"
    "workers. A worker that begins does what run_child does with its place's item of the list `children`; if that\n"
    "is None, or run_child comes back, it calls run with its place. The template calls it with the number of\n"
    "workers. Each ends then. The crew knows their pids, also if a signal's handler raises as soon as this\n"
    "returns; there may be one or none, as there can be no more. It is called by the main thread; no other thread\n"
    "may run Python. All is in one tuple, as to let go of an argument is to write to it.");

static PyObject *
dormant_fork(PyObject *Py_UNUSED(module), PyObject *args)
{
    struct template template;
    PyObject *crew;
    double patience;
    if (!PyTuple_Check(args)) {
        PyErr_SetString(PyExc_TypeError, "one tuple is expected");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!i(OO)idO!O", fmp_crew_type, &crew, &template.child.parent, &template.sockets[0],
                          &template.sockets[1], &template.parent, &patience, &PyList_Type, &template.children,
                          &template.run)) {
        return NULL;
    }
    template.socket = PyObject_AsFileDescriptor(template.sockets[1]);
    if (template.socket < 0) {
        return NULL;
    }
    template.child.patience_ns = (uint64_t)(patience * 1e9);
    template.child.crew = (struct fmp_crew *)crew;
    if (template.child.crew->shm == NULL || template.child.crew->fork_generation != fmp_fork_generation) {
        PyErr_SetString(PyExc_RuntimeError, "this pool belongs to another process");
        return NULL;
    }
    return fork_both(&template) < 0 ? NULL : Py_NewRef(Py_None);
}

struct meeting {
    struct fmp_crew *crew;
    unsigned place;
};

static bool
is_there(void *ctx)
{
    const struct meeting *meeting = ctx;
    return fmp_crew_pid(meeting->crew, meeting->place) != 0;
}

PyDoc_STRVAR(meet_worker_doc,
             "meet_worker(crew, place, timeout)\n--\n\n"
             "The pid of a worker that the template forks, as soon as it is there; 0 if it is not within timeout "
             "seconds.");

static PyObject *
dormant_meet_worker(PyObject *Py_UNUSED(module), PyObject *args)
{
    struct meeting meeting;
    PyObject *crew, *timeout;
    uint64_t deadline_ns;
    if (!PyArg_ParseTuple(args, "O!IO", fmp_crew_type, &crew, &meeting.place, &timeout) ||
        fmp_py_deadline(timeout, &deadline_ns) < 0) {
        return NULL;
    }
    meeting.crew = (struct fmp_crew *)crew;
    if (meeting.crew->shm == NULL || meeting.place >= meeting.crew->max_workers) {
        PyErr_SetString(PyExc_IndexError, "no such worker");
        return NULL;
    }
    struct fmp_spin spin = {.idle = true};
    if (!is_there(&meeting) && deadline_ns != 0 &&
        fmp_py_await(&meeting.crew->shm->progress, is_there, &meeting, deadline_ns, &spin) == FMP_PY_ERROR) {
        return NULL;
    }
    return PyLong_FromPid(fmp_crew_pid(meeting.crew, meeting.place));
}

PyDoc_STRVAR(can_fork_siblings_doc, "can_fork_siblings()\n--\n\nWhether a template can fork workers here.");

static PyObject *
dormant_can_fork_siblings(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(sys_can_fork_sibling());
}

static PyMethodDef dormant_functions[] = {
    {"fork_dormant", dormant_fork, METH_O, fork_dormant_doc},
    {"meet_worker", dormant_meet_worker, METH_VARARGS, meet_worker_doc},
    {"can_fork_siblings", dormant_can_fork_siblings, METH_NOARGS, can_fork_siblings_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_dormant(PyObject *module)
{
    return PyModule_AddFunctions(module, dormant_functions);
}

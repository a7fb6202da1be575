/*
 * fork_dormant: the workers of a pool and their template, forked all at once (a late template: by the last worker when
 * that one begins) and asleep until they are needed. Called by: fastmp/_dormant.py.
 */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/crew.h"
#include "py/types.h"

#define CHILDREN_MAX 4096

struct child {
    struct fmp_dormant_worker worker;
    int socket, parent; /* a template's: where it is asked for workers, and a descriptor of its parent */
};

/* In a template: until it is asked for a worker. All signals are blocked in it. */
static bool
template_wakes(void *ctx)
{
    const struct child *me = ctx;
    struct pollfd fds[] = {{.fd = me->socket, .events = POLLIN}, {.fd = me->parent, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0) {
    }
    char byte;
    return fds[1].revents == 0 && recv(me->socket, &byte, 1, MSG_PEEK) > 0;
}

/* In a worker that was to fork it: the parent, which may wait for an answer, gets none. */
static void
template_fails(void *ctx)
{
    const struct child *me = ctx;
    (void)shutdown(me->socket, SHUT_RDWR);
}

static int
parse_template(PyObject *what, struct child *child, struct fmp_dormant *dormant)
{
    Py_buffer told = {0};
    *dormant =
        (struct fmp_dormant){.wakes = template_wakes, .fails = template_fails, .ctx = child, .blocks_signals = true};
    if (!PyArg_ParseTuple(what, "ii|w*", &child->socket, &child->parent, &told)) {
        return -1;
    }
    dormant->told = told.buf; /* it is kept by who kept it before */
    bool ok = told.buf == NULL || (told.len >= (Py_ssize_t)sizeof(pid_t) && (uintptr_t)told.buf % sizeof(pid_t) == 0);
    PyBuffer_Release(&told);
    if (!ok) {
        PyErr_SetString(PyExc_ValueError, "no room for a pid");
    }
    return ok ? 0 : -1;
}

static int
parse_child(PyObject *what, struct child *child, struct fmp_dormant *dormant)
{
    PyObject *crew;
    if (!PyTuple_Check(what)) {
        PyErr_SetString(PyExc_TypeError,
                        "a child is (crew, pid of the parent, at once) or (socket, pidfd of the parent[, told])");
        return -1;
    }
    if (PyTuple_GET_SIZE(what) >= 2 && PyLong_Check(PyTuple_GET_ITEM(what, 0))) {
        return parse_template(what, child, dormant);
    }
    *dormant = (struct fmp_dormant){.wakes = fmp_worker_wakes, .ctx = &child->worker};
    int at_once;
    if (!PyArg_ParseTuple(what, "O!ip", fmp_crew_type, &crew, &child->worker.parent, &at_once)) {
        return -1;
    }
    child->worker.at_once = at_once != 0;
    child->worker.crew = (struct fmp_crew *)crew;
    if (child->worker.crew->shm == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this pool belongs to another process");
        return -1;
    }
    return 0;
}

/* 0, or -1 with MemoryError. */
static int
tell_pids(PyObject *list, const pid_t *pids, int count)
{
    for (int i = 0; i < count; i++) {
        PyObject *pid = PyLong_FromPid(pids[i]);
        int rc = pid != NULL ? PyList_Append(list, pid) : -1;
        Py_XDECREF(pid);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
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

/* In a child that is needed. A signal that has waited since it was forked is handled within the call, so whatever its
 * handler raises does not reach what the parent was about to do. */
static _Noreturn void
run_child(PyObject *run, int me)
{
    PyObject *result = PyObject_CallFunction(run, "i", me);
    int code = 1;
    if (result == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        code = 128 + SIGINT; /* the parent prints the traceback */
    } else if (result == NULL && PyErr_ExceptionMatches(PyExc_SystemExit)) {
        code = code_of_exit();
    } else if (result == NULL) {
        PyErr_WriteUnraisable(run);
    }
    fmp_runtime_leave();
    _exit(code);
}

/* 0, or -1 with an exception set. */
static int
fork_all(PyObject *whats, PyObject *run, struct child *children, struct fmp_dormant *dormant, PyObject *list,
         pid_t *pids)
{
    int me = -1, count = (int)PyList_GET_SIZE(whats);
    for (int i = 0; i < count; i++) {
        if (parse_child(PyList_GET_ITEM(whats, i), &children[i], &dormant[i]) < 0) {
            return -1;
        }
    }
    for (int i = 0; i < count; i++) {
        if (children[i].worker.crew != NULL) {
            fmp_crew_expect_dormant(&children[i].worker);
        }
    }
    if (count > 1 && dormant[count - 1].told != NULL) {
        count--;
        dormant[count - 1].heir = &dormant[count];
    }
    int made = fmp_runtime_fork_dormant(dormant, count, pids, &me);
    if (me >= 0) {
        run_child(run, me);
    }
    return made < 0 ? -1 : tell_pids(list, pids, made);
}

PyDoc_STRVAR(
    fork_dormant_doc,
    "fork_dormant(children, run, pids)\n--\n\n"
    "Forks a worker for each (crew, pid of this process, at once) and a template for each (socket, pidfd of this\n"
    "process); not for (socket, pidfd, told) at the end: the child before it forks that one as its sibling when it\n"
    "wakes, and its pid is written to `told`, an array of one int in shared memory.\n"
    "They sleep, without Python, until they are needed, or not if they are to begin at once; one that\n"
    "begins calls run with its place in the list, and ends. The pids are added to the list `pids`, where they are "
    "found also if a signal's handler raises\n"
    "as soon as this returns: fewer than asked for if there can be no more. It is called by the main thread; no\n"
    "other thread may run Python.");

static PyObject *
dormant_fork(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *whats, *run, *list;
    if (!PyArg_ParseTuple(args, "O!OO!", &PyList_Type, &whats, &run, &PyList_Type, &list)) {
        return NULL;
    }
    if (PyList_GET_SIZE(whats) > CHILDREN_MAX) {
        PyErr_SetString(PyExc_ValueError, "too many children");
        return NULL;
    }
    size_t count = (size_t)PyList_GET_SIZE(whats);
    struct child *children = PyMem_Calloc(count, sizeof *children);
    struct fmp_dormant *dormant = PyMem_Calloc(count, sizeof *dormant);
    pid_t *pids = PyMem_Calloc(count, sizeof *pids);
    int rc = -1;
    if (children == NULL || dormant == NULL || pids == NULL) {
        PyErr_NoMemory();
    } else {
        rc = fork_all(whats, run, children, dormant, list, pids);
    }
    PyMem_Free(children);
    PyMem_Free(dormant);
    PyMem_Free(pids);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef dormant_functions[] = {
    {"fork_dormant", dormant_fork, METH_VARARGS, fork_dormant_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_dormant(PyObject *module)
{
    return PyModule_AddFunctions(module, dormant_functions);
}

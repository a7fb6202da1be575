/*
 * What a Process needs of C: fork, the end of a child, descriptors of processes. Called by: fastmp/popen_fork.py,
 * popen_forkserver.py, spawn.py, _template.py, _tree.py, _workers.py.
 */
#include "py/types.h"
#include "pyrt/wait.h"
#include "sys/follow.h"
#include "sys/process.h"

PyDoc_STRVAR(
    fork_doc,
    "fork()\n--\n\nfork(2) with the child already a participant of the shared memory. The child's pid, 0 in the "
    "child.");

static PyObject *
process_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    pid_t pid = fmp_runtime_fork();
    return pid < 0 ? NULL : PyLong_FromPid(pid);
}

PyDoc_STRVAR(
    fork_sibling_doc,
    "fork_sibling(told)\n--\n\nfork(), but the new process is a child of this one's parent, which then calls adopt(). "
    "The pid is also written to `told`, an array of one int, before the new process runs. This process must have no "
    "other thread.");

static PyObject *
process_fork_sibling(PyObject *Py_UNUSED(module), PyObject *arg)
{
    Py_buffer told;
    if (PyObject_GetBuffer(arg, &told, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (told.len < (Py_ssize_t)sizeof(pid_t) || (uintptr_t)told.buf % sizeof(pid_t) != 0) {
        PyBuffer_Release(&told);
        PyErr_SetString(PyExc_ValueError, "no room for a pid");
        return NULL;
    }
    pid_t pid = fmp_runtime_fork_sibling(told.buf);
    PyBuffer_Release(&told);
    return pid < 0 ? fmp_py_raise((int)pid, NULL) : PyLong_FromPid(pid);
}

PyDoc_STRVAR(adopt_doc, "adopt(pid)\n--\n\nA child of this process was made by fork_sibling() in another one.");

static PyObject *
process_adopt(PyObject *Py_UNUSED(module), PyObject *arg)
{
    pid_t pid = PyLong_AsPid(arg);
    if (pid == -1 && PyErr_Occurred()) {
        return NULL;
    }
    fmp_runtime_adopt(pid);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    reaped_doc,
    "reaped(pid)\n--\n\nA child of this process has been waited for: what it held in shared memory is given back.");

static PyObject *
process_reaped(PyObject *Py_UNUSED(module), PyObject *arg)
{
    pid_t pid = PyLong_AsPid(arg);
    if (pid == -1 && PyErr_Occurred()) {
        return NULL;
    }
    fmp_runtime_reaped(pid);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(reap_doc,
             "reap(pidfd, pid)\n--\n\nReaps a child that has ended, unless somebody has, and calls reaped(pid).");

static PyObject *
process_reap(PyObject *Py_UNUSED(module), PyObject *args)
{
    int pidfd, pid;
    if (!PyArg_ParseTuple(args, "ii", &pidfd, &pid)) {
        return NULL;
    }
    (void)sys_reap(pidfd);
    fmp_runtime_reaped(pid);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(leave_doc,
             "leave()\n--\n\nLeaves the shared memory in order, before os._exit. No object in it may be used "
             "afterwards.");

static PyObject *
process_leave(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    fmp_runtime_leave();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pidfd_open_doc, "pidfd_open(pid)\n--\n\nA descriptor that polls readable when the process has ended.");

static PyObject *
process_pidfd_open(PyObject *Py_UNUSED(module), PyObject *arg)
{
    pid_t pid = PyLong_AsPid(arg);
    if (pid == -1 && PyErr_Occurred()) {
        return NULL;
    }
    int fd = sys_pidfd_open(pid);
    return fd < 0 ? fmp_py_raise(fd, NULL) : PyLong_FromLong(fd);
}

PyDoc_STRVAR(
    die_with_parent_doc,
    "die_with_parent(pid)\n--\n\nIn a child forked by the main thread of pid: it is killed when that process ends. "
    "ProcessLookupError if it has ended already.");

static PyObject *
process_die_with_parent(PyObject *Py_UNUSED(module), PyObject *arg)
{
    pid_t parent = PyLong_AsPid(arg);
    if (parent == -1 && PyErr_Occurred()) {
        return NULL;
    }
    int rc = sys_die_with_parent(parent);
    if (rc != 0) {
        return fmp_py_raise(rc, NULL);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(follow_doc,
             "follow(pidfd)\n--\n\nThis process is killed when the one behind the descriptor ends, which stays open. A "
             "thread of C waits for that.");

static PyObject *
process_follow(PyObject *Py_UNUSED(module), PyObject *arg)
{
    int pidfd = PyObject_AsFileDescriptor(arg);
    if (pidfd < 0) {
        return NULL;
    }
    int rc = sys_follow(pidfd);
    if (rc != 0) {
        return fmp_py_raise(rc, NULL);
    }
    Py_RETURN_NONE;
}

static PyMethodDef process_functions[] = {
    {"fork", process_fork, METH_NOARGS, fork_doc},
    {"fork_sibling", process_fork_sibling, METH_O, fork_sibling_doc},
    {"adopt", process_adopt, METH_O, adopt_doc},
    {"reaped", process_reaped, METH_O, reaped_doc},
    {"reap", process_reap, METH_VARARGS, reap_doc},
    {"leave", process_leave, METH_NOARGS, leave_doc},
    {"die_with_parent", process_die_with_parent, METH_O, die_with_parent_doc},
    {"follow", process_follow, METH_O, follow_doc},
    {"pidfd_open", process_pidfd_open, METH_O, pidfd_open_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_process(PyObject *module)
{
    return PyModule_AddFunctions(module, process_functions);
}

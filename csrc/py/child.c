/*
 * What a forked child does from the fork to its end, as BaseProcess._bootstrap and the standard Popen have it, without
 * their Python. Called by: fastmp/_child.py, fastmp/popen_fork.py.
 *
 * Each page that a child writes to is copied for it, and Python writes to two or three for each function that runs in
 * it. So here only what has something to do is called: the standard library's own functions, where a registry is not
 * empty, a logger is there, or a thread. The end is _exit, from here: no frame is left, no object freed.
 *
 * It is for children in which nobody can tell the difference: child_standard.c looks, `is_plain_child` says so before
 * the fork, and `run_child` comes back where it is no longer so. An exception is the business of fastmp/_child.py.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "py/child.h"
#include "pyrt/runtime.h"
#include "pyrt/wait.h"

/* From 3.13 on a child runs the exit functions that it has registered itself; multiprocessing's is one of them. */
#define RUNS_ATEXIT (PY_VERSION_HEX >= 0x030D0000)

/* ---- steps: 0, or -1 with an exception set ---- */

static int
set_new(PyObject *dict, PyObject *name, PyObject *value)
{
    int rc = value != NULL ? PyDict_SetItem(dict, name, value) : -1;
    Py_XDECREF(value);
    return rc;
}

static int
set_native_id(void)
{
    PyObject *thread = FMP_STD(threading, _main_thread);
    PyObject *id = PyLong_FromLong(syscall(SYS_gettid));
    int rc = id != NULL && thread != NULL ? PyObject_SetAttr(thread, FMP_NAME(_native_id), id) : -1;
    Py_XDECREF(id);
    return rc;
}

/* What the next child takes, and what it finds in these places and keeps: to make and to free objects is to write. */
static struct {
    PyObject *counter;
    PyObject *old_counter, *old_process, *old_id;
} ready;

static void
keep(PyObject **kept, PyObject *object)
{
    if (*kept != object) {
        Py_XSETREF(*kept, Py_XNewRef(object));
    }
}

static void
make_ready(void)
{
    if (ready.counter == NULL) {
        ready.counter = PyObject_CallOneArg(fmp_std.count, fmp_std.one);
    }
    keep(&ready.old_counter, FMP_STD(process, _process_counter));
    keep(&ready.old_process, FMP_STD(process, _current_process));
    PyObject *id = PyObject_GetAttr(FMP_STD(threading, _main_thread), FMP_NAME(_native_id));
    keep(&ready.old_id, id);
    Py_XDECREF(id);
}

static int
set_counter(void)
{
    PyObject *counter = ready.counter;
    ready.counter = NULL;
    return set_new(fmp_std.process, FMP_NAME(_process_counter),
                   counter != NULL ? counter : PyObject_CallOneArg(fmp_std.count, fmp_std.one));
}

static int
forget_children(void)
{
    PyObject *children = FMP_STD(process, _children);
    return children != NULL && PySet_CheckExact(children) && PySet_GET_SIZE(children) == 0
               ? 0
               : set_new(fmp_std.process, FMP_NAME(_children), PySet_New(NULL));
}

static int
become(PyObject *process, PyObject *parent)
{
    keep(&ready.old_process, FMP_STD(process, _current_process));
    bool ok = set_counter() == 0 && forget_children() == 0 && fmp_child_close_stdin() == 0 &&
              PyDict_SetItem(fmp_std.process, FMP_NAME(_current_process), process) == 0 &&
              PyDict_SetItem(fmp_std.process, FMP_NAME(_parent_process), parent) == 0 && set_native_id() == 0;
    return ok ? 0 : -1;
}

/* BaseProcess._after_fork. */
static int
forget_parents(void)
{
    PyObject *finalizers = FMP_STD(util, _finalizer_registry);
    if (!fmp_std_is_empty(finalizers)) {
        PyDict_Clear(finalizers);
    }
    return fmp_std_is_empty(fmp_std.after_forkers) ? 0 : fmp_std_call(fmp_std.util, FMP_NAME(_run_after_forkers));
}

static int
call_target(PyObject *process)
{
    PyObject *target = PyObject_GetAttr(process, FMP_NAME(_target));
    int truth = target != NULL ? PyObject_IsTrue(target) : -1;
    if (truth <= 0) {
        Py_XDECREF(target);
        return truth;
    }
    PyObject *args = PyObject_GetAttr(process, FMP_NAME(_args));
    PyObject *kwargs = args != NULL ? PyObject_GetAttr(process, FMP_NAME(_kwargs)) : NULL;
    /* the references are kept: what a freed argument would do, it would do after the end */
    return kwargs != NULL ? fmp_child_drop(PyObject_Call(target, args, kwargs)) : -1;
}

static int
run(PyObject *process)
{
    PyObject *method = PyObject_GetAttr(process, FMP_NAME(run));
    if (method == NULL) {
        return -1;
    }
    bool is_plain = PyMethod_Check(method) && PyMethod_GET_FUNCTION(method) == fmp_std.run &&
                    PyFunction_GET_CODE(fmp_std.run) == fmp_std.run_code;
    return is_plain ? call_target(process) : fmp_child_drop(PyObject_CallNoArgs(method));
}

static int
exit_function(void)
{
    return fmp_std_is_exit_trivial() ? PyDict_SetItem(fmp_std.util, FMP_NAME(_exiting), Py_True)
                                     : fmp_std_call(fmp_std.util, FMP_NAME(_exit_function));
}

static int
flush(PyObject *name)
{
    PyObject *stream = Py_XNewRef(PyDict_GetItemWithError(fmp_std.sys, name));
    int rc = stream != NULL ? fmp_child_drop(PyObject_CallMethodNoArgs(stream, FMP_NAME(flush))) : 0;
    if (rc < 0 && (PyErr_ExceptionMatches(PyExc_AttributeError) || PyErr_ExceptionMatches(PyExc_ValueError))) {
        PyErr_Clear();
        rc = 0;
    }
    return rc;
}

static int
tell_exit(PyObject *code)
{
    PyObject *text = PyUnicode_FromString("process exiting with exitcode %d");
    PyObject *line = text != NULL ? PyNumber_Remainder(text, code) : NULL;
    return line != NULL ? fmp_child_drop(PyObject_CallOneArg(FMP_STD(util, info), line)) : -1;
}

/* The end of BaseProcess._bootstrap. */
static int
end(PyObject *code)
{
    if (!fmp_std_is_shutdown_trivial() && fmp_std_call(fmp_std.threading, FMP_NAME(_shutdown)) < 0) {
        return -1;
    }
    if (fmp_std_has_logger() && tell_exit(code) < 0) {
        return -1;
    }
    return flush(FMP_NAME(stdout)) == 0 ? flush(FMP_NAME(stderr)) : -1;
}

/* ---- exit functions, from 3.13 on ---- */

static int
begin_atexit(void)
{
    PyObject *function = FMP_STD(util, _exit_function);
    return fmp_child_drop(PyObject_CallMethodNoArgs(fmp_std.atexit, FMP_NAME(_clear))) == 0
               ? fmp_child_drop(PyObject_CallMethodOneArg(fmp_std.atexit, FMP_NAME(register), function))
               : -1;
}

static long
count_exit_functions(void)
{
    PyObject *count = PyObject_CallMethodNoArgs(fmp_std.atexit, FMP_NAME(_ncallbacks));
    long n = count != NULL ? PyLong_AsLong(count) : -1;
    Py_XDECREF(count);
    return n;
}

/* Is there none but multiprocessing's? Then there is none afterwards. */
static bool
take_exit_function(void)
{
    PyObject *function = FMP_STD(util, _exit_function);
    return count_exit_functions() == 1 &&
           fmp_child_drop(PyObject_CallMethodOneArg(fmp_std.atexit, FMP_NAME(unregister), function)) == 0 &&
           count_exit_functions() == 0;
}

static int
run_exit_functions(void)
{
    int rc = fmp_std_is_exit_trivial() && take_exit_function()
                 ? exit_function()
                 : fmp_child_drop(PyObject_CallMethodNoArgs(fmp_std.atexit, FMP_NAME(_run_exitfuncs)));
    return rc == 0 && flush(FMP_NAME(stdout)) == 0 ? flush(FMP_NAME(stderr)) : -1;
}

/* ---- from the fork to the end ---- */

/* What `except` does in _bootstrap; the exit code. */
static PyObject *
fail(PyObject *process, const char *where)
{
    PyObject *error = fmp_take_exception();
    return PyObject_CallFunction(fmp_std.failed, "OOs", process, error, where);
}

static int
set_start_methods(PyObject *choices)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(choices); i++) {
        PyObject *choice = PyTuple_GET_ITEM(choices, i);
        if (PyObject_SetAttr(PyTuple_GET_ITEM(choice, 0), FMP_NAME(_actual_context), PyTuple_GET_ITEM(choice, 1)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The exit code, or NULL with an exception set. */
static PyObject *
live(PyObject *process, PyObject *parent, PyObject *choices)
{
    if (set_start_methods(choices) < 0 || become(process, parent) < 0 || forget_parents() < 0 ||
        PyErr_CheckSignals() < 0) {
        return fail(process, "begin");
    }
    /* a signal that has come during the last call is handled here, where Python would have looked again */
    if (run(process) < 0 || PyErr_CheckSignals() < 0) {
        return fail(process, "run");
    }
    if (!RUNS_ATEXIT && exit_function() < 0) {
        return fail(process, "end");
    }
    return PyLong_FromLong(0);
}

static _Noreturn void
live_and_end(PyObject *process, PyObject *parent, PyObject *choices)
{
    PyObject *code = NULL;
    bool ok = !RUNS_ATEXIT || begin_atexit() == 0;
    if (ok) {
        code = live(process, parent, choices);
        if (code == NULL) {
            PyErr_Clear();
            code = PyLong_FromLong(1);
        }
        ok = end(code) == 0;
        PyErr_Clear();
        ok = (!RUNS_ATEXIT || run_exit_functions() == 0) && ok;
        PyErr_Clear();
    }
    unsigned long number = ok ? PyLong_AsUnsignedLongMask(code) : 1;
    fmp_runtime_leave();
    _exit((int)(number & 0xFF));
}

/* ---- the functions ---- */

/* This thread forks children that are to be run by run_child. */
static _Thread_local bool is_led;

void
fmp_child_lead(bool leads)
{
    if (leads) {
        fmp_child_prepare_stdin();
    }
    is_led = leads;
}

/* Between the fork and Python's own, which may do anything. From 3.13 on the interpreter's list of threads is locked
 * here: whatever gave up the GIL would wait for a thread that ends, and that one for us. */
static void
look(bool is_before)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (is_before) {
        fmp_child_look_at_threads();
        if (is_led) {
            make_ready();
            fmp_child_lend_stdin();
        }
    } else {
        fmp_child_forget_threads();
        if (is_led) {
            fmp_child_take_stdin_back();
        }
    }
    PyErr_Restore(type, value, traceback); /* instead of what the look has met */
}

pid_t
fmp_child_fork(PyObject *plain)
{
    PyObject *process = NULL, *parent = NULL, *choices = NULL;
    if (plain != Py_None && !PyArg_ParseTuple(plain, "OOO!", &process, &parent, &PyTuple_Type, &choices)) {
        return -1;
    }
    fmp_child_lead(process != NULL);
    pid_t pid = fmp_runtime_fork();
    fmp_child_lead(false);
    if (pid == 0 && process != NULL) {
        if (fmp_std_is_plain()) {
            live_and_end(process, parent, choices);
        }
        fmp_child_take_stdin_back();
    }
    return pid;
}

PyDoc_STRVAR(
    fork_child_doc,
    "fork_child(plain)\n--\n\n"
    "Like fork(). If `plain` is a tuple, of the arguments of run_child, the child does not come back from it.");

static PyObject *
child_fork(PyObject *Py_UNUSED(module), PyObject *plain)
{
    pid_t pid = fmp_child_fork(plain);
    return pid < 0 ? NULL : PyLong_FromPid(pid);
}

const char fmp_child_run_child_doc[] =
    "run_child(process, parent, choices)\n--\n\n"
    "In a child: becomes the process, whose parent is the given object, runs it and ends. `choices` are pairs of\n"
    "default contexts and what is to be the actual one of each. Comes back where something has been replaced since.";
PyObject *
fmp_child_run_child(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *process, *parent, *choices;
    if (!PyArg_ParseTuple(args, "OOO!", &process, &parent, &PyTuple_Type, &choices)) {
        return NULL;
    }
    if (fmp_std_is_plain()) {
        live_and_end(process, parent, choices);
    }
    Py_RETURN_NONE;
}

static PyMethodDef child_functions[] = {
    {"keep_stdin", fmp_child_keep_stdin, METH_VARARGS, fmp_child_keep_stdin_doc},
    {"has_stdin", fmp_child_has_stdin, METH_NOARGS, fmp_child_has_stdin_doc},
    {"set_up_child", fmp_child_set_up_child, METH_VARARGS, fmp_child_set_up_child_doc},
    {"set_up_threads", fmp_child_set_up_threads, METH_VARARGS, fmp_child_set_up_threads_doc},
    {"set_up_random", fmp_child_set_up_random, METH_VARARGS, fmp_child_set_up_random_doc},
    {"is_plain_child", fmp_child_is_plain_child, METH_O, fmp_child_is_plain_child_doc},
    {"fork_child", child_fork, METH_O, fork_child_doc},
    {"start_child", fmp_child_start_child, METH_VARARGS, fmp_child_start_child_doc},
    {"run_child", fmp_child_run_child, METH_VARARGS, fmp_child_run_child_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_child(PyObject *module)
{
    fmp_runtime_look_before_forks(look);
    return PyModule_AddFunctions(module, child_functions);
}

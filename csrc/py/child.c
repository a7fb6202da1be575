/*
 * What a forked child does from the fork to its end, as BaseProcess._bootstrap and the standard Popen have it, without
 * their Python. Called by: fastmp/_child.py, fastmp/popen_fork.py.
 *
 * Each page that a child writes to is copied for it, and Python writes to two or three for each function that runs in
 * it. So here only what has something to do is called: the standard library's own functions, where a registry is not
 * empty, a logger is there, or a thread. The end is _exit, from here: no frame is left, no object freed.
 *
 * It is for children in which nobody can tell the difference. Where a function of the path has been replaced
 * (coverage, gevent), a logger is there or somebody traces, `is_plain_child` says no, and `run_child` comes back. An
 * exception is the business of fastmp/_child.py.
 */
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/crew.h"
#include "py/types.h"

/* From 3.13 on a child runs the exit functions that it has registered itself; multiprocessing's is one of them. */
#define RUNS_ATEXIT (PY_VERSION_HEX >= 0x030D0000)

/* What is looked up by name, each time anew, as it may have been replaced. */
#define NAMES(X)           \
    X(_after_fork)         \
    X(_args)               \
    X(_bootstrap)          \
    X(_children)           \
    X(_clear)              \
    X(_close_stdin)        \
    X(_current_process)    \
    X(_exit_function)      \
    X(_exiting)            \
    X(_finalizer_registry) \
    X(_kwargs)             \
    X(_logger)             \
    X(_main_thread)        \
    X(_native_id)          \
    X(_ncallbacks)         \
    X(_parent_process)     \
    X(_process_counter)    \
    X(_run_after_forkers)  \
    X(_run_exitfuncs)      \
    X(_shutdown)           \
    X(_shutdown_locks)     \
    X(_target)             \
    X(_threading_atexits)  \
    X(close)               \
    X(flush)               \
    X(info)                \
    X(register)            \
    X(run)                 \
    X(stderr)              \
    X(stdin)               \
    X(stdout)              \
    X(unregister)

#define MEMBER(name) PyObject *s_##name;
static struct {
    NAMES(MEMBER)
} str;
#undef MEMBER
#define S(name) str.s_##name

/* Given once, kept for ever. The dictionaries are those of the modules. */
static struct {
    PyObject *process, *util, *threading, *sys;
    PyObject *atexit;                     /* the module */
    PyObject *after_forkers;              /* the dictionary behind util._afterfork_registry */
    PyObject *count, *one;                /* itertools.count, and where it starts */
    PyObject *originals;                  /* tuples: who has it (a module or a class), its name, it, its code or None */
    PyObject *bootstrap, *run, *run_code; /* BaseProcess's; `run` is None if it had been replaced before */
    PyObject *after_forks; /* a tuple of the methods that do what forget_parents does, and set the start method */
    PyObject *failed;      /* called with the process, an exception, and where it was raised */
} std;

/* A text stream on no file, and the raw file under it: a forked child's sys.stdin to be. */
static struct {
    PyObject *stream, *file;
} spare;

/* ---- looking, without writing ---- */

static PyObject *
in(PyObject *dict, PyObject *name)
{
    return PyDict_GetItemWithError(dict, name);
}

static bool
is_empty(PyObject *collection)
{
    return collection != NULL && PyObject_Size(collection) == 0;
}

static bool
has_logger(void)
{
    return in(std.util, S(_logger)) != Py_None;
}

static bool
is_original(PyObject *entry)
{
    PyObject *owner = PyTuple_GET_ITEM(entry, 0), *code = PyTuple_GET_ITEM(entry, 3);
    PyObject *dict = PyType_Check(owner) ? ((PyTypeObject *)owner)->tp_dict : PyModule_GetDict(owner);
    PyObject *now = in(dict, PyTuple_GET_ITEM(entry, 1));
    return now != NULL && now == PyTuple_GET_ITEM(entry, 2) && (code == Py_None || PyFunction_GET_CODE(now) == code);
}

static bool
is_untouched(void)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(std.originals); i++) {
        if (!is_original(PyTuple_GET_ITEM(std.originals, i))) {
            return false;
        }
    }
    return !has_logger();
}

static bool
is_traced(void)
{
    const PyThreadState *me = PyThreadState_Get();
    return me->c_tracefunc != NULL || me->c_profilefunc != NULL;
}

static bool
is_only_thread(void)
{
    return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) == NULL;
}

/* Would util._exit_function find nothing to do? */
static bool
is_exit_trivial(void)
{
    return is_untouched() && is_empty(in(std.util, S(_finalizer_registry))) && is_empty(in(std.process, S(_children)));
}

/* Would threading._shutdown? */
static bool
is_shutdown_trivial(void)
{
    PyObject *locks = in(std.threading, S(_shutdown_locks)); /* before 3.13 */
    return is_untouched() && is_only_thread() && is_empty(in(std.threading, S(_threading_atexits))) &&
           (locks == NULL || is_empty(locks));
}

/* ---- steps: 0, or -1 with an exception set ---- */

static int
drop(PyObject *result)
{
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static int
call(PyObject *module_dict, PyObject *name)
{
    PyObject *function = in(module_dict, name);
    if (function == NULL) {
        PyErr_SetObject(PyExc_AttributeError, name);
        return -1;
    }
    return drop(PyObject_CallNoArgs(function));
}

static int
set_new(PyObject *dict, PyObject *name, PyObject *value)
{
    int rc = value != NULL ? PyDict_SetItem(dict, name, value) : -1;
    Py_XDECREF(value);
    return rc;
}

/* open(fd, closefd=False) for the file under the spare stream. */
static int
open_again(int fd)
{
    PyObject *args = fd >= 0 ? Py_BuildValue("(is)", fd, "r") : NULL;
    PyObject *options = args != NULL ? Py_BuildValue("{sO}", "closefd", Py_False) : NULL;
    int rc = options != NULL ? Py_TYPE(spare.file)->tp_init(spare.file, args, options) : -1;
    Py_XDECREF(args);
    Py_XDECREF(options);
    return rc;
}

/* util._close_stdin, but the new stream was made before the fork: that is the dearest thing that a child does. */
static int
close_stdin(void)
{
    PyObject *stdin_now = in(std.sys, S(stdin));
    if (spare.stream == NULL || stdin_now == NULL) {
        return call(std.util, S(_close_stdin));
    }
    if (stdin_now == Py_None) {
        return 0;
    }
    int rc = drop(PyObject_CallMethodNoArgs(stdin_now, S(close)));
    if (rc < 0 && (PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_ValueError))) {
        PyErr_Clear();
        rc = 0;
    }
    int fd = rc == 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return rc; /* then it stays closed, as in util._close_stdin */
    }
    rc = open_again(fd) == 0 ? PyDict_SetItem(std.sys, S(stdin), spare.stream) : -1;
    spare.stream = NULL; /* its reference is kept */
    return rc;
}

static int
set_native_id(void)
{
    PyObject *thread = in(std.threading, S(_main_thread));
    PyObject *id = PyLong_FromLong(syscall(SYS_gettid));
    int rc = id != NULL && thread != NULL ? PyObject_SetAttr(thread, S(_native_id), id) : -1;
    Py_XDECREF(id);
    return rc;
}

static int
become(PyObject *process, PyObject *parent)
{
    Py_XINCREF(in(std.process, S(_current_process))); /* what was there is kept: to free it is to write */
    bool ok = set_new(std.process, S(_process_counter), PyObject_CallOneArg(std.count, std.one)) == 0 &&
              set_new(std.process, S(_children), PySet_New(NULL)) == 0 && close_stdin() == 0 &&
              PyDict_SetItem(std.process, S(_current_process), process) == 0 &&
              PyDict_SetItem(std.process, S(_parent_process), parent) == 0 && set_native_id() == 0;
    return ok ? 0 : -1;
}

/* BaseProcess._after_fork. */
static int
forget_parents(void)
{
    PyObject *finalizers = in(std.util, S(_finalizer_registry));
    if (!is_empty(finalizers)) {
        PyDict_Clear(finalizers);
    }
    return is_empty(std.after_forkers) ? 0 : call(std.util, S(_run_after_forkers));
}

static int
call_target(PyObject *process)
{
    PyObject *target = PyObject_GetAttr(process, S(_target));
    int truth = target != NULL ? PyObject_IsTrue(target) : -1;
    if (truth <= 0) {
        Py_XDECREF(target);
        return truth;
    }
    PyObject *args = PyObject_GetAttr(process, S(_args));
    PyObject *kwargs = args != NULL ? PyObject_GetAttr(process, S(_kwargs)) : NULL;
    /* the references are kept: what a freed argument would do, it would do after the end */
    return kwargs != NULL ? drop(PyObject_Call(target, args, kwargs)) : -1;
}

static int
run(PyObject *process)
{
    PyObject *method = PyObject_GetAttr(process, S(run));
    if (method == NULL) {
        return -1;
    }
    bool is_plain = PyMethod_Check(method) && PyMethod_GET_FUNCTION(method) == std.run &&
                    PyFunction_GET_CODE(std.run) == std.run_code;
    return is_plain ? call_target(process) : drop(PyObject_CallNoArgs(method));
}

static int
exit_function(void)
{
    return is_exit_trivial() ? PyDict_SetItem(std.util, S(_exiting), Py_True) : call(std.util, S(_exit_function));
}

static int
flush(PyObject *name)
{
    PyObject *stream = Py_XNewRef(in(std.sys, name));
    int rc = stream != NULL ? drop(PyObject_CallMethodNoArgs(stream, S(flush))) : 0;
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
    return line != NULL ? drop(PyObject_CallOneArg(in(std.util, S(info)), line)) : -1;
}

/* The end of BaseProcess._bootstrap. */
static int
end(PyObject *code)
{
    if (!is_shutdown_trivial() && call(std.threading, S(_shutdown)) < 0) {
        return -1;
    }
    if (has_logger() && tell_exit(code) < 0) {
        return -1;
    }
    return flush(S(stdout)) == 0 ? flush(S(stderr)) : -1;
}

/* ---- exit functions, from 3.13 on ---- */

static int
begin_atexit(void)
{
    PyObject *function = in(std.util, S(_exit_function));
    return drop(PyObject_CallMethodNoArgs(std.atexit, S(_clear))) == 0
               ? drop(PyObject_CallMethodOneArg(std.atexit, S(register), function))
               : -1;
}

static long
count_exit_functions(void)
{
    PyObject *count = PyObject_CallMethodNoArgs(std.atexit, S(_ncallbacks));
    long n = count != NULL ? PyLong_AsLong(count) : -1;
    Py_XDECREF(count);
    return n;
}

/* Is there none but multiprocessing's? Then there is none afterwards. */
static bool
take_exit_function(void)
{
    PyObject *function = in(std.util, S(_exit_function));
    return count_exit_functions() == 1 && drop(PyObject_CallMethodOneArg(std.atexit, S(unregister), function)) == 0 &&
           count_exit_functions() == 0;
}

static int
run_exit_functions(void)
{
    int rc = is_exit_trivial() && take_exit_function() ? exit_function()
                                                       : drop(PyObject_CallMethodNoArgs(std.atexit, S(_run_exitfuncs)));
    return rc == 0 && flush(S(stdout)) == 0 ? flush(S(stderr)) : -1;
}

/* ---- from the fork to the end ---- */

/* What `except` does in _bootstrap; the exit code. */
static PyObject *
fail(PyObject *process, const char *where)
{
    PyObject *error = fmp_take_exception();
    return PyObject_CallFunction(std.failed, "OOs", process, error, where);
}

/* The exit code, or NULL with an exception set. */
static PyObject *
live(PyObject *process, PyObject *parent, PyObject *set_method)
{
    if ((set_method != Py_None && drop(PyObject_CallOneArg(set_method, process)) < 0) || become(process, parent) < 0 ||
        forget_parents() < 0 || PyErr_CheckSignals() < 0) {
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
live_and_end(PyObject *process, PyObject *parent, PyObject *set_method)
{
    PyObject *code = NULL;
    bool ok = !RUNS_ATEXIT || begin_atexit() == 0;
    if (ok) {
        code = live(process, parent, set_method);
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

/* What the child will look up is found once here, before the fork: the interpreter remembers where each name of a class
 * is, and would write that down in each child anew. */
static void
look_up(PyObject *object, PyObject *name)
{
    Py_XDECREF(PyObject_GetAttr(object, name));
    PyErr_Clear();
}

static void
look_up_all(PyObject *process)
{
    look_up(process, S(_target));
    look_up(process, S(_args));
    look_up(process, S(_kwargs));
    look_up(process, S(run));
    look_up(in(std.threading, S(_main_thread)), S(_native_id));
}

/* Is this method of the process the function? */
static bool
has_method(PyObject *process, PyObject *name, PyObject *function)
{
    PyObject *method = PyObject_GetAttr(process, name);
    bool is = method != NULL && PyMethod_Check(method) && PyMethod_GET_FUNCTION(method) == function;
    Py_XDECREF(method);
    return is;
}

static bool
has_known_after_fork(PyObject *process)
{
    PyObject *method = PyObject_GetAttr(process, S(_after_fork)); /* a static method */
    int is = method != NULL ? PySequence_Contains(std.after_forks, method) : 0;
    Py_XDECREF(method);
    return is > 0;
}

PyDoc_STRVAR(is_plain_child_doc, "is_plain_child(process)\n--\n\n"
                                 "Whether a child may run this process by run_child: nothing on its way is replaced.");

static PyObject *
child_is_plain(PyObject *Py_UNUSED(module), PyObject *process)
{
    bool is = !is_traced() && is_untouched() && has_method(process, S(_bootstrap), std.bootstrap) &&
              has_known_after_fork(process);
    PyErr_Clear();
    if (is) {
        look_up_all(process);
    }
    return PyBool_FromLong(is);
}

PyDoc_STRVAR(run_child_doc,
             "run_child(process, parent, set_method)\n--\n\n"
             "In a child: becomes the process, whose parent is the given object, runs it and ends. `set_method` is\n"
             "called with the process first, or None. Comes back where something has been replaced since.");

static PyObject *
child_run(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *process, *parent, *set_method;
    if (!PyArg_ParseTuple(args, "OOO", &process, &parent, &set_method)) {
        return NULL;
    }
    if (!is_traced() && is_untouched()) {
        live_and_end(process, parent, set_method);
    }
    Py_RETURN_NONE;
}

static int
intern_names(void)
{
#define INTERN(name)                                                                \
    if (S(name) == NULL && (S(name) = PyUnicode_InternFromString(#name)) == NULL) { \
        return -1;                                                                  \
    }
    NAMES(INTERN)
#undef INTERN
    return 0;
}

PyDoc_STRVAR(set_up_child_doc,
             "set_up_child(process, util, threading, sys, atexit, after_forkers, count, one, originals, bootstrap,\n"
             "             run, after_forks, failed)\n--\n\n"
             "What run_child works with: modules, the registry of after-forkers, itertools.count and its 1, what\n"
             "must not have been replaced as (owner, name, object, its code or None), methods of BaseProcess, methods\n"
             "that stand for its _after_fork, and who handles exceptions.");

static PyObject *
child_set_up(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *process, *util, *threading, *sys;
    if (std.process != NULL || intern_names() < 0) {
        return PyErr_Occurred() != NULL ? NULL : Py_NewRef(Py_None);
    }
    if (!PyArg_ParseTuple(args, "O!O!O!O!OO!OOO!OOO!O", &PyModule_Type, &process, &PyModule_Type, &util, &PyModule_Type,
                          &threading, &PyModule_Type, &sys, &std.atexit, &PyDict_Type, &std.after_forkers, &std.count,
                          &std.one, &PyTuple_Type, &std.originals, &std.bootstrap, &std.run, &PyTuple_Type,
                          &std.after_forks, &std.failed)) {
        return NULL;
    }
    Py_INCREF(args); /* and so all that is in it */
    std.run_code = Py_NewRef(PyFunction_Check(std.run) ? PyFunction_GET_CODE(std.run) : Py_None);
    std.util = PyModule_GetDict(util);
    std.threading = PyModule_GetDict(threading);
    std.sys = PyModule_GetDict(sys);
    std.process = PyModule_GetDict(process);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(keep_stdin_doc,
             "keep_stdin(stream, file)\n--\n\n"
             "Keeps a text stream and the raw file under it, whose descriptor is closed: the next child\n"
             "made by run_child opens /dev/null in it.");

static PyObject *
child_keep_stdin(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *stream, *file;
    if (!PyArg_ParseTuple(args, "OO", &stream, &file)) {
        return NULL;
    }
    spare.stream = Py_NewRef(stream);
    spare.file = Py_NewRef(file);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(has_stdin_doc, "has_stdin()\n--\n\nWhether keep_stdin has been called for this process's next child.");

static PyObject *
child_has_stdin(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(spare.stream != NULL);
}

static PyMethodDef child_functions[] = {
    {"keep_stdin", child_keep_stdin, METH_VARARGS, keep_stdin_doc},
    {"has_stdin", child_has_stdin, METH_NOARGS, has_stdin_doc},
    {"set_up_child", child_set_up, METH_VARARGS, set_up_child_doc},
    {"is_plain_child", child_is_plain, METH_O, is_plain_child_doc},
    {"run_child", child_run, METH_VARARGS, run_child_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_child(PyObject *module)
{
    return PyModule_AddFunctions(module, child_functions);
}

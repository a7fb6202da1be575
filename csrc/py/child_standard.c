/*
 * The standard library as a forked child finds it: what it has, and whether somebody has replaced a function on the
 * child's way (coverage, gevent), has set up a logger, or traces. Called by: child.c, child_threads.c;
 * fastmp/_child.py.
 *
 * To look is not to write: each page that a child writes to is copied for it.
 */
#include "py/child.h"

struct fmp_child_names fmp_child_names;
struct fmp_std fmp_std;

bool
fmp_std_has_logger(void)
{
    return FMP_STD(util, _logger) != Py_None;
}

static bool
is_original(PyObject *entry)
{
    PyObject *owner = PyTuple_GET_ITEM(entry, 0), *code = PyTuple_GET_ITEM(entry, 3);
    PyObject *dict = PyType_Check(owner) ? ((PyTypeObject *)owner)->tp_dict : PyModule_GetDict(owner);
    PyObject *now = PyDict_GetItemWithError(dict, PyTuple_GET_ITEM(entry, 1));
    return now != NULL && now == PyTuple_GET_ITEM(entry, 2) && (code == Py_None || PyFunction_GET_CODE(now) == code);
}

bool
fmp_std_are_original(PyObject *entries)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(entries); i++) {
        if (!is_original(PyTuple_GET_ITEM(entries, i))) {
            return false;
        }
    }
    return true;
}

static bool
is_untouched(void)
{
    return fmp_std_are_original(fmp_std.originals) && !fmp_std_has_logger();
}

bool
fmp_std_is_only_thread(void)
{
    return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) == NULL;
}

bool
fmp_std_is_exit_trivial(void)
{
    return is_untouched() && fmp_std_is_empty(FMP_STD(util, _finalizer_registry)) &&
           fmp_std_is_empty(FMP_STD(process, _children));
}

bool
fmp_std_is_shutdown_trivial(void)
{
    PyObject *locks = FMP_STD(threading, _shutdown_locks); /* before 3.13 */
    return is_untouched() && fmp_std_is_only_thread() && fmp_std_is_empty(FMP_STD(threading, _threading_atexits)) &&
           (locks == NULL || fmp_std_is_empty(locks));
}

bool
fmp_std_is_traced(void)
{
    const PyThreadState *me = PyThreadState_Get();
    return me->c_tracefunc != NULL || me->c_profilefunc != NULL;
}

bool
fmp_std_is_plain(void)
{
    return !fmp_std_is_traced() && is_untouched();
}

int
fmp_std_call(PyObject *module_dict, PyObject *name)
{
    PyObject *function = PyDict_GetItemWithError(module_dict, name);
    if (function == NULL) {
        PyErr_SetObject(PyExc_AttributeError, name);
        return -1;
    }
    return fmp_child_drop(PyObject_CallNoArgs(function));
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
    look_up(process, FMP_NAME(_target));
    look_up(process, FMP_NAME(_args));
    look_up(process, FMP_NAME(_kwargs));
    look_up(process, FMP_NAME(run));
    look_up(FMP_STD(threading, _main_thread), FMP_NAME(_native_id));
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
    PyObject *method = PyObject_GetAttr(process, FMP_NAME(_after_fork)); /* a static method */
    int is = method != NULL ? PySequence_Contains(fmp_std.after_forks, method) : 0;
    Py_XDECREF(method);
    return is > 0;
}

const char fmp_child_is_plain_child_doc[] =
    "is_plain_child(process)\n--\n\n"
    "Whether a child may run this process by run_child: nothing on its way is replaced.";
PyObject *
fmp_child_is_plain_child(PyObject *Py_UNUSED(module), PyObject *process)
{
    bool is = fmp_std_is_plain() && has_method(process, FMP_NAME(_bootstrap), fmp_std.bootstrap) &&
              has_known_after_fork(process);
    PyErr_Clear();
    if (is && fmp_child_meet_random() < 0) {
        return NULL;
    }
    if (is) {
        look_up_all(process);
    }
    return PyBool_FromLong(is);
}

static int
intern_names(void)
{
#define INTERN(name)                                                                              \
    if (FMP_NAME(name) == NULL && (FMP_NAME(name) = PyUnicode_InternFromString(#name)) == NULL) { \
        return -1;                                                                                \
    }
    FMP_CHILD_NAMES(INTERN)
#undef INTERN
    return 0;
}

const char fmp_child_set_up_child_doc[] =
    "set_up_child(process, util, threading, sys, atexit, after_forkers, originals, bootstrap, run, after_forks,\n"
    "             meet_random, failed)\n--\n\n"
    "What run_child works with: modules, the registry of after-forkers, what must not have been replaced as\n"
    "(owner, name, object, its code or None), methods of BaseProcess, methods that stand for its _after_fork,\n"
    "who is told of the module `random`, and who handles exceptions.";
PyObject *
fmp_child_set_up_child(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *process, *util, *threading, *sys;
    if (fmp_std.process != NULL || intern_names() < 0) {
        return PyErr_Occurred() != NULL ? NULL : Py_NewRef(Py_None);
    }
    if (fmp_py_lookup(&fmp_std.count, "itertools", "count") == NULL || (fmp_std.one = PyLong_FromLong(1)) == NULL ||
        !PyArg_ParseTuple(args, "O!O!O!O!OO!O!OOO!OO", &PyModule_Type, &process, &PyModule_Type, &util, &PyModule_Type,
                          &threading, &PyModule_Type, &sys, &fmp_std.atexit, &PyDict_Type, &fmp_std.after_forkers,
                          &PyTuple_Type, &fmp_std.originals, &fmp_std.bootstrap, &fmp_std.run, &PyTuple_Type,
                          &fmp_std.after_forks, &fmp_std.meet_random, &fmp_std.failed)) {
        return NULL;
    }
    Py_INCREF(args); /* and so all that is in it */
    fmp_std.run_code = Py_NewRef(PyFunction_Check(fmp_std.run) ? PyFunction_GET_CODE(fmp_std.run) : Py_None);
    fmp_std.util = PyModule_GetDict(util);
    fmp_std.threading = PyModule_GetDict(threading);
    fmp_std.sys = PyModule_GetDict(sys);
    fmp_std.process = PyModule_GetDict(process);
    Py_RETURN_NONE;
}

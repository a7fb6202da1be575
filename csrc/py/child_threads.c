/*
 * What `threading` does in each forked child (os.register_at_fork), without its Python, where one thread forks and its
 * locks are free: it makes them anew, and so writes to some sixty pages, each of which is copied for the child. Called
 * by: child.c, pyrt/fork.c; fastmp/_child.py.
 *
 * threading._after_fork stays what it is to everybody else: only what a call of the function does first is another
 * (PyFunction_SetVectorcall). It is C's business in a child of fastmp's, when a look before the fork, after which
 * nothing of Python runs in the parent, has found that all would be as it was, but for `_shutdown_locks`.
 */
#include "py/child.h"
#include "pyrt/runtime.h"

static struct {
    PyObject *function, *originals;
    vectorcallfunc python;
    PyTypeObject *main_thread, *event, *condition, *lock, *rlock, *weak_set;
    /* A look has found nothing to do for a child, whose fork generation is another than that. */
    bool is_idle;
    unsigned parents;
} threads;

/* What object.name() says: 1, 0, or -1. */
static int
ask(PyObject *object, PyObject *name)
{
    PyObject *answer = PyObject_CallMethodNoArgs(object, name);
    int truth = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

static bool
is_lock(PyObject *lock, bool is_locked)
{
    return lock != NULL && Py_IS_TYPE(lock, threads.lock) && ask(lock, FMP_NAME(locked)) == (int)is_locked;
}

/* The attribute of an object of just this type, as a new reference; NULL for any other. */
static PyObject *
get(PyObject *object, PyTypeObject *type, PyObject *name)
{
    return object != NULL && Py_IS_TYPE(object, type) ? PyObject_GetAttr(object, name) : NULL;
}

/* Event._at_fork_reinit. */
static bool
is_event_free(PyObject *event)
{
    PyObject *condition = get(event, threads.event, FMP_NAME(_cond));
    PyObject *lock = get(condition, threads.condition, FMP_NAME(_lock));
    PyObject *waiters = get(condition, threads.condition, FMP_NAME(_waiters));
    bool is = is_lock(lock, false) && fmp_std_is_empty(waiters);
    Py_XDECREF(waiters);
    Py_XDECREF(lock);
    Py_XDECREF(condition);
    return is;
}

/* Thread._reset_internal_locks; Thread._after_fork from 3.13 on. */
static bool
is_thread_free(PyObject *thread)
{
    PyObject *started = get(thread, threads.main_thread, FMP_NAME(_started));
    bool is = is_event_free(started);
    Py_XDECREF(started);
#if PY_VERSION_HEX < 0x030D0000
    PyObject *lock = get(thread, threads.main_thread, FMP_NAME(_tstate_lock));
    is = is && is_lock(lock, true); /* made anew it would be locked again */
    Py_XDECREF(lock);
#endif
    return is;
}

/* Is this thread the main one, and the only one in the table? */
static bool
is_alone(PyObject *active, PyObject *thread)
{
    PyObject *ident, *one;
    Py_ssize_t at = 0;
    return active != NULL && PyDict_CheckExact(active) && PyDict_Next(active, &at, &ident, &one) && one == thread &&
           !PyDict_Next(active, &at, &ident, &one) && Py_IS_TYPE(thread, threads.main_thread) &&
           PyLong_AsUnsignedLong(ident) == PyThread_get_thread_ident();
}

/* Is nobody but this thread in the set of those that are not freed yet? */
static bool
is_only_dangling(PyObject *dangling, PyObject *thread)
{
    PyObject *data = get(dangling, threads.weak_set, FMP_NAME(data));
    PyObject *references = data != NULL && PyAnySet_Check(data) ? PyObject_GetIter(data) : NULL;
    bool is = references != NULL;
    for (PyObject *one; is && (one = PyIter_Next(references)) != NULL; Py_DECREF(one)) {
        PyObject *object = PyWeakref_Check(one) ? PyObject_CallNoArgs(one) : NULL;
        is = object == thread || object == Py_None;
        Py_XDECREF(object);
    }
    Py_XDECREF(references);
    Py_XDECREF(data);
    return is;
}

static bool
are_module_locks_free(void)
{
    PyObject *limbo = FMP_STD(threading, _active_limbo_lock);
    bool is = limbo != NULL && Py_IS_TYPE(limbo, threads.rlock) && ask(limbo, FMP_NAME(_is_owned)) == 0;
#if PY_VERSION_HEX < 0x030D0000
    is = is && is_lock(FMP_STD(threading, _shutdown_locks_lock), false);
#endif
    return is;
}

static bool
has_nothing_to_do(void)
{
    PyObject *main_thread = FMP_STD(threading, _main_thread);
    return main_thread != NULL && !fmp_std_is_traced() && fmp_std_is_only_thread() &&
           fmp_std_are_original(threads.originals) && is_alone(FMP_STD(threading, _active), main_thread) &&
           fmp_std_is_empty(FMP_STD(threading, _limbo)) &&
           is_only_dangling(FMP_STD(threading, _dangling), main_thread) && is_thread_free(main_thread) &&
           are_module_locks_free();
}

void
fmp_child_look_at_threads(void)
{
    threads.is_idle = threads.function != NULL && has_nothing_to_do();
    threads.parents = fmp_fork_generation;
}

void
fmp_child_forget_threads(void)
{
    threads.is_idle = false;
}

/* threading._after_fork. */
static PyObject *
after_fork(PyObject *function, PyObject *const *args, size_t nargs, PyObject *names)
{
    bool is_idle = threads.is_idle && threads.parents != fmp_fork_generation;
    threads.is_idle = false;
    if (!is_idle || PyVectorcall_NARGS(nargs) != 0 || names != NULL) {
        return threads.python(function, args, nargs, names);
    }
    PyObject *locks = FMP_STD(threading, _shutdown_locks); /* before 3.13 */
    if (locks != NULL && PySet_Clear(locks) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char fmp_child_set_up_threads_doc[] =
    "set_up_threads(function, originals, main_thread, event, condition, lock, rlock, weak_set)\n--\n\n"
    "threading._after_fork, what must not have been replaced, as for set_up_child, and types.";
PyObject *
fmp_child_set_up_threads(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *function;
    if (threads.function != NULL) {
        Py_RETURN_NONE;
    }
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!O!O!", &PyFunction_Type, &function, &PyTuple_Type, &threads.originals,
                          &PyType_Type, &threads.main_thread, &PyType_Type, &threads.event, &PyType_Type,
                          &threads.condition, &PyType_Type, &threads.lock, &PyType_Type, &threads.rlock, &PyType_Type,
                          &threads.weak_set)) {
        return NULL;
    }
    Py_INCREF(args); /* and so all that is in it */
    threads.function = function;
    threads.python = fmp_child_set_vectorcall(function, after_fork);
    Py_RETURN_NONE;
}

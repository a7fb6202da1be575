/*
 * What a forked child in C knows of the standard library. Called by: child.c, child_standard.c, child_stdin.c,
 * child_threads.c.
 */
#ifndef FMP_PY_CHILD_H
#define FMP_PY_CHILD_H

#include "py/types.h"

/* What is looked up by name, each time anew, as it may have been replaced. */
#define FMP_CHILD_NAMES(X)  \
    X(_active)              \
    X(_actual_context)      \
    X(_active_limbo_lock)   \
    X(_after_fork)          \
    X(_args)                \
    X(_bootstrap)           \
    X(_children)            \
    X(_clear)               \
    X(_close_stdin)         \
    X(_cond)                \
    X(_current_process)     \
    X(_dangling)            \
    X(_exit_function)       \
    X(_exiting)             \
    X(_finalizer_registry)  \
    X(_is_owned)            \
    X(_kwargs)              \
    X(_limbo)               \
    X(_lock)                \
    X(_logger)              \
    X(_main_thread)         \
    X(_native_id)           \
    X(_ncallbacks)          \
    X(_parent_process)      \
    X(_popen)               \
    X(_process_counter)     \
    X(_run_after_forkers)   \
    X(_run_exitfuncs)       \
    X(_sentinel)            \
    X(_shutdown)            \
    X(_shutdown_locks)      \
    X(_shutdown_locks_lock) \
    X(_started)             \
    X(_target)              \
    X(_threading_atexits)   \
    X(_tstate_lock)         \
    X(_waiters)             \
    X(_watch)               \
    X(buffer)               \
    X(close)                \
    X(data)                 \
    X(finalizer)            \
    X(flush)                \
    X(gauss_next)           \
    X(info)                 \
    X(modules)              \
    X(locked)               \
    X(random)               \
    X(pid)                  \
    X(raw)                  \
    X(register)             \
    X(run)                  \
    X(sentinel)             \
    X(stderr)               \
    X(stdin)                \
    X(stdout)               \
    X(unregister)

#define FMP_CHILD_NAME(name) PyObject *s_##name;
extern struct fmp_child_names {
    FMP_CHILD_NAMES(FMP_CHILD_NAME)
} fmp_child_names;
#undef FMP_CHILD_NAME
#define FMP_NAME(name) fmp_child_names.s_##name

/* Given once (set_up_child), kept for ever. The dictionaries are those of the modules. */
extern struct fmp_std {
    PyObject *process, *util, *threading, *sys;
    PyObject *atexit;                     /* the module */
    PyObject *after_forkers;              /* the dictionary behind util._afterfork_registry */
    PyObject *count, *one;                /* itertools.count, and where _process_counter starts */
    PyObject *originals;                  /* tuples: who has it (a module or a class), its name, it, its code or None */
    PyObject *bootstrap, *run, *run_code; /* BaseProcess's; `run` is None if it had been replaced before */
    PyObject *after_forks; /* a tuple of the methods that do what forget_parents does, and set the start method */
    PyObject *meet_random; /* called with the module */
    PyObject *failed;      /* called with the process, an exception, and where it was raised */
} fmp_std;
/* What a module has under a name: a borrowed reference, or NULL. */
#define FMP_STD(module, name) PyDict_GetItemWithError(fmp_std.module, FMP_NAME(name))

FMP_INLINE bool
fmp_std_is_empty(PyObject *collection)
{
    return collection != NULL && PyObject_Size(collection) == 0;
}

/* The end of a call whose result is of no interest: 0, or -1 with its exception set. */
FMP_INLINE int
fmp_child_drop(PyObject *result)
{
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* child_standard.c. Does only one thread run Python? */
bool fmp_std_is_only_thread(void);
/* Does it trace or profile? */
bool fmp_std_is_traced(void);
/* Is each of these, tuples as in fmp_std.originals, still there? */
bool fmp_std_are_original(PyObject *entries);
/* Has nothing on a child's way been replaced, and does nobody trace or log? */
bool fmp_std_is_plain(void);
bool fmp_std_has_logger(void);
/* Would util._exit_function find nothing to do? And threading._shutdown? */
bool fmp_std_is_exit_trivial(void);
bool fmp_std_is_shutdown_trivial(void);
/* Calls a function of a module without arguments: 0, or -1 with an exception set. */
int fmp_std_call(PyObject *module_dict, PyObject *name);

/* child_stdin.c. util._close_stdin, but the new stream was made before the fork: that is the dearest thing that a child
 * does. 0, or -1 with an exception set. */
int fmp_child_close_stdin(void);
/* Before the fork of such a child, and before what Python does before it; between that and the fork; and after it in
 * the parent. */
void fmp_child_prepare_stdin(void);
void fmp_child_lend_stdin(void);
void fmp_child_take_stdin_back(void);

/* child.c. Are the children that this thread forks next, but not by fork_child, to be run by run_child? Such a child of
 * another kind calls fmp_child_take_stdin_back. */
void fmp_child_lead(bool leads);

/* child_threads.c. Before each fork of fastmp's, and after it in the parent. An exception may be set. */
void fmp_child_look_at_threads(void);
void fmp_child_forget_threads(void);

/* child_random.c. Once `random` is imported: asks fmp_std.meet_random about it. 0, or -1 with an exception set. */
int fmp_child_meet_random(void);

/* From now on a call of the Python function is a call of `call`, which does what the function would. What it was. */
FMP_INLINE vectorcallfunc
fmp_child_set_vectorcall(PyObject *function, vectorcallfunc call)
{
    vectorcallfunc was = ((PyFunctionObject *)function)->vectorcall;
#if PY_VERSION_HEX >= 0x030C0000
    PyFunction_SetVectorcall((PyFunctionObject *)function, call);
#else
    ((PyFunctionObject *)function)->vectorcall = call;
#endif
    return was;
}

/* child.c. As fmp_runtime_fork. A tuple `plain` has the arguments of run_child, and then a child comes back only where
 * something has been replaced since. */
pid_t fmp_child_fork(PyObject *plain);

/* Functions of the module, each with its docstring. */
#define FMP_CHILD_FUNCTIONS(X) \
    X(set_up_child)            \
    X(set_up_threads)          \
    X(set_up_random)           \
    X(start_child)             \
    X(is_plain_child)          \
    X(keep_stdin)              \
    X(has_stdin)               \
    X(run_child)
#define FMP_CHILD_DECLARE(name)                                  \
    PyObject *fmp_child_##name(PyObject *module, PyObject *arg); \
    extern const char fmp_child_##name##_doc[];
FMP_CHILD_FUNCTIONS(FMP_CHILD_DECLARE)
#undef FMP_CHILD_DECLARE

#endif

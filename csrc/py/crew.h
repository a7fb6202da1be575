/* The methods of the Python type Crew. Called by: crew.c and crew_*.c. */
#ifndef FMP_PY_CREW_H
#define FMP_PY_CREW_H

#include "pool/crew.h"

FMP_INLINE struct fmp_crew *
fmp_crew_of(PyObject *self)
{
    return (struct fmp_crew *)self;
}

/* crew.c. Sets RuntimeError; -1. */
int fmp_py_crew_raise_foreign(void);
/* A crew serves the process that made it: its workers run `work`, its children have a copy that does nothing. 0, or -1
 * with an exception set. */
FMP_INLINE int
fmp_py_crew_check_parent(struct fmp_crew *crew)
{
    if (FMP_UNLIKELY(crew->shm == NULL || crew->fork_generation != fmp_fork_generation)) {
        return fmp_py_crew_raise_foreign();
    }
    return 0;
}

/* Methods: of crew_calls.c and crew_workers.c. */
#define FMP_CREW_METHODS(X) \
    X(map)                  \
    X(stream)               \
    X(poke)                 \
    X(fail_all)             \
    X(job_list)             \
    X(set_worker)           \
    X(bury_worker)          \
    X(send_exit)            \
    X(close)                \
    X(wake)                 \
    X(report)               \
    X(has_begun)            \
    X(work)
/* METH_FASTCALL */
#define FMP_CREW_FAST_METHODS(X) \
    X(submit)                    \
    X(submit_future)
#define FMP_CREW_DECLARE(name)                                   \
    PyObject *fmp_py_crew_##name(PyObject *self, PyObject *arg); \
    extern const char fmp_py_crew_##name##_doc[];
#define FMP_CREW_DECLARE_FAST(name)                                                        \
    PyObject *fmp_py_crew_##name(PyObject *self, PyObject *const *args, Py_ssize_t nargs); \
    extern const char fmp_py_crew_##name##_doc[];
FMP_CREW_METHODS(FMP_CREW_DECLARE)
FMP_CREW_FAST_METHODS(FMP_CREW_DECLARE_FAST)
#undef FMP_CREW_DECLARE
#undef FMP_CREW_DECLARE_FAST
/* METH_FASTCALL | METH_KEYWORDS */
PyObject *fmp_py_crew_pump(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
extern const char fmp_py_crew_pump_doc[];

#endif

/*
 * Waiting and failing under Python: the only place that drops the GIL, meets EINTR, and turns a code into an exception.
 * Called by: conn/, pool/, py/.
 */
#ifndef FMP_PYRT_WAIT_H
#define FMP_PYRT_WAIT_H

#include "pyrt/runtime.h"
#include "sync/eventcount.h"

/* Results of the waiting functions. */
enum { FMP_PY_READY = 0, FMP_PY_TIMEOUT = 1, FMP_PY_ERROR = -1 };

/* One step of a wait, without the GIL: 0 done (or a positive code), -ETIMEDOUT, -EINTR "look at the signals and call
 * again", other -errno. */
typedef int (*fmp_wait_step_fn)(void *ctx, uint64_t deadline_ns);

/*
 * Calls `step` without the GIL until it ends otherwise than with -EINTR; runs Python's signal handlers in between. The
 * step's code (0, positive, -ETIMEDOUT, -errno), or -ECANCELED with the exception of a signal handler set
 * (KeyboardInterrupt).
 */
int fmp_py_wait(fmp_wait_step_fn step, void *ctx, uint64_t deadline_ns);
/* The same for an event count: FMP_PY_READY, FMP_PY_TIMEOUT, or FMP_PY_ERROR with an exception set. Looks once with the
 * GIL held first. */
int fmp_py_await(struct fmp_ec_shm *ec, fmp_ec_ready_fn ready, void *ctx, uint64_t deadline_ns, struct fmp_spin *spin);

/* timeout (None, or a number of seconds, negative counts as 0; NULL counts as None) to a deadline. -1 with
 * TypeError/ValueError/OverflowError set. */
int fmp_py_deadline(PyObject *timeout, uint64_t *deadline_ns);

/* Raises OSError for a -errno, with a hint (may be NULL) as its text where that helps. Always NULL. */
PyObject *fmp_py_raise(int code, const char *hint);

#endif

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

/*
 * timeout (None, or a number of seconds, negative counts as 0; NULL counts as None) to a deadline. -1 with TypeError or
 * ValueError set.
 *
 * A timeout that is too long to be counted becomes one of the deadlines below. It is no error until it comes to a wait,
 * as in the standard library: the waiting functions above look once, and raise instead of waiting. The limit is what
 * the standard library's object would wait for: three centuries, or all that a semaphore can count.
 */
int fmp_py_deadline(PyObject *timeout, uint64_t *deadline_ns);
int fmp_py_semaphore_deadline(PyObject *timeout, uint64_t *deadline_ns);
#define FMP_PY_OVERFLOW (FMP_NEVER - 1) /* raises OverflowError */
#define FMP_PY_INVALID (FMP_NEVER - 2)  /* raises OSError(EINVAL), as sem_timedwait */

static inline bool
fmp_py_is_too_long(uint64_t deadline_ns)
{
    return deadline_ns == FMP_PY_OVERFLOW || deadline_ns == FMP_PY_INVALID;
}
/* As fmp_py_deadline, for what the standard library polls for: too long is an OverflowError at once. */
int fmp_py_poll_deadline(PyObject *timeout, uint64_t *deadline_ns);
/* Raises what such a deadline raises. */
void fmp_py_raise_too_long(uint64_t deadline_ns);

/* Raises OSError for a -errno, with a hint (may be NULL) as its text where that helps. Always NULL. */
PyObject *fmp_py_raise(int code, const char *hint);
/* The current exception as an object, normalised, with its traceback; clears it. A new reference, never NULL. */
PyObject *fmp_take_exception(void);
/* Is the exception that is set an OSError(ENOSPC)? Then it is cleared. */
bool fmp_py_clear_no_space(void);

#endif

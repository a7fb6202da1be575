/* Waiting and failing under Python; see wait.h. */
#include "pyrt/wait.h"

#include <math.h>
#include <string.h>

#include "sys/clock.h"

/* Longest timeouts in seconds: nanoseconds in 64 bits (threading.TIMEOUT_MAX), and a semaphore's time_t. */
#define LONGEST 9223372036.0
#define LONGEST_OF_SEMAPHORE 9.2e18

void
fmp_py_raise_too_long(uint64_t deadline_ns)
{
    if (deadline_ns == FMP_PY_INVALID) {
        fmp_py_raise(-EINVAL, "timeout value is too large");
    } else {
        PyErr_SetString(PyExc_OverflowError, "timeout value is too large");
    }
}

static int
look_once(fmp_wait_step_fn step, void *ctx, uint64_t too_long)
{
    int code = step(ctx, 0);
    if (code != -ETIMEDOUT) {
        return code;
    }
    fmp_py_raise_too_long(too_long);
    return -ECANCELED;
}

int
fmp_py_wait(fmp_wait_step_fn step, void *ctx, uint64_t deadline_ns)
{
    if (FMP_UNLIKELY(fmp_py_is_too_long(deadline_ns))) {
        return look_once(step, ctx, deadline_ns);
    }
    for (;;) {
        int code;
        Py_BEGIN_ALLOW_THREADS
            code = step(ctx, deadline_ns);
        Py_END_ALLOW_THREADS
        if (code != -EINTR) {
            return code;
        }
        if (PyErr_CheckSignals() < 0) {
            return -ECANCELED;
        }
    }
}

struct await {
    struct fmp_ec_shm *ec;
    fmp_ec_ready_fn ready;
    void *ctx;
    struct fmp_spin *spin;
};

static int
await_step(void *ctx, uint64_t deadline_ns)
{
    struct await *a = ctx;
    return fmp_ec_await(a->ec, a->ready, a->ctx, deadline_ns, a->spin);
}

int
fmp_py_await(struct fmp_ec_shm *ec, fmp_ec_ready_fn ready, void *ctx, uint64_t deadline_ns, struct fmp_spin *spin)
{
    if (ready(ctx)) {
        return FMP_PY_READY;
    }
    if (deadline_ns == 0) {
        return FMP_PY_TIMEOUT;
    }
    if (FMP_UNLIKELY(fmp_py_is_too_long(deadline_ns))) {
        fmp_py_raise_too_long(deadline_ns);
        return FMP_PY_ERROR;
    }
    spin->idle = 0; /* of a wait that an exception has ended */
    spin->settled = false;
    struct await a = {.ec = ec, .ready = ready, .ctx = ctx, .spin = spin};
    switch (fmp_py_wait(await_step, &a, deadline_ns)) {
    case 0:
        return FMP_PY_READY;
    case -ETIMEDOUT:
        return FMP_PY_TIMEOUT;
    default:
        return FMP_PY_ERROR;
    }
}

static int
to_deadline(PyObject *timeout, double longest, uint64_t too_long, uint64_t *deadline_ns)
{
    if (timeout == NULL || timeout == Py_None) {
        *deadline_ns = FMP_NEVER;
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "timeout must not be NaN");
        return -1;
    }
    if (seconds <= 0) {
        *deadline_ns = 0;
        return 0;
    }
    if (seconds > longest) {
        *deadline_ns = too_long;
    } else if (seconds > LONGEST) {
        *deadline_ns = FMP_NEVER;
    } else {
        *deadline_ns = sys_now_ns() + (uint64_t)(seconds * (double)FMP_NS_PER_S);
    }
    return 0;
}

int
fmp_py_deadline(PyObject *timeout, uint64_t *deadline_ns)
{
    return to_deadline(timeout, LONGEST, FMP_PY_OVERFLOW, deadline_ns);
}

int
fmp_py_poll_deadline(PyObject *timeout, uint64_t *deadline_ns)
{
    if (fmp_py_deadline(timeout, deadline_ns) < 0) {
        return -1;
    }
    if (fmp_py_is_too_long(*deadline_ns)) {
        fmp_py_raise_too_long(*deadline_ns);
        return -1;
    }
    return 0;
}

int
fmp_py_semaphore_deadline(PyObject *timeout, uint64_t *deadline_ns)
{
    return to_deadline(timeout, LONGEST_OF_SEMAPHORE, FMP_PY_INVALID, deadline_ns);
}

PyObject *
fmp_py_raise(int code, const char *hint)
{
    int err = code < 0 ? -code : EPROTO;
    PyObject *args = Py_BuildValue("(is)", err, hint != NULL ? hint : strerror(err));
    if (args != NULL) {
        PyErr_SetObject(PyExc_OSError, args);
        Py_DECREF(args);
    }
    return NULL;
}

PyObject *
fmp_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *exc = PyErr_GetRaisedException();
#else
    PyObject *type, *exc, *traceback;
    PyErr_Fetch(&type, &exc, &traceback);
    PyErr_NormalizeException(&type, &exc, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(exc, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
#endif
    return exc != NULL ? exc : Py_NewRef(Py_None);
}

bool
fmp_py_clear_no_space(void)
{
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return false;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *code = value != NULL ? PyObject_GetAttrString(value, "errno") : NULL;
    bool is_it = code != NULL && PyLong_Check(code) && PyLong_AsLong(code) == ENOSPC;
    Py_XDECREF(code);
    PyErr_Clear();
    if (!is_it) {
        PyErr_Restore(type, value, traceback);
        return false;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return true;
}

/* What Lock and RLock have in common: the way in when the lock is not free, heirs of the dead, looks; see lock.h. */
#include "py/lock.h"

PyObject *
fmp_py_lock_new(PyTypeObject *type, PyObject *kwargs, bool recursive)
{
    PyObject *op = fmp_py_semlock_new(type, kwargs, sizeof(struct fmp_lock_shm));
    if (op != NULL) {
        struct fmp_py_lock *self = fmp_py_as_lock(op);
        self->shm = fmp_handle_at(&self->base.handle);
        self->recursive = recursive;
    }
    return op;
}

/* ---- waiting ---- */

static int
step(void *ctx, uint64_t deadline_ns)
{
    return fmp_lock_acquire(ctx, deadline_ns);
}

/* We have the lock from `dead`: what else it held is given back, and the user is told. -1 if the warning is an error.
 */
static int
bury_and_warn(struct fmp_py_lock *self, uint32_t dead)
{
    struct fmp_space *space = self->base.handle.space;
    long pid = (long)fmp_participant_pid(&space->region, dead);
    fmp_space_bury(space, dead);
    static PyObject *kept;
    PyObject *category = fmp_py_lookup(&kept, "fastmp._errors", "OwnerDied");
    if (category == NULL) {
        return -1;
    }
    return PyErr_WarnFormat(category, 1,
                            "process %ld was killed while it held this %s; what the lock guards may be half changed",
                            pid, self->recursive ? "RLock" : "Lock");
}

static int
finish(struct fmp_py_lock *self, struct fmp_lock_waiter *w, int code)
{
    switch (code) {
    case 0:
        fmp_py_lock_taken(self);
        return FMP_PY_READY;
    case FMP_OWNER_DIED:
        fmp_py_lock_taken(self);
        if (bury_and_warn(self, w->dead) == 0) {
            return FMP_PY_READY;
        }
        self->thread = 0;
        (void)fmp_lock_release(self->shm);
        return FMP_PY_ERROR;
    case -ETIMEDOUT:
        return FMP_PY_TIMEOUT;
    case -ECANCELED:
        return FMP_PY_ERROR;
    default:
        fmp_py_raise(code, NULL);
        return FMP_PY_ERROR;
    }
}

int
fmp_py_lock_wait(struct fmp_py_lock *self, uint64_t deadline_ns)
{
    if (fmp_py_me(&self->base.handle) == 0) {
        return FMP_PY_ERROR;
    }
    struct fmp_lock_waiter w = {
        .shm = self->shm, .region = &self->base.handle.space->region, .spin = self->spin, .asked_ns = self->asked_ns};
    int code = 0;
    if (deadline_ns == 0) {
        code = fmp_lock_acquire(&w, 0);
    } else if (!fmp_lock_spin(&w)) {
        code = fmp_py_wait(step, &w, deadline_ns);
    }
    self->spin = w.spin;
    self->asked_ns = w.asked_ns;
    return finish(self, &w, code);
}

/* ---- the methods that both types have ---- */

/* Takes a free lock, or an RLock of this thread once more. 1 taken, 0 not, -1 with an exception set. */
FMP_INLINE int
try(struct fmp_py_lock *self)
{
    uint32_t me = fmp_py_me(&self->base.handle);
    if (FMP_UNLIKELY(me == 0)) {
        return -1;
    }
    if (FMP_LIKELY(fmp_lock_try(self->shm, me))) {
        fmp_py_lock_taken(self);
        return 1;
    }
    if (self->recursive && fmp_py_lock_is_mine(self)) {
        self->count++;
        return 1;
    }
    return 0;
}

static PyObject *
acquire_until(struct fmp_py_lock *self, uint64_t deadline_ns)
{
    int taken = try(self);
    if (FMP_UNLIKELY(taken == 0)) {
        int rc = fmp_py_lock_wait(self, deadline_ns);
        taken = rc == FMP_PY_READY ? 1 : rc == FMP_PY_TIMEOUT ? 0 : -1;
    }
    return FMP_LIKELY(taken >= 0) ? Py_NewRef(taken ? Py_True : Py_False) : NULL;
}

PyObject *
fmp_py_lock_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t deadline_ns = FMP_NEVER;
    if (FMP_UNLIKELY(nargs != 0 || kwnames != NULL) && fmp_py_acquire_args(args, nargs, kwnames, &deadline_ns) < 0) {
        return NULL;
    }
    return acquire_until(fmp_py_as_lock(self), deadline_ns);
}

PyObject *
fmp_py_lock_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return acquire_until(fmp_py_as_lock(self), FMP_NEVER);
}

/* ---- the condition's half ---- */

size_t
fmp_py_lock_release_all(struct fmp_py_lock *self)
{
    size_t count = self->count;
    self->thread = 0;
    self->count = 0;
    (void)fmp_lock_release(self->shm); /* it was ours */
    return count;
}

int
fmp_py_lock_retake(struct fmp_py_lock *self, size_t count)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int rc = fmp_py_lock_wait(self, FMP_NEVER);
    if (rc == FMP_PY_ERROR && type == NULL) {
        PyErr_Fetch(&type, &value, &traceback);
        rc = fmp_py_lock_wait(self, FMP_NEVER);
    }
    if (rc == FMP_PY_ERROR) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return -1;
    }
    PyErr_Restore(type, value, traceback);
    self->count = count;
    return 0;
}

/* ---- looks ---- */

PyObject *
fmp_py_lock_test_mine(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(fmp_py_lock_is_mine(fmp_py_as_lock(self)));
}

PyObject *
fmp_py_lock_get_count(PyObject *op, PyObject *unused)
{
    (void)unused;
    struct fmp_py_lock *self = fmp_py_as_lock(op);
    return PyLong_FromSize_t(fmp_py_lock_is_ours(self) ? self->count : 0);
}

PyObject *
fmp_py_lock_get_value(PyObject *op, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(fmp_load_relaxed(&fmp_py_as_lock(op)->shm->word) == 0); /* relaxed: a look */
}

PyObject *
fmp_py_lock_is_zero(PyObject *op, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(fmp_load_relaxed(&fmp_py_as_lock(op)->shm->word) != 0); /* relaxed: a look */
}

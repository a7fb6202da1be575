/*
 * Lock and RLock as Python objects: what the two types and the condition share. Called by: lock.c, rlock.c,
 * condition.c.
 *
 * The word in shared memory names the owning process. Which of its threads holds the lock, and how often, is private to
 * the process, and valid only while the word names it: so a forked child, which copies both, owns nothing.
 */
#ifndef FMP_PY_LOCK_H
#define FMP_PY_LOCK_H

#include "py/semlock.h"
#include "sync/lock.h"

struct fmp_py_lock {
    struct fmp_py_semlock base;
    struct fmp_lock_shm *shm;
    uintptr_t thread;  /* of this process: who took it last; 0 after a release */
    size_t count;      /* RLock: how often that thread holds it */
    uint64_t asked_ns; /* see struct fmp_lock_waiter */
    struct fmp_spin spin;
    bool recursive;
};
extern PyTypeObject *fmp_py_lock_type, *fmp_py_rlock_type; /* borrowed from the module */

FMP_INLINE struct fmp_py_lock *
fmp_py_as_lock(PyObject *op)
{
    return (struct fmp_py_lock *)op;
}

/* Does this process hold the lock? */
FMP_INLINE bool
fmp_py_lock_is_ours(struct fmp_py_lock *self)
{
    return fmp_lock_owner(self->shm) == fmp_space_me(self->base.handle.space) &&
           fmp_load_relaxed(&self->shm->word) != 0;
}

/* Does this thread hold the lock? */
FMP_INLINE bool
fmp_py_lock_is_mine(struct fmp_py_lock *self)
{
    return self->thread == fmp_py_thread() && fmp_py_lock_is_ours(self);
}

/* This thread has the lock now. */
FMP_INLINE void
fmp_py_lock_taken(struct fmp_py_lock *self)
{
    self->thread = fmp_py_thread();
    self->count = 1;
}

/* Takes the lock, waiting without the GIL: FMP_PY_READY, FMP_PY_TIMEOUT, or FMP_PY_ERROR with an exception set and the
 * lock not taken. Warns where the owner was killed. */
int fmp_py_lock_wait(struct fmp_py_lock *self, uint64_t deadline_ns);
/* The condition's half: lets go however often it is held, and takes it again as often: 0, with the exception still set
 * that was set before or came first. A second one while it waits ends it: -1, and the lock is not taken. */
size_t fmp_py_lock_release_all(struct fmp_py_lock *self);
int fmp_py_lock_retake(struct fmp_py_lock *self, size_t count);

/* Each type's release(), and that of either. */
PyObject *fmp_py_lock_let_go(PyObject *op);
PyObject *fmp_py_rlock_let_go(PyObject *op);
FMP_INLINE PyObject *
fmp_py_lock_exit(PyObject *op)
{
    return fmp_py_as_lock(op)->recursive ? fmp_py_rlock_let_go(op) : fmp_py_lock_let_go(op);
}

/* What the two types have in common. */
PyObject *fmp_py_lock_new(PyTypeObject *type, PyObject *kwargs, bool recursive);
PyObject *fmp_py_lock_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *fmp_py_lock_enter(PyObject *self, PyObject *unused);
PyObject *fmp_py_lock_test_mine(PyObject *self, PyObject *unused);
PyObject *fmp_py_lock_get_count(PyObject *self, PyObject *unused);
PyObject *fmp_py_lock_get_value(PyObject *self, PyObject *unused);
PyObject *fmp_py_lock_is_zero(PyObject *self, PyObject *unused);
#define FMP_PY_LOCK_LOOKS                                                                                   \
    {"_is_mine", fmp_py_lock_test_mine, METH_NOARGS, "Whether this thread holds it."},                      \
        {"_count", fmp_py_lock_get_count, METH_NOARGS, "How often this process holds it."},                 \
        {"_get_value", fmp_py_lock_get_value, METH_NOARGS, "1 if it is free, 0 if somebody holds it."},     \
        {"locked", fmp_py_lock_is_zero, METH_NOARGS, "locked($self, /)\n--\n\nWhether somebody holds it."}, \
    {                                                                                                       \
        "_is_zero", fmp_py_lock_is_zero, METH_NOARGS, "Whether somebody holds it."                          \
    }

#endif

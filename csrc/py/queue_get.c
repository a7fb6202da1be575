/*
 * get of a queue: ring -> message out of a cell or block -> decode. Called by: queue.c, as methods; queue_batch.c.
 */
#include "py/args.h"
#include "py/queue.h"
#include "ring/pace.h"
#include "sys/clock.h"

#define DAMAGED "a damaged message was dropped"

PyObject *
fmp_queue_get_by(struct fmp_queue *q, uint64_t deadline_ns)
{
    struct fmp_message m;
    bool may_pause = deadline_ns != 0;
    for (;;) {
        int rc = fmp_message_pop(&q->channel, &m);
        if (FMP_LIKELY(rc == 0)) {
            fmp_queue_bell_heard(q);
            return fmp_message_decode(q->channel.space, &m);
        }
        if (rc != -EAGAIN) {
            return fmp_py_raise(rc, DAMAGED);
        }
        if (fmp_ring_let_fill(fmp_queue_ring(q), &may_pause)) {
            continue;
        }
        /* What was put before is there, even if an earlier record is still being written, or its writer has died: but
         * another consumer may come to know that first, and then the queue is empty. */
        bool empty = fmp_ring_count(fmp_queue_ring(q)) == 0;
        if (FMP_UNLIKELY(!empty) && fmp_ring_drop_unclaimed(fmp_queue_ring(q))) {
            return fmp_py_raise(-EBADMSG, DAMAGED);
        }
        int waited = fmp_py_await(&fmp_queue_ring(q)->shm->items, fmp_ring_may_pop, fmp_queue_ring(q),
                                  empty ? deadline_ns : sys_now_ns() + FMP_RECHECK_NS, &q->get_spin);
        if (waited == FMP_PY_ERROR) {
            return NULL;
        }
        if (waited == FMP_PY_TIMEOUT && empty) {
            fmp_queue_bell_vain(q);
            PyErr_SetNone(fmp_queue_empty_error);
            return NULL;
        }
    }
}

int
fmp_queue_get_deadline(PyObject *block, PyObject *timeout, uint64_t *deadline_ns)
{
    *deadline_ns = FMP_NEVER;
    if ((timeout != NULL && fmp_py_deadline(timeout, deadline_ns) < 0) ||
        fmp_queue_apply_block(block, deadline_ns) < 0) {
        return -1;
    }
    if (FMP_UNLIKELY(fmp_py_is_too_long(*deadline_ns))) {
        fmp_py_raise_too_long(*deadline_ns);
        return -1;
    }
    return 0;
}

const char fmp_queue_get_doc[] =
    "get($self, /, block=True, timeout=None)\n--\n\n"
    "Takes the next object out of the queue, waiting up to timeout seconds; raises queue.Empty.";
PyObject *
fmp_queue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *a[2];
    uint64_t deadline_ns;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_queue_check_open(q) < 0 || fmp_py_args("get", names, 2, 0, args, nargs, kwnames, a) < 0 ||
        fmp_queue_get_deadline(a[0], a[1], &deadline_ns) < 0) {
        return NULL;
    }
    return fmp_queue_get_by(q, deadline_ns);
}

PyObject *
fmp_queue_get_nowait(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    return fmp_queue_check_open(q) < 0 ? NULL : fmp_queue_get_by(q, 0);
}

const char fmp_queue_poll_doc[] =
    "_poll($self, /, timeout=0.0)\n--\n\nWaits up to timeout seconds for an object; True if there is one.";
PyObject *
fmp_queue_poll(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    PyObject *a[1];
    uint64_t deadline_ns = 0;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_py_args("_poll", names, 1, 0, args, nargs, kwnames, a) < 0 ||
        (a[0] != NULL && fmp_py_poll_deadline(a[0], &deadline_ns) < 0)) {
        return NULL;
    }
    int waited;
    do {
        if (fmp_ring_count(fmp_queue_ring(q)) != 0 && fmp_ring_drop_unclaimed(fmp_queue_ring(q))) {
            return fmp_py_raise(-EBADMSG, DAMAGED);
        }
        waited = fmp_py_await(&fmp_queue_ring(q)->shm->items, fmp_ring_may_pop, fmp_queue_ring(q), deadline_ns,
                              &q->get_spin);
    } while (waited == FMP_PY_READY && !fmp_ring_has_record(fmp_queue_ring(q))); /* only a dead producer's cell */
    return waited < 0 ? NULL : PyBool_FromLong(waited == FMP_PY_READY);
}

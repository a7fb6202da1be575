/*
 * put of a queue. Called by: queue.c, as methods; queue_batch.c.
 *
 * encode -> message in a cell or block -> ring -> wake a consumer. A full ring makes a bounded queue wait and an
 * unbounded one overflow into this process (queue_overflow.c).
 */
#include "conn/lead.h"
#include "py/args.h"
#include "py/queue.h"
#include "ring/pace.h"
#include "sys/clock.h"
#include "wire/encode.h"

/* How long an unbounded put waits for a consumer to make progress before it overflows: a scheduler's slice, in which a
 * consumer that was put off its core comes back. It waits so once; what follows goes behind the overflow at once. */
#define PATIENCE_NS (5 * FMP_NS_PER_MS)

/* Waits for room for what the writer holds: FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PY_ERROR. */
static int
await_space(struct fmp_queue *q, struct fmp_wire_writer *w, uint64_t deadline_ns)
{
    if (deadline_ns != 0 && fmp_wire_settle(w) < 0) {
        return FMP_PY_ERROR;
    }
    return fmp_py_await(&fmp_queue_ring(q)->shm->space, fmp_ring_may_push, fmp_queue_ring(q), deadline_ns,
                        &q->put_spin);
}

/* Sends what the writer holds, waiting until the deadline: FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PY_ERROR. */
static int
send_by(struct fmp_queue *q, struct fmp_wire_writer *w, uint64_t deadline_ns)
{
    bool may_pause = deadline_ns != 0;
    for (;;) {
        int rc = fmp_message_send(&q->channel, FMP_MESSAGE_OBJECT, NULL, w);
        if (rc != -EAGAIN) {
            return rc == 0 ? FMP_PY_READY : FMP_PY_ERROR;
        }
        if (fmp_ring_let_drain(fmp_queue_ring(q), &may_pause)) {
            continue;
        }
        bool counted_full = fmp_ring_count(fmp_queue_ring(q)) >= fmp_queue_ring(q)->limit;
        /* Not full but held up by a consumer that empties its cell, or died doing so: that is no reason to say Full.
         * But another producer may take that cell, and then it is full. */
        int waited = await_space(q, w, counted_full ? deadline_ns : sys_now_ns() + FMP_RECHECK_NS);
        if (waited == FMP_PY_ERROR || (waited == FMP_PY_TIMEOUT && counted_full)) {
            return waited;
        }
    }
}

/* Calls self._overflowed() (fastmp/queues.py), which starts the feeder. */
static int
start_feeder(struct fmp_queue *q)
{
    if (q->feeding) {
        return 0;
    }
    q->feeding = true;
    PyObject *result = PyObject_CallMethod((PyObject *)q, "_overflowed", NULL);
    if (result == NULL) {
        q->feeding = false;
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

/* Keeps what the writer holds for later; not without a feeder: then it was not put. */
static int
overflow(struct fmp_queue *q, struct fmp_wire_writer *w)
{
    struct fmp_message m;
    if (fmp_message_prepare(q->channel.space, &m, FMP_MESSAGE_OBJECT, w) < 0 || fmp_overflow_add(q, &m) < 0) {
        return -1;
    }
    if (start_feeder(q) < 0) {
        fmp_overflow_drop_last(q);
        return -1;
    }
    return 0;
}

/* An unbounded put waits only as long as consumers make progress, then overflows. */
static int
send_unbounded(struct fmp_queue *q, struct fmp_wire_writer *w)
{
    if (FMP_UNLIKELY(fmp_overflow_count(q) != 0) && fmp_overflow_send(q) != 0) {
        return overflow(q, w); /* behind what waits already */
    }
    uint64_t head = 0, seen = UINT64_MAX;
    bool may_pause = true;
    for (;;) {
        int rc = fmp_message_send(&q->channel, FMP_MESSAGE_OBJECT, NULL, w);
        if (rc != -EAGAIN) {
            return rc;
        }
        if (fmp_ring_let_drain(fmp_queue_ring(q), &may_pause)) {
            continue;
        }
        head = fmp_load_relaxed(&fmp_queue_ring(q)->shm->head); /* relaxed: a sign of life, no more */
        if (head == seen) {
            return overflow(q, w);
        }
        seen = head;
        if (await_space(q, w, sys_now_ns() + PATIENCE_NS) < 0) {
            return -1;
        }
        if (fmp_overflow_count(q) != 0) {
            return overflow(q, w); /* another thread overflowed while we waited: stay behind it */
        }
    }
}

int
fmp_queue_send(struct fmp_queue *q, struct fmp_wire_writer *w, uint64_t deadline_ns)
{
    if (deadline_ns != 0) {
        fmp_lead_give_way(&q->channel, fmp_writer_size(w));
    }
    return q->bounded ? send_by(q, w, deadline_ns) : send_unbounded(q, w);
}

int
fmp_queue_report_unpicklable(struct fmp_queue *q, PyObject *obj)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    PyObject *result = PyObject_CallMethod((PyObject *)q, "_put_failed", "OO", value, obj);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* FMP_PY_READY also when the object could not be pickled and the hook has taken the error. */
static int
put(struct fmp_queue *q, PyObject *obj, uint64_t deadline_ns)
{
    struct fmp_wire_writer *w = fmp_wire_writer_new();
    if (w == NULL) {
        return FMP_PY_ERROR;
    }
    int rc;
    q->used = true;
    if (FMP_UNLIKELY(fmp_wire_encode(w, obj) < 0)) {
        rc = fmp_queue_report_unpicklable(q, obj);
    } else {
        if (q->joinable) {
            fmp_fetch_add_relaxed(&q->shm->unfinished, 1); /* relaxed: ordered by the message's publication (R1) */
        }
        rc = fmp_queue_send(q, w, deadline_ns);
        if (FMP_LIKELY(rc == FMP_PY_READY)) {
            fmp_queue_bell_ring(q);
        } else if (q->joinable) {
            fmp_fetch_add_relaxed(&q->shm->unfinished, (uint64_t)-1);
        }
    }
    fmp_wire_writer_free(w);
    return rc;
}

static PyObject *
put_by(struct fmp_queue *q, PyObject *obj, uint64_t deadline_ns)
{
    switch (put(q, obj, deadline_ns)) {
    case FMP_PY_READY:
        Py_RETURN_NONE;
    case FMP_PY_TIMEOUT:
        PyErr_SetNone(fmp_queue_full_error);
        return NULL;
    default:
        return NULL;
    }
}

const char fmp_queue_put_doc[] =
    "put($self, /, obj, block=True, timeout=None)\n--\n\n"
    "Puts obj into the queue. A full bounded queue waits up to timeout seconds and raises queue.Full.";
PyObject *
fmp_queue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", "block", "timeout"};
    PyObject *a[3];
    uint64_t deadline_ns = FMP_NEVER;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_queue_check_open(q) < 0 || fmp_py_args("put", names, 3, 1, args, nargs, kwnames, a) < 0 ||
        (a[2] != NULL && fmp_py_semaphore_deadline(a[2], &deadline_ns) < 0) ||
        fmp_queue_apply_block(a[1], &deadline_ns) < 0) {
        return NULL;
    }
    return put_by(q, a[0], deadline_ns);
}

const char fmp_queue_put_nowait_doc[] = "_put_nowait($self, /, obj)\n--\n\nput(obj, block=False)";
PyObject *
fmp_queue_put_nowait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj"};
    PyObject *a[1];
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_queue_check_open(q) < 0 || fmp_py_args("put_nowait", names, 1, 1, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    return put_by(q, a[0], 0);
}

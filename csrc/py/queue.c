/*
 * fastmp._core.Queue: the object behind Queue, SimpleQueue and JoinableQueue. Called by: fastmp/queues.py.
 *
 * put: encode -> message in a cell or block -> ring -> wake a consumer; get: the same way back. A full ring makes a
 * bounded queue wait and an unbounded one overflow into this process (queue_overflow.c).
 */
#include "py/queue.h"

#include <structmember.h>

#include "conn/lead.h"
#include "py/args.h"
#include "py/semlock.h"
#include "py/types.h"
#include "pyrt/travel.h"
#include "sys/clock.h"
#include "sys/io.h"

/* Cells of a queue without a bound: enough that producer and consumer seldom meet, 64 KiB. */
#define UNBOUNDED_LIMIT (512 - FMP_RING_SPARE_CELLS)
/* A larger bound counts as none: the ring would take more than 128 MiB. */
#define BOUND_MAX (1 << 20)
/* How long an unbounded put waits for a consumer to make progress before it overflows: a scheduler's slice, in which a
 * consumer that was put off its core comes back. It waits so once; what follows goes behind the overflow at once. */
#define PATIENCE_NS (5 * FMP_NS_PER_MS)

PyObject *fmp_queue_full_error, *fmp_queue_empty_error;

static struct fmp_ring *
ring_of(struct fmp_queue *q)
{
    return &q->channel.ring;
}

int
fmp_queue_check_open(struct fmp_queue *q)
{
    if (FMP_UNLIKELY(q->closed)) {
        Py_XDECREF(PyObject_CallMethod((PyObject *)q, "_raise_closed", NULL)); /* each kind has its own error */
        return -1;
    }
    if (FMP_UNLIKELY(q->handle.off == 0)) {
        PyErr_SetString(PyExc_ValueError, "Queue is not initialised");
        return -1;
    }
    return 0;
}

/* ---- put ---- */

/* Waits for room: FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PY_ERROR. */
static int
await_space(struct fmp_queue *q, uint64_t deadline_ns)
{
    return fmp_py_await(&ring_of(q)->shm->space, fmp_ring_may_push, ring_of(q), deadline_ns, &q->put_spin);
}

/* Sends what the writer holds, waiting until the deadline: FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PY_ERROR. */
static int
send_by(struct fmp_queue *q, struct fmp_wire_writer *w, uint64_t deadline_ns)
{
    for (;;) {
        int rc = fmp_message_send(&q->channel, 0, NULL, w);
        if (rc != -EAGAIN) {
            return rc == 0 ? FMP_PY_READY : FMP_PY_ERROR;
        }
        bool counted_full = fmp_ring_count(ring_of(q)) >= ring_of(q)->limit;
        /* Not full but held up by a consumer that empties its cell, or died doing so: that is no reason to say Full. */
        int waited = await_space(q, counted_full ? deadline_ns : FMP_NEVER);
        if (waited != FMP_PY_READY) {
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
    if (fmp_message_prepare(q->channel.space, &m, 0, w) < 0 || fmp_overflow_add(q, &m) < 0) {
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
    for (;;) {
        int rc = fmp_message_send(&q->channel, 0, NULL, w);
        if (rc != -EAGAIN) {
            return rc;
        }
        head = fmp_load_relaxed(&ring_of(q)->shm->head); /* relaxed: a sign of life, no more */
        if (head == seen) {
            return overflow(q, w);
        }
        seen = head;
        if (await_space(q, sys_now_ns() + PATIENCE_NS) < 0) {
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
        fmp_lead_give_way(&q->channel, fmp_wire_size(w));
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

int
fmp_queue_apply_block(PyObject *block, uint64_t *deadline_ns)
{
    int blocks = fmp_py_block_arg(block);
    if (blocks == 0) {
        *deadline_ns = 0;
    }
    return blocks < 0 ? -1 : 0;
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

PyDoc_STRVAR(put_doc,
             "put($self, /, obj, block=True, timeout=None)\n--\n\n"
             "Puts obj into the queue. A full bounded queue waits up to timeout seconds and raises queue.Full.");
static PyObject *
queue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

PyDoc_STRVAR(put_nowait_doc, "_put_nowait($self, /, obj)\n--\n\nput(obj, block=False)");
static PyObject *
queue_put_nowait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj"};
    PyObject *a[1];
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_queue_check_open(q) < 0 || fmp_py_args("put_nowait", names, 1, 1, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    return put_by(q, a[0], 0);
}

/* ---- get ---- */

PyObject *
fmp_queue_get_by(struct fmp_queue *q, uint64_t deadline_ns)
{
    struct fmp_message m;
    for (;;) {
        int rc = fmp_message_pop(&q->channel, &m);
        if (FMP_LIKELY(rc == 0)) {
            fmp_queue_bell_heard(q);
            return fmp_message_decode(q->channel.space, &m);
        }
        if (rc != -EAGAIN) {
            return fmp_py_raise(rc, "a damaged message was dropped");
        }
        /* What was put before is there, even if an earlier record is still being written, or its writer has died. */
        bool empty = fmp_ring_count(ring_of(q)) == 0;
        int waited = fmp_py_await(&ring_of(q)->shm->items, fmp_ring_may_pop, ring_of(q),
                                  empty ? deadline_ns : FMP_NEVER, &q->get_spin);
        if (waited == FMP_PY_TIMEOUT) {
            fmp_queue_bell_vain(q);
            PyErr_SetNone(fmp_queue_empty_error);
        }
        if (waited != FMP_PY_READY) {
            return NULL;
        }
    }
}

PyDoc_STRVAR(get_doc, "get($self, /, block=True, timeout=None)\n--\n\n"
                      "Takes the next object out of the queue, waiting up to timeout seconds; raises queue.Empty.");
static PyObject *
queue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *a[2];
    uint64_t deadline_ns = FMP_NEVER;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_queue_check_open(q) < 0 || fmp_py_args("get", names, 2, 0, args, nargs, kwnames, a) < 0 ||
        (a[1] != NULL && fmp_py_deadline(a[1], &deadline_ns) < 0) || fmp_queue_apply_block(a[0], &deadline_ns) < 0) {
        return NULL;
    }
    if (FMP_UNLIKELY(fmp_py_is_too_long(deadline_ns))) {
        fmp_py_raise_too_long(deadline_ns);
        return NULL;
    }
    return fmp_queue_get_by(q, deadline_ns);
}

PyDoc_STRVAR(get_nowait_doc, "_get_nowait($self, /)\n--\n\nget(block=False)");
static PyObject *
queue_get_nowait(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    return fmp_queue_check_open(q) < 0 ? NULL : fmp_queue_get_by(q, 0);
}

PyDoc_STRVAR(poll_doc,
             "_poll($self, /, timeout=0.0)\n--\n\nWaits up to timeout seconds for an object; True if there is one.");
static PyObject *
queue_poll(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
        waited = fmp_py_await(&ring_of(q)->shm->items, fmp_ring_may_pop, ring_of(q), deadline_ns, &q->get_spin);
    } while (waited == FMP_PY_READY && !fmp_ring_has_record(ring_of(q))); /* only a dead producer's cell */
    return waited < 0 ? NULL : PyBool_FromLong(waited == FMP_PY_READY);
}

/* ---- counts ---- */

PyDoc_STRVAR(
    qsize_doc,
    "_qsize($self, /)\n--\n\nHow many objects are in the queue, counting those that this process still has to send.");
static PyObject *
queue_qsize(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    return PyLong_FromUnsignedLongLong(fmp_ring_count(ring_of(q)) + fmp_overflow_count(q));
}

PyDoc_STRVAR(empty_doc,
             "empty($self, /)\n--\n\nTrue if the queue holds nothing that was put before. OSError if this process "
             "has put, and closed it.");
static PyObject *
queue_empty(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (q->closed && q->used) {
        PyErr_SetString(PyExc_OSError, "handle is closed");
        return NULL;
    }
    return PyBool_FromLong(fmp_ring_count(ring_of(q)) == 0 && fmp_overflow_count(q) == 0);
}

PyDoc_STRVAR(full_doc, "_full($self, /)\n--\n\nTrue if a bounded queue holds maxsize objects.");
static PyObject *
queue_full(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    return PyBool_FromLong(q->bounded && fmp_ring_count(ring_of(q)) >= ring_of(q)->limit);
}

/* ---- join ---- */

PyDoc_STRVAR(task_done_doc,
             "_task_done($self, /)\n--\n\nOne object taken out has been dealt with. ValueError if called too often.");
static PyObject *
queue_task_done(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    uint64_t left = fmp_load_relaxed(&q->shm->unfinished);
    do {
        if (left == 0) {
            PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
            return NULL;
        }
        /* Q1: release what the task did to those who join. Pairs with Q2 in is_all_done. */
    } while (!fmp_cas_acq_rel(&q->shm->unfinished, &left, left - 1));
    if (left == 1) {
        fmp_ec_notify(&q->shm->all_done, INT32_MAX);
    }
    Py_RETURN_NONE;
}

static bool
is_all_done(void *ctx)
{
    struct fmp_queue *q = ctx;
    return fmp_load_acquire(&q->shm->unfinished) == 0; /* Q2: pairs with Q1 */
}

PyDoc_STRVAR(join_doc, "_join($self, /)\n--\n\nWaits until task_done() was called for everything that was put.");
static PyObject *
queue_join(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    struct fmp_spin spin = {0};
    if (fmp_py_await(&q->shm->all_done, is_all_done, q, FMP_NEVER, &spin) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(discard_doc, "_discard($self, /)\n--\n\nForgets what this process has not sent yet.");
static PyObject *
queue_discard(PyObject *self, PyObject *unused)
{
    (void)unused;
    fmp_overflow_clear((struct fmp_queue *)self);
    Py_RETURN_NONE;
}

/* ---- the type ---- */

/* The block of a queue with this limit: how much of it is the ring. */
static uint64_t
block_bytes(uint64_t limit, uint64_t *ring_bytes)
{
    *ring_bytes = fmp_ring_bytes(limit);
    return *ring_bytes + sizeof(struct fmp_queue_shm);
}

static int
open_block(struct fmp_queue *q, uint64_t ring_bytes)
{
    q->shm = (struct fmp_queue_shm *)((char *)fmp_handle_at(&q->handle) + ring_bytes);
    if (fmp_channel_open(&q->channel, q->handle.space, q->handle.off, ring_bytes) < 0) {
        return -1;
    }
    q->channel.of_objects = true;
    return 0;
}

static int
make_shared(struct fmp_queue *q, uint64_t limit)
{
    uint64_t ring_bytes, bytes = block_bytes(limit, &ring_bytes);
    if (fmp_handle_new(&q->handle, bytes, FMP_BLOCK_RING) < 0) {
        return -1;
    }
    (void)fmp_ring_init(fmp_handle_at(&q->handle), limit); /* the limit has been checked */
    if (open_block(q, ring_bytes) < 0) {
        return -1;
    }
    fmp_queue_bell_open(q);
    return 0;
}

/* The limit of a new queue's ring; 0 with an exception set. */
static uint64_t
set_kind(struct fmp_queue *q, long long maxsize, bool joinable)
{
    if (q->handle.off != 0) {
        PyErr_SetString(PyExc_RuntimeError, "the queue is set up already");
        return 0;
    }
    if (maxsize > INT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "maxsize %lld is too large", maxsize);
        return 0;
    }
    if (fmp_py_lookup(&fmp_queue_full_error, "queue", "Full") == NULL ||
        fmp_py_lookup(&fmp_queue_empty_error, "queue", "Empty") == NULL) {
        return 0;
    }
    q->fd = -1;
    q->bounded = maxsize > 0 && maxsize <= BOUND_MAX;
    q->joinable = joinable;
    return q->bounded ? (uint64_t)maxsize : UNBOUNDED_LIMIT;
}

PyDoc_STRVAR(
    setup_doc,
    "_setup($self, maxsize, joinable, /)\n--\n\nMakes the queue's shared memory; maxsize <= 0 is without a bound.");
static PyObject *
queue_setup(PyObject *self, PyObject *args)
{
    struct fmp_queue *q = (struct fmp_queue *)self;
    long long maxsize;
    int joinable;
    if (!PyArg_ParseTuple(args, "Lp:_setup", &maxsize, &joinable)) {
        return NULL;
    }
    uint64_t limit = set_kind(q, maxsize, joinable != 0);
    if (limit == 0 || make_shared(q, limit) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(travel_doc,
             "_travel($self, /)\n--\n\nWhat _arrive() needs in another process, or None if the queue cannot travel "
             "now; the last is a descriptor of this process, -1 for none.");
static PyObject *
queue_travel(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (q->handle.off == 0) {
        PyErr_SetString(PyExc_ValueError, "Queue is not initialised");
        return NULL;
    }
    PyObject *record = fmp_travel_pack(&q->handle);
    if (record == NULL || record == Py_None) {
        return record;
    }
    long long maxsize = q->bounded ? (long long)ring_of(q)->limit : 0;
    return Py_BuildValue("(NLNi)", record, maxsize, PyBool_FromLong(q->joinable), q->fd);
}

PyDoc_STRVAR(arrive_doc, "_arrive(record, maxsize, joinable, fd)\n--\n\nAs _setup, but for a queue that exists. The "
                         "descriptor is the queue's from then on, also after an error.");
static PyObject *
queue_arrive(PyObject *self, PyObject *args)
{
    struct fmp_queue *q = (struct fmp_queue *)self;
    PyObject *record;
    long long maxsize;
    int joinable, fd;
    if (!PyArg_ParseTuple(args, "OLpi:_arrive", &record, &maxsize, &joinable, &fd)) {
        return NULL;
    }
    uint64_t ring_bytes, limit = set_kind(q, maxsize, joinable != 0);
    if (limit == 0 || fmp_travel_unpack(&q->handle, record, FMP_BLOCK_RING, block_bytes(limit, &ring_bytes)) < 0 ||
        open_block(q, ring_bytes) < 0) {
        if (fd >= 0) {
            sys_close(fd);
        }
        return NULL;
    }
    fmp_queue_bell_arrive(q, fd);
    Py_RETURN_NONE;
}

static void
queue_dealloc(PyObject *self)
{
    struct fmp_queue *q = (struct fmp_queue *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (q->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (q->handle.off != 0) {
        fmp_overflow_clear(q);
        fmp_queue_bell_close(q);
    }
    fmp_handle_release(&q->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
queue_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

#define FAST(name) (PyCFunction)(void (*)(void)) queue_##name, METH_FASTCALL | METH_KEYWORDS

/* Not all queues have all of these: fastmp/queues.py gives them their names without the underscore. */
static PyMethodDef queue_methods[] = {
    {"put", FAST(put), put_doc},
    {"get", FAST(get), get_doc},
    {"_put_nowait", FAST(put_nowait), put_nowait_doc},
    {"_get_nowait", queue_get_nowait, METH_NOARGS, get_nowait_doc},
    {"_put_many", (PyCFunction)(void (*)(void))fmp_queue_put_many, METH_FASTCALL | METH_KEYWORDS,
     fmp_queue_put_many_doc},
    {"_get_many", (PyCFunction)(void (*)(void))fmp_queue_get_many, METH_FASTCALL | METH_KEYWORDS,
     fmp_queue_get_many_doc},
    {"_qsize", queue_qsize, METH_NOARGS, qsize_doc},
    {"empty", queue_empty, METH_NOARGS, empty_doc},
    {"_full", queue_full, METH_NOARGS, full_doc},
    {"_task_done", queue_task_done, METH_NOARGS, task_done_doc},
    {"_join", queue_join, METH_NOARGS, join_doc},
    {"_poll", FAST(poll), poll_doc},
    {"_feed", fmp_queue_feed, METH_NOARGS,
     "_feed($self, /)\n--\n\nSends what this process keeps, until nothing is left."},
    {"_fileno", fmp_queue_fileno, METH_NOARGS,
     "_fileno($self, /)\n--\n\nA descriptor that is readable while the queue is not empty."},
    {"_discard", queue_discard, METH_NOARGS, discard_doc},
    {"_setup", queue_setup, METH_VARARGS, setup_doc},
    {"_travel", queue_travel, METH_NOARGS, travel_doc},
    {"_arrive", queue_arrive, METH_VARARGS, arrive_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef queue_members[] = {
    {"_closed", T_BOOL, offsetof(struct fmp_queue, closed), 0, "close() was called in this process."},
    {"_used", T_BOOL, offsetof(struct fmp_queue, used), 0, "This process has put."},
    {"_feeding", T_BOOL, offsetof(struct fmp_queue, feeding), 0, "A feeder thread is at work."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct fmp_queue, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, "A queue of Python objects in shared memory; the C half of fastmp.queues."},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_methods, queue_methods},
    {Py_tp_members, queue_members},
    {0, NULL},
};

static PyType_Spec queue_spec = {
    .name = "fastmp._core.Queue",
    .basicsize = sizeof(struct fmp_queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = queue_slots,
};

int
fmp_py_register_queue(PyObject *module)
{
    return fmp_py_add_type(module, &queue_spec, NULL) != NULL ? 0 : -1;
}

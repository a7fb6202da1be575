/*
 * fastmp._core.Queue: the object behind Queue, SimpleQueue and JoinableQueue: its life, its counts, and the table of
 * its methods. Called by: fastmp/queues.py. What a put does is in queue_put.c, a get in queue_get.c.
 */
#include "py/queue.h"

#include <structmember.h>

#include "py/types.h"
#include "pyrt/travel.h"
#include "sys/io.h"

/* Cells of a queue without a bound: enough that producer and consumer seldom meet, 64 KiB. */
#define UNBOUNDED_LIMIT (512 - FMP_RING_SPARE_CELLS)
/* A larger bound counts as none: the ring would take more than 128 MiB. */
#define BOUND_MAX (1 << 20)

PyObject *fmp_queue_full_error, *fmp_queue_empty_error;

void
fmp_queue_raise_unusable(struct fmp_queue *q)
{
    if (q->closed) {
        Py_XDECREF(PyObject_CallMethod((PyObject *)q, "_raise_closed", NULL)); /* each kind has its own error */
    } else {
        PyErr_SetString(PyExc_ValueError, "Queue is not initialised");
    }
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
    return PyLong_FromUnsignedLongLong(fmp_ring_count(fmp_queue_ring(q)) + fmp_overflow_count(q));
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
    return PyBool_FromLong(fmp_ring_count(fmp_queue_ring(q)) == 0 && fmp_overflow_count(q) == 0);
}

PyDoc_STRVAR(full_doc, "_full($self, /)\n--\n\nTrue if a bounded queue holds maxsize objects.");
static PyObject *
queue_full(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    return PyBool_FromLong(q->bounded && fmp_ring_count(fmp_queue_ring(q)) >= fmp_queue_ring(q)->limit);
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
    struct fmp_spin spin = {.held_up = fmp_ec_never_held_up};
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
    q->put_spin.held_up = fmp_ring_push_is_held_up;
    q->get_spin.held_up = fmp_ring_pop_is_held_up;
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
    long long maxsize = q->bounded ? (long long)fmp_queue_ring(q)->limit : 0;
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

#define FAST(name) (PyCFunction)(void (*)(void)) fmp_queue_##name, METH_FASTCALL | METH_KEYWORDS, fmp_queue_##name##_doc

/* Not all queues have all of these: fastmp/queues.py gives them their names without the underscore. */
static PyMethodDef queue_methods[] = {
    {"put", FAST(put)},
    {"get", FAST(get)},
    {"_put_nowait", FAST(put_nowait)},
    {"_get_nowait", fmp_queue_get_nowait, METH_NOARGS, "_get_nowait($self, /)\n--\n\nget(block=False)"},
    {"_put_many", FAST(put_many)},
    {"_get_many", FAST(get_many)},
    {"_poll", FAST(poll)},
    {"_qsize", queue_qsize, METH_NOARGS, qsize_doc},
    {"empty", queue_empty, METH_NOARGS, empty_doc},
    {"_full", queue_full, METH_NOARGS, full_doc},
    {"_task_done", queue_task_done, METH_NOARGS, task_done_doc},
    {"_join", queue_join, METH_NOARGS, join_doc},
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

/*
 * put_many and get_many of a queue. Called by: queue.c, as methods.
 *
 * Each object is a message of its own, as if by put and get: maxsize counts it, any consumer may take it, a kill loses
 * what was in hand. What the batch saves is Python's call, most moves of tail, and the ring's fence and look
 * at the sleepers, which are made once for up to ROW messages (ring/row.c).
 */
#include "conn/lead.h"
#include "py/args.h"
#include "py/queue.h"
#include "wire/encode.h"

/* Messages after which sleepers are looked for, signals are handled and other threads may run. */
#define ROW 256

/* Sets an attribute of the exception that is set. One that refuses stays as it is. */
static void
tell(const char *name, PyObject *value)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (value == NULL || error == NULL || PyObject_SetAttrString(error, name, value) < 0) {
        PyErr_Clear();
    }
    PyErr_Restore(type, error, traceback);
}

/* Lets signals' handlers and other threads run: 0, or -1 with a handler's exception set. */
static int
breathe(void)
{
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
    return PyErr_CheckSignals();
}

/* ---- put ---- */

/* What was sent in a row so far is seen by whoever waits for it. */
static void
settle_puts(struct fmp_queue *q)
{
    fmp_ring_end_push_row(fmp_queue_ring(q));
    fmp_queue_bell_ring(q);
}

/* Sends what the writer holds, as one of a row if there is room: FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PY_ERROR. */
static int
send_in_row(struct fmp_queue *q, struct fmp_wire_writer *w, uint64_t deadline_ns)
{
    int rc = -EAGAIN;
    if ((q->bounded || FMP_LIKELY(fmp_overflow_count(q) == 0)) && !fmp_lead_is_long(&q->channel, fmp_writer_size(w))) {
        rc = fmp_message_send_in_row(&q->channel, FMP_MESSAGE_OBJECT, NULL, w);
    }
    if (FMP_LIKELY(rc != -EAGAIN)) {
        return rc;
    }
    settle_puts(q); /* before this process waits */
    return fmp_queue_send(q, w, deadline_ns);
}

/* FMP_PY_READY also when the object could not be pickled and the hook has taken the error. */
static int
put_in_row(struct fmp_queue *q, struct fmp_wire_writer *w, PyObject *obj, uint64_t deadline_ns)
{
    if (FMP_UNLIKELY(fmp_wire_encode(w, obj) < 0)) {
        settle_puts(q);
        return fmp_queue_report_unpicklable(q, obj);
    }
    if (q->joinable) {
        fmp_fetch_add_relaxed(&q->shm->unfinished, 1); /* relaxed: ordered by the message's publication (R1) */
    }
    int rc = send_in_row(q, w, deadline_ns);
    if (FMP_UNLIKELY(rc != FMP_PY_READY) && q->joinable) {
        fmp_fetch_add_relaxed(&q->shm->unfinished, (uint64_t)-1);
    }
    return rc;
}

/* Puts the items of a list or tuple; `done` counts those that went. */
static int
put_all(struct fmp_queue *q, PyObject *items, uint64_t deadline_ns, Py_ssize_t *done)
{
    struct fmp_wire_writer *w = fmp_wire_writer_new();
    int rc = w != NULL ? FMP_PY_READY : FMP_PY_ERROR;
    /* The size is read anew: a list may change while an object of it is pickled. */
    while (rc == FMP_PY_READY && *done < PySequence_Fast_GET_SIZE(items)) {
        PyObject *obj = Py_NewRef(PySequence_Fast_GET_ITEM(items, *done));
        rc = put_in_row(q, w, obj, deadline_ns);
        Py_DECREF(obj);
        *done += rc == FMP_PY_READY;
        if (FMP_UNLIKELY(*done % ROW == 0) && rc == FMP_PY_READY) {
            settle_puts(q);
            rc = breathe() < 0 ? FMP_PY_ERROR : FMP_PY_READY;
        }
    }
    settle_puts(q);
    fmp_wire_writer_free(w);
    return rc;
}

const char fmp_queue_put_many_doc[] =
    "_put_many($self, /, objs, block=True, timeout=None)\n--\n\n"
    "Puts each of the objects, in order, as put does, at less cost. The iterable is read to its end first. A full "
    "bounded\n"
    "queue waits up to timeout seconds in all and raises queue.Full; what went before stays in the queue, and the\n"
    "exception's attribute count says how many objects that are. Other exceptions have the same attribute.";
PyObject *
fmp_queue_put_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"objs", "block", "timeout"};
    PyObject *a[3];
    uint64_t deadline_ns = FMP_NEVER;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_queue_check_open(q) < 0 || fmp_py_args("put_many", names, 3, 1, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    PyObject *items = PySequence_Fast(a[0], "put_many() takes an iterable");
    if (items == NULL || (a[2] != NULL && fmp_py_semaphore_deadline(a[2], &deadline_ns) < 0) ||
        fmp_queue_apply_block(a[1], &deadline_ns) < 0) {
        Py_XDECREF(items);
        return NULL;
    }
    Py_ssize_t done = 0;
    q->used = true;
    int rc = put_all(q, items, deadline_ns, &done);
    Py_DECREF(items);
    if (rc == FMP_PY_READY) {
        Py_RETURN_NONE;
    }
    if (rc == FMP_PY_TIMEOUT) {
        PyErr_SetNone(fmp_queue_full_error);
    }
    PyObject *count = PyLong_FromSsize_t(done);
    tell("count", count);
    Py_XDECREF(count);
    return NULL;
}

/* ---- get ---- */

/* Appends `obj`, whose reference it takes, unless it is NULL: 0, or -1 with an exception set. */
static int
append(PyObject *list, PyObject *obj)
{
    int rc = obj != NULL ? PyList_Append(list, obj) : -1;
    Py_XDECREF(obj);
    return rc;
}

/* Takes what is there, until the list has `most` objects: 0, or -1 with an exception set. */
static int
take_there(struct fmp_queue *q, PyObject *list, Py_ssize_t most)
{
    int rc = 0;
    while (rc == 0 && PyList_GET_SIZE(list) < most) {
        struct fmp_message m;
        int popped = fmp_message_pop_in_row(&q->channel, &m);
        if (popped == -EAGAIN) {
            break;
        }
        if (popped != 0) {
            fmp_py_raise(popped, "a damaged message was dropped");
            return -1;
        }
        rc = append(list, fmp_message_decode(q->channel.space, &m));
        if (FMP_UNLIKELY(PyList_GET_SIZE(list) % ROW == 0) && rc == 0) {
            fmp_ring_end_pop_row(fmp_queue_ring(q));
            rc = breathe();
        }
    }
    return rc;
}

/* How many objects are wanted at most: `max`, or those that are there now. 0 with an exception set if that is no
 * number above 0. */
static Py_ssize_t
parse_most(struct fmp_queue *q, PyObject *max)
{
    if (max == NULL || max == Py_None) {
        uint64_t there = fmp_ring_count(fmp_queue_ring(q));
        return there > 0 ? (Py_ssize_t)there : 1;
    }
    Py_ssize_t most = PyNumber_AsSsize_t(max, NULL); /* clipped */
    if (most == -1 && PyErr_Occurred()) {
        return 0;
    }
    if (most <= 0) {
        PyErr_SetString(PyExc_ValueError, "max must be above 0");
        return 0;
    }
    return most;
}

const char fmp_queue_get_many_doc[] =
    "_get_many($self, /, max=None, block=True, timeout=None)\n--\n\n"
    "Takes objects out of the queue and returns them as a list, in order: it waits for the first one as get does, and\n"
    "takes no more than are there, up to max (None: as many as there were at the call). Raises queue.Empty as get "
    "does.\n"
    "What unpickling an object raises has the objects before it in its attribute received.";
PyObject *
fmp_queue_get_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"max", "block", "timeout"};
    PyObject *a[3];
    uint64_t deadline_ns;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (fmp_queue_check_open(q) < 0 || fmp_py_args("get_many", names, 3, 0, args, nargs, kwnames, a) < 0 ||
        fmp_queue_get_deadline(a[1], a[2], &deadline_ns) < 0) {
        return NULL;
    }
    Py_ssize_t most = parse_most(q, a[0]);
    PyObject *list = most > 0 ? PyList_New(0) : NULL;
    if (list == NULL || append(list, fmp_queue_get_by(q, deadline_ns)) < 0) {
        Py_XDECREF(list);
        return NULL;
    }
    int rc = take_there(q, list, most);
    fmp_ring_end_pop_row(fmp_queue_ring(q));
    fmp_queue_bell_heard(q);
    if (rc < 0) {
        tell("received", list);
        Py_CLEAR(list);
    }
    return list;
}

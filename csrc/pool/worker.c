/*
 * The worker's loop: task -> call -> result. Runs in a worker process; see layout.h for what it tells the parent.
 * Called by: py/crew_workers.c.
 */
#include "pool/crew.h"

#include <string.h>

#include "base/fault.h"
#include "pool/chunk.h"
#include "sys/clock.h"
#include "sys/process.h"

/* How often an idle worker looks whether its parent still lives, and one that waits for memory. Both are killed with
 * the parent (fastmp/_workers), so this is for one that could not be told. */
#define PARENT_LOOK_NS FMP_LONGEST_RECHECK_NS
#define PARENT_LOOK_FULL_NS (500 * FMP_NS_PER_MS)
/* How long a worker whose result finds no memory waits when no other result is in the way: so often, and so long. */
#define PATIENCE_TRIES 5
#define PATIENCE_NS (20 * FMP_NS_PER_MS)
/* Functions a worker remembers; beyond it forgets all and loads again what it meets. */
#define FUNCTIONS_MAX 256

struct worker {
    struct fmp_crew *crew;
    struct fmp_worker_shm *line;
    uint32_t place;
    struct fmp_wire_writer *writer;
    PyObject *functions; /* {id: callable} */
    uint32_t last_id;
    PyObject *last; /* borrowed from `functions` */
    PyObject *wrap_error, *wrap_unpicklable;
    bool is_strict;                  /* a task that cannot be unpickled ends the worker */
    int parent;                      /* a descriptor that polls readable when it has ended */
    struct fmp_spin spin, full_spin; /* for a task, and for room */
};

/* Runs while the task's cell is still taken: the task is never in neither place. */
static void
note_task(void *ctx, const void *data)
{
    struct fmp_worker_shm *line = ctx;
    struct fmp_task_head head;
    memcpy(&head, data, sizeof head);
    line->job = head.job;
    line->index = head.index;
    /* W1: job and index before busy. Pairs with W2 in fmp_crew_lost_task. */
    fmp_store_release(&line->state, FMP_WORKER_BUSY);
    FMP_FAULT("worker:noted");
}

/* The next task: 1, 0 if the parent is gone, -1 with an exception set. */
static int
next_task(struct worker *me, struct fmp_message *m)
{
    struct fmp_ring *ring = &me->crew->tasks.ring;
    for (;;) {
        int rc = fmp_message_pop(&me->crew->tasks, m);
        if (rc == 0) {
            return 1;
        }
        if (rc != -EAGAIN) {
            fmp_py_raise(rc, NULL);
            return -1;
        }
        rc = fmp_py_await(&ring->shm->items, fmp_ring_may_pop, ring, sys_now_ns() + PARENT_LOOK_NS, &me->spin);
        if (rc == FMP_PY_ERROR) {
            return -1;
        }
        if (rc == FMP_PY_TIMEOUT && sys_pidfd_ended(me->parent) == 1) {
            return 0;
        }
    }
}

/* The function of a task, borrowed. */
static PyObject *
function_of(struct worker *me, const struct fmp_task_head *head)
{
    if (FMP_LIKELY(me->last != NULL && me->last_id == head->function_id)) {
        return me->last;
    }
    PyObject *key = PyLong_FromUnsignedLong(head->function_id);
    PyObject *f = key != NULL ? PyDict_GetItemWithError(me->functions, key) : NULL;
    if (f == NULL && !PyErr_Occurred()) {
        f = fmp_function_load(me->crew->tasks.space, head->function);
        if (f != NULL) {
            if (PyDict_GET_SIZE(me->functions) >= FUNCTIONS_MAX) {
                PyDict_Clear(me->functions);
            }
            int rc = PyDict_SetItem(me->functions, key, f);
            Py_DECREF(f);
            f = rc == 0 ? f : NULL;
        }
    }
    Py_XDECREF(key);
    me->last = f;
    me->last_id = head->function_id;
    return f;
}

static PyObject *
call_kw(PyObject *f, PyObject *payload)
{
    if (!PyTuple_CheckExact(payload) || PyTuple_GET_SIZE(payload) != 2) {
        return fmp_py_raise(-EBADMSG, "a damaged task");
    }
    return PyObject_Call(f, PyTuple_GET_ITEM(payload, 0), PyTuple_GET_ITEM(payload, 1));
}

static PyObject *
call(PyObject *f, uint32_t kind, PyObject *payload)
{
    switch (kind) {
    case FMP_TASK_CALL:
        return PyTuple_CheckExact(payload) ? PyObject_Call(f, payload, NULL) : fmp_call_star(f, payload);
    case FMP_TASK_CALL_KW:
        return call_kw(f, payload);
    case FMP_TASK_MAP:
        return PyObject_CallOneArg(f, payload);
    case FMP_TASK_STAR:
        return fmp_call_star(f, payload);
    case FMP_TASK_MAP_MANY:
        return fmp_call_all(f, payload, false);
    case FMP_TASK_STAR_MANY:
        return fmp_call_all(f, payload, true);
    default:
        return fmp_py_raise(-EBADMSG, "a task of an unknown kind");
    }
}

/* Has the parent cancelled the task before we began? */
static bool
is_cancelled(struct worker *me, uint32_t claim)
{
    if (claim == 0 || claim > FMP_CREW_DEPTH) {
        return false;
    }
    uint8_t pending = FMP_CLAIM_PENDING;
    /* relaxed: one CAS decides between worker and parent, and publishes nothing else */
    return !fmp_cas_relaxed(&me->crew->shm->claims[claim - 1], &pending, FMP_CLAIM_RUNNING);
}

/* A task that brings its function along. */
static PyObject *
unpack_pair(PyObject *pair, PyObject **f)
{
    PyObject *payload = NULL;
    if (PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2) {
        *f = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
        payload = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
    } else {
        fmp_py_raise(-EBADMSG, "a damaged task");
    }
    Py_DECREF(pair);
    return payload;
}

/* What it takes to run a task: the payload and the function, new references. NULL if they cannot be unpickled. */
static PyObject *
unpack_task(struct worker *me, struct fmp_message *m, const struct fmp_task_head *head, PyObject **f)
{
    PyObject *payload = fmp_message_decode(me->crew->tasks.space, m);
    if (payload == NULL || FMP_UNLIKELY(head->function == 0)) {
        return payload != NULL ? unpack_pair(payload, f) : NULL;
    }
    *f = Py_XNewRef(function_of(me, head));
    if (*f == NULL) {
        Py_CLEAR(payload);
    }
    return payload;
}

static PyObject *
run_task(uint32_t kind, PyObject *payload, PyObject *f)
{
    PyObject *result = call(f, kind, payload);
    Py_DECREF(f);
    Py_DECREF(payload);
    return result;
}

/* A chunk of plain objects: they are called with as they are decoded. False if the task is something else. */
static bool
run_chunk(struct worker *me, struct fmp_message *m, const struct fmp_task_head *head, PyObject **result)
{
    struct fmp_space *space = me->crew->tasks.space;
    struct fmp_items items;
    bool is_chunk = m->tag == FMP_TASK_MAP_MANY || m->tag == FMP_TASK_STAR_MANY;
    if (!is_chunk || m->parcels != 0 || head->function == 0 ||
        !fmp_items_begin(&items, fmp_message_data(space, m), m->bytes)) {
        return false;
    }
    PyObject *f = Py_XNewRef(function_of(me, head));
    *result = f != NULL ? fmp_call_each(f, &items, m->tag == FMP_TASK_STAR_MANY) : NULL;
    if (fmp_items_end(&items) < 0) {
        Py_CLEAR(*result);
    }
    Py_XDECREF(f);
    fmp_message_discard(space, m);
    return true;
}

struct look {
    struct fmp_ring *ring;
    uint64_t head;
};

static bool
has_moved(void *ctx)
{
    const struct look *look = ctx;
    return fmp_load_relaxed(&look->ring->shm->head) != look->head; /* relaxed: a sign of life, no more */
}

/* The memory is full, perhaps of results: waits until the parent takes one. When all are taken it may still be at the
 * last of them, so there is a little patience left. 0 to try again, -1 with an exception if that is in vain. */
static int
await_memory(struct worker *me, unsigned *patience)
{
    struct look look = {.ring = &me->crew->results.ring};
    if (*patience == 0 || !fmp_py_clear_no_space()) {
        return -1;
    }
    for (;;) {
        look.head = fmp_load_relaxed(&look.ring->shm->head);
        bool none_left = fmp_ring_count(look.ring) == 0;
        uint64_t until = sys_now_ns() + (none_left ? PATIENCE_NS : PARENT_LOOK_FULL_NS);
        int rc = fmp_py_await(&look.ring->shm->space, has_moved, &look, until, &me->full_spin);
        if (rc != FMP_PY_TIMEOUT) {
            return rc == FMP_PY_READY ? 0 : -1;
        }
        if (none_left) {
            --*patience;
            return 0;
        }
        if (sys_pidfd_ended(me->parent) == 1) {
            *patience = 0;
            return 0;
        }
    }
}

static int
send_encoded(struct worker *me, enum fmp_result_kind kind, const struct fmp_task_head *head)
{
    struct fmp_ring *ring = &me->crew->results.ring;
    unsigned patience = PATIENCE_TRIES;
    for (;;) {
        int rc = fmp_message_send(&me->crew->results, kind, head, me->writer);
        if (FMP_UNLIKELY(rc == -1) && await_memory(me, &patience) == 0) {
            continue;
        }
        if (rc != -EAGAIN) {
            return rc;
        }
        /* There is room, but the parent is still emptying the cell. */
        if (fmp_py_await(&ring->shm->space, fmp_ring_may_push, ring, FMP_NEVER, &me->full_spin) < 0) {
            return -1;
        }
    }
}

static int
send(struct worker *me, enum fmp_result_kind kind, const struct fmp_task_head *head, PyObject *value)
{
    int rc = fmp_crew_encode(me->crew, me->writer, value);
    if (rc == 0) {
        rc = send_encoded(me, kind, head);
    }
    fmp_wire_reset(me->writer);
    return rc;
}

/* Sends the exception that is set as the task's result. What `value` (may be NULL) could not be sent as is told to
 * wrap_unpicklable. */
static int
send_error(struct worker *me, const struct fmp_task_head *head, PyObject *value)
{
    PyObject *exc = fmp_take_exception();
    PyObject *wrapped = value == NULL ? PyObject_CallOneArg(me->wrap_error, exc)
                                      : PyObject_CallFunctionObjArgs(me->wrap_unpicklable, exc, value, NULL);
    Py_DECREF(exc);
    if (wrapped == NULL) {
        return -1; /* the wrapper let the exception through: the worker ends with it */
    }
    int rc = send(me, FMP_RESULT_ERROR, head, wrapped);
    if (rc != 0 && value == NULL) {
        rc = send_error(me, head, wrapped); /* an exception that cannot be pickled */
    }
    Py_DECREF(wrapped);
    return rc;
}

/* Shared memory has no room even for the exception: a word will do. */
static int
send_no_room(struct worker *me, const struct fmp_task_head *head)
{
    return fmp_py_clear_no_space() ? send(me, FMP_RESULT_NO_ROOM, head, Py_None) : -1;
}

/* Runs one task and sends its result. 0, or -1 with an exception set: the worker ends. */
static int
do_task(struct worker *me, struct fmp_message *m)
{
    struct fmp_task_head head;
    memcpy(&head, m->head, sizeof head);
    head.worker = me->place + 1;
    if (FMP_UNLIKELY(is_cancelled(me, head.claim))) {
        fmp_message_discard(me->crew->tasks.space, m);
        return send(me, FMP_RESULT_CANCELLED, &head, Py_None);
    }
    PyObject *result = NULL;
    if (!run_chunk(me, m, &head, &result)) {
        PyObject *f, *payload = unpack_task(me, m, &head, &f);
        if (payload == NULL && me->is_strict) {
            return -1;
        }
        result = payload != NULL ? run_task(m->tag, payload, f) : NULL;
    }
    int rc = result != NULL ? send(me, FMP_RESULT_VALUE, &head, result) : -1;
    if (rc != 0) {
        rc = send_error(me, &head, result);
    }
    Py_XDECREF(result);
    return rc == 0 ? 0 : send_no_room(me, &head);
}

static Py_ssize_t
work(struct worker *me, Py_ssize_t max_tasks)
{
    struct fmp_message m;
    Py_ssize_t count = 0;
    while (max_tasks == 0 || count < max_tasks) {
        int rc = next_task(me, &m);
        if (rc <= 0) {
            return rc < 0 ? -1 : count;
        }
        if (m.tag == FMP_TASK_EXIT) {
            fmp_store_relaxed(&me->line->state, FMP_WORKER_IDLE);
            return count;
        }
        if (do_task(me, &m) < 0) {
            return -1; /* the line still says busy: the parent learns what was lost */
        }
        FMP_FAULT("worker:result-published");
        /* relaxed: the parent looks at it only when this process has ended */
        fmp_store_relaxed(&me->line->state, FMP_WORKER_IDLE);
        count++;
    }
    return count;
}

int
fmp_worker_report(struct fmp_crew *crew, uint32_t place, PyObject *value)
{
    struct fmp_task_head head = {.worker = place + 1};
    struct fmp_wire_writer *w = fmp_wire_writer_new();
    if (w == NULL) {
        return -1;
    }
    int rc = fmp_wire_encode(w, value);
    if (rc == 0) {
        rc = fmp_message_send(&crew->results, FMP_RESULT_ERROR, &head, w);
        if (rc == -EAGAIN) {
            rc = 0; /* the parent is far behind: it learns of the end, not of the reason */
        }
    }
    fmp_wire_writer_free(w);
    return rc == 0 ? 0 : -1;
}

Py_ssize_t
fmp_worker_run(struct fmp_crew *crew, uint32_t place, Py_ssize_t max_tasks, PyObject *wrap_error,
               PyObject *wrap_unpicklable, int parent)
{
    struct worker me = {
        .crew = crew,
        .line = &crew->shm->workers[place],
        .place = place,
        .writer = fmp_wire_writer_new(),
        .functions = PyDict_New(),
        .wrap_error = wrap_error,
        .wrap_unpicklable = wrap_unpicklable,
        .is_strict = crew->bad_result != NULL && crew->bad_result != Py_None,
        .parent = parent,
        .spin = {.held_up = fmp_ring_pop_is_held_up},
    };
    Py_ssize_t count = -1;
    if (me.writer != NULL && me.functions != NULL) {
        fmp_store_relaxed(&me.line->state, FMP_WORKER_IDLE);
        fmp_store_release(&me.line->id, fmp_space_me(crew->tasks.space)); /* W3: pairs with W2 */
        crew->tasks.on_taken = note_task;
        crew->tasks.on_taken_ctx = me.line;
        /* Only the parent may recover cells here: it must learn which task a killed worker had taken. */
        crew->tasks.ring.bystander = crew->results.ring.bystander = true;
        if (!fmp_ring_may_pop(&crew->tasks.ring)) {
            fmp_wire_practise();
        }
        count = work(&me, max_tasks);
        (void)fmp_fetch_add_relaxed(&crew->shm->leavers, 1); /* relaxed: ordered by E1 */
        fmp_ec_notify(&crew->results.ring.shm->items, INT32_MAX);
    }
    Py_XDECREF(me.functions);
    if (me.writer != NULL) {
        fmp_wire_writer_free(me.writer);
    }
    return count;
}

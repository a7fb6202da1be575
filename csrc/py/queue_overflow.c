/*
 * The overflow of a Queue without a bound: messages of this process that wait, in order, for room in the ring. Called
 * by: queue_put.c, queue.c.
 *
 * put never blocks on such a queue, and the ring is bounded. While there is overflow, every put of this process goes
 * behind it, and a feeder thread (made by fastmp/queues.py on first need, gone when the overflow is) moves it into the
 * ring.
 */
#include "py/queue.h"

#include <string.h>

void
fmp_overflow_adopt(struct fmp_queue *q)
{
    struct fmp_overflow *o = &q->overflow;
    if (o->last != NULL && o->fork_generation == fmp_fork_generation) {
        return;
    }
    while (o->last != NULL && o->first != NULL) {
        struct fmp_pending *next = o->first->next;
        PyMem_Free(o->first);
        o->first = next;
    }
    *o = (struct fmp_overflow){.last = &o->first, .fork_generation = fmp_fork_generation};
    q->feeding = false;
}

int
fmp_overflow_add(struct fmp_queue *q, const struct fmp_message *m)
{
    fmp_overflow_adopt(q);
    struct fmp_pending *p = PyMem_Malloc(offsetof(struct fmp_pending, message) + FMP_MESSAGE_PREPARED_BYTES);
    if (p == NULL) {
        struct fmp_message lost = *m;
        fmp_message_discard(q->channel.space, &lost);
        PyErr_NoMemory();
        return -1;
    }
    memcpy(&p->message, m, FMP_MESSAGE_PREPARED_BYTES);
    p->next = NULL;
    *q->overflow.last = p;
    q->overflow.last = &p->next;
    q->overflow.count++;
    return 0;
}

void
fmp_overflow_drop_last(struct fmp_queue *q)
{
    struct fmp_overflow *o = &q->overflow;
    struct fmp_pending **link = &o->first;
    if (fmp_overflow_count(q) == 0) {
        return;
    }
    while ((*link)->next != NULL) {
        link = &(*link)->next;
    }
    fmp_message_discard(q->channel.space, &(*link)->message);
    PyMem_Free(*link);
    *link = NULL;
    o->last = link;
    o->count--;
}

static void
drop_first(struct fmp_overflow *o)
{
    struct fmp_pending *p = o->first;
    o->first = p->next;
    if (o->first == NULL) {
        o->last = &o->first;
    }
    o->count--;
    PyMem_Free(p);
}

void
fmp_overflow_clear(struct fmp_queue *q)
{
    fmp_overflow_adopt(q);
    while (q->overflow.first != NULL) {
        fmp_message_discard(q->channel.space, &q->overflow.first->message);
        drop_first(&q->overflow);
    }
}

int
fmp_overflow_send(struct fmp_queue *q)
{
    int rc = 0;
    while (rc == 0 && fmp_overflow_count(q) != 0) {
        rc = fmp_message_push(&q->channel, &q->overflow.first->message);
        if (rc == 0) {
            drop_first(&q->overflow);
            fmp_queue_bell_ring(q);
        }
    }
    return rc;
}

PyObject *
fmp_queue_feed(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    struct fmp_spin spin = {.held_up = fmp_ring_push_is_held_up};
    int rc;
    while ((rc = fmp_overflow_send(q)) != 0) {
        if (rc != -EAGAIN) {
            return fmp_py_raise(rc, NULL);
        }
        if (fmp_py_await(&fmp_queue_ring(q)->shm->space, fmp_ring_may_push, fmp_queue_ring(q), FMP_NEVER, &spin) < 0) {
            return NULL;
        }
    }
    q->feeding = false; /* under the GIL with the last look at the count: the next overflow starts another feeder */
    Py_RETURN_NONE;
}

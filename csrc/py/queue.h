/* The Python object behind Queue, SimpleQueue and JoinableQueue. Called by: queue.c, queue_overflow.c. */
#ifndef FMP_PY_QUEUE_H
#define FMP_PY_QUEUE_H

#include "conn/message.h"
#include "pyrt/wait.h"

/* What a queue keeps in shared memory behind its ring. */
struct fmp_queue_shm {
    FMP_ALIGNED _Atomic uint64_t unfinished; /* JoinableQueue: put and not yet task_done */
    struct fmp_ec_shm all_done;
};

/* A prepared message that waits in this process for room in the ring. */
struct fmp_pending {
    struct fmp_pending *next;
    struct fmp_message message;
};

/* The messages of this process that did not fit, in order; only for queues without a bound. */
struct fmp_overflow {
    struct fmp_pending *first, **last;
    uint64_t count;
    unsigned fork_generation; /* a forked child forgets its parent's overflow */
};

struct fmp_queue {
    PyObject_HEAD
    struct fmp_handle handle;
    struct fmp_channel channel;
    struct fmp_queue_shm *shm;
    struct fmp_wire_writer *writer;
    struct fmp_overflow overflow;
    struct fmp_spin put_spin, get_spin;
    bool bounded, joinable, closed, feeding;
    PyObject *weakrefs;
};

/* Keeps a message for later. 0, or -1 with MemoryError. Takes the message over. */
int fmp_overflow_add(struct fmp_queue *q, const struct fmp_message *m);
/* Messages kept in this process. */
uint64_t fmp_overflow_count(struct fmp_queue *q);
/* Sends what there is room for, in order: 0 if nothing is left, -EAGAIN if the ring is full, another -errno. */
int fmp_overflow_send(struct fmp_queue *q);
/* Forgets them; gives their blocks back if this process prepared them. */
void fmp_overflow_clear(struct fmp_queue *q);
/* Sends what is kept, waiting for room, until nothing is left. The method `_feed` of the feeder thread. */
PyObject *fmp_queue_feed(PyObject *self, PyObject *unused);

#endif

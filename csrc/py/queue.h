/* The Python object behind Queue, SimpleQueue and JoinableQueue. Called by: queue.c and queue_*.c. */
#ifndef FMP_PY_QUEUE_H
#define FMP_PY_QUEUE_H

#include "conn/message.h"
#include "py/semlock.h"
#include "pyrt/wait.h"
#include "sync/bell.h"

/* What a queue keeps in shared memory behind its ring. */
struct fmp_queue_shm {
    FMP_ALIGNED _Atomic uint64_t unfinished; /* JoinableQueue: put and not yet task_done */
    struct fmp_ec_shm all_done;
    FMP_ALIGNED struct fmp_bell_shm bell; /* seldom written: every put looks at it */
    _Atomic uint64_t bell_place;          /* where the descriptor can be had; see queue_bell.c */
    _Atomic uint32_t watched;             /* somebody looks at the descriptor */
};

/* A prepared message that waits in this process for room in the ring. */
struct fmp_pending {
    struct fmp_pending *next;
    struct fmp_message message; /* its FMP_MESSAGE_PREPARED_BYTES: the memory ends there */
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
    struct fmp_overflow overflow;
    int fd; /* for those who look at `_reader.fileno()`, -1 for none; the next three are queue_bell.c's */
    uint32_t fd_generation;
    uint64_t fd_inode, vain_place;
    bool watches; /* fileno() was called here */
    struct fmp_spin put_spin, get_spin;
    bool bounded, joinable, closed, feeding;
    bool used; /* this process has put: close() closes the reader too, as in the standard library */
    PyObject *weakrefs;
};

/* queue_bell.c: the descriptor. open: at the making of a queue. arrive: one that exists, with a copy of the descriptor,
 * which may be of an older bell, or -1. heard: after each message taken. vain: after a look that found none. */
void fmp_queue_bell_open(struct fmp_queue *q);
void fmp_queue_bell_arrive(struct fmp_queue *q, int fd);
void fmp_queue_bell_close(struct fmp_queue *q);
void fmp_queue_bell_ring_slow(struct fmp_queue *q);
void fmp_queue_bell_hush(struct fmp_queue *q);
void fmp_queue_bell_heal(struct fmp_queue *q);
PyObject *fmp_queue_fileno(PyObject *self, PyObject *unused);
/* After each message sent: one load, as long as nobody looks at the descriptor. */
FMP_INLINE void
fmp_queue_bell_ring(struct fmp_queue *q)
{
    /* relaxed: behind the fence E1 of fmp_ring_end_push (B1) */
    if (FMP_UNLIKELY(!FMP_BELL_IS_RUNG(fmp_load_relaxed(&q->shm->bell.word)))) {
        fmp_queue_bell_ring_slow(q);
    }
}
/* After each message taken. */
FMP_INLINE void
fmp_queue_bell_heard(struct fmp_queue *q)
{
    /* Q4: relaxed, behind the fence E1 of fmp_ring_end_pop. Pairs with Q3 in fmp_queue_fileno. */
    if (FMP_UNLIKELY(fmp_load_relaxed(&q->shm->watched) != 0)) {
        fmp_queue_bell_hush(q);
    }
}
FMP_INLINE void
fmp_queue_bell_vain(struct fmp_queue *q)
{
    if (FMP_UNLIKELY(fmp_load_relaxed(&q->shm->watched) != 0)) { /* relaxed: a byte too many may wait */
        fmp_queue_bell_heal(q);
    }
}

/* queue.c. queue.Full and queue.Empty: there once a queue is set up. */
extern PyObject *fmp_queue_full_error, *fmp_queue_empty_error;
/* Sets the error of a queue that is closed, or not initialised. */
void fmp_queue_raise_unusable(struct fmp_queue *q);
/* 0, or -1 with that error set. */
FMP_INLINE int
fmp_queue_check_open(struct fmp_queue *q)
{
    if (FMP_UNLIKELY(q->closed || q->handle.off == 0)) {
        fmp_queue_raise_unusable(q);
        return -1;
    }
    return 0;
}
/* block (may be NULL) to a deadline that was made of the timeout, which does not count if block is false. 0, or -1 with
 * an exception set. */
FMP_INLINE int
fmp_queue_apply_block(PyObject *block, uint64_t *deadline_ns)
{
    int blocks = fmp_py_block_arg(block);
    if (blocks == 0) {
        *deadline_ns = 0;
    }
    return blocks < 0 ? -1 : 0;
}
FMP_INLINE struct fmp_ring *
fmp_queue_ring(struct fmp_queue *q)
{
    return &q->channel.ring;
}

/* queue_put.c. Sends what the writer holds, waiting for room until the deadline, or without a bound keeping it for
 * later: FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PY_ERROR. */
int fmp_queue_send(struct fmp_queue *q, struct fmp_wire_writer *w, uint64_t deadline_ns);
/* The standard library pickles in its feeder thread and reports there; so does this, at once. 0 if the hook took the
 * error. */
int fmp_queue_report_unpicklable(struct fmp_queue *q, PyObject *obj);

/* queue_get.c. The next object, waited for until the deadline; NULL with queue.Empty or another exception set. */
PyObject *fmp_queue_get_by(struct fmp_queue *q, uint64_t deadline_ns);
/* block and timeout (each may be NULL) to the deadline of a get: 0, or -1 with an exception set. */
int fmp_queue_get_deadline(PyObject *block, PyObject *timeout, uint64_t *deadline_ns);

/* Methods: of queue_put.c, queue_get.c and queue_batch.c; METH_FASTCALL | METH_KEYWORDS but for the last one. */
#define FMP_QUEUE_METHODS(X) \
    X(put)                   \
    X(put_nowait)            \
    X(get)                   \
    X(poll)                  \
    X(put_many)              \
    X(get_many)
#define FMP_QUEUE_DECLARE(name)                                                                             \
    PyObject *fmp_queue_##name(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames); \
    extern const char fmp_queue_##name##_doc[];
FMP_QUEUE_METHODS(FMP_QUEUE_DECLARE)
#undef FMP_QUEUE_DECLARE
PyObject *fmp_queue_get_nowait(PyObject *self, PyObject *unused);

/* queue_overflow.c. Keeps a message for later. 0, or -1 with MemoryError. Takes the message over. */
int fmp_overflow_add(struct fmp_queue *q, const struct fmp_message *m);
/* Takes back what was added last, if there is anything. */
void fmp_overflow_drop_last(struct fmp_queue *q);
/* A forked child is not to send its parent's messages again: it forgets them, and does not own their blocks. */
void fmp_overflow_adopt(struct fmp_queue *q);
/* Messages kept in this process. */
FMP_INLINE uint64_t
fmp_overflow_count(struct fmp_queue *q)
{
    if (FMP_UNLIKELY(q->overflow.last == NULL || q->overflow.fork_generation != fmp_fork_generation)) {
        fmp_overflow_adopt(q);
    }
    return q->overflow.count;
}
/* Sends what there is room for, in order: 0 if nothing is left, -EAGAIN if the ring is full, another -errno. */
int fmp_overflow_send(struct fmp_queue *q);
/* Forgets them; gives their blocks back if this process prepared them. */
void fmp_overflow_clear(struct fmp_queue *q);
/* Sends what is kept, waiting for room, until nothing is left. The method `_feed` of the feeder thread. */
PyObject *fmp_queue_feed(PyObject *self, PyObject *unused);

#endif

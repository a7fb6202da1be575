/*
 * The descriptor of a queue, for those who give `queue._reader` to select, asyncio or connection.wait. Called by:
 * queue.c, queue_overflow.c.
 *
 * It is an eventfd made with the queue, so that every process that has the queue can ring it. As long as nobody has
 * asked for it, it costs a put one load (sync/bell.h). A process that has used up its descriptors makes its queues
 * without.
 */
#include "py/queue.h"
#include "sys/io.h"

static struct fmp_bell
bell_of(struct fmp_queue *q)
{
    return (struct fmp_bell){.shm = &q->shm->bell, .region = q->channel.ring.region, .fd = q->fd, .is_socket = false};
}

void
fmp_queue_bell_open(struct fmp_queue *q)
{
    int fd = sys_eventfd(1); /* with the token of a new bell in it */
    q->fd = fd >= 0 ? fd : -1;
}

void
fmp_queue_bell_close(struct fmp_queue *q)
{
    if (q->fd >= 0) {
        sys_close(q->fd);
        q->fd = -1;
    }
}

void
fmp_queue_bell_ring_slow(struct fmp_queue *q)
{
    struct fmp_bell bell = bell_of(q);
    if (q->fd >= 0) {
        (void)fmp_bell_ring(&bell, fmp_ring_may_pop,
                            &q->channel.ring); /* the message is sent, whatever becomes of the bell */
    }
}

void
fmp_queue_bell_hush(struct fmp_queue *q)
{
    struct fmp_bell bell = bell_of(q);
    if (q->fd >= 0) {
        (void)fmp_bell_hush(&bell, fmp_ring_may_pop, &q->channel.ring);
    }
}

PyObject *
fmp_queue_fileno(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (q->handle.off == 0 || q->fd < 0) {
        return fmp_py_raise(-EMFILE, "no descriptor was left when this queue was made");
    }
    fmp_store_seq_cst(&q->shm->watched, 1); /* Q3: before the look at the ring. Pairs with Q4. */
    fmp_queue_bell_hush(q);
    return PyLong_FromLong(q->fd);
}

/* Receiving from a pipe: pop; or spin, hush the bell, sleep on the descriptor; see pipe.h. */
#include "conn/pipe_internal.h"
#include "pyrt/wait.h"
#include "ring/pace.h"
#include "sys/clock.h"
#include "sys/io.h"

/* Between two looks while a dying peer's cell stands in the way of the end of file. */
#define DYING_NS FMP_NS_PER_MS

/* The descriptor has hung up. What was published before is there; a cell that a dying sender has claimed is waited for
 * until it is published or its owner is known dead. */
static int
at_hang_up(struct fmp_ring *ring)
{
    if (fmp_ring_may_pop(ring)) {
        return 0;
    }
    if (fmp_ring_count(ring) == 0) {
        return FMP_PIPE_EOF;
    }
    (void)sys_poll_until(NULL, 0, sys_now_ns() + DYING_NS);
    return -EINTR;
}

/* Sleeps in poll(2) for one slice, a longer one if the last whole one was over before anything came; with a deadline of
 * 0 it only asks about the end of file. */
static int
sleep_step(struct fmp_pipe_end *end, uint64_t deadline_ns)
{
    struct fmp_ring *ring = fmp_pipe_ring(end->in);
    struct fmp_bell bell = fmp_pipe_bell(end, end->in);
    bool may_sleep = deadline_ns != 0;
    unsigned idle = end->recv_spin.idle;
    uint64_t slice_ns = fmp_spin_period_ns(idle);
    end->recv_spin.idle = 0;
    if (bell.fd < 0) {
        return -EBADF;
    }
    if (may_sleep && fmp_bell_hush(&bell, fmp_ring_may_pop, ring)) {
        return 0;
    }
    if (FMP_UNLIKELY(fmp_ring_count(ring) != 0) && fmp_ring_drop_unclaimed(ring)) {
        return -EBADMSG;
    }
    uint64_t now = sys_now_ns();
    uint64_t slice_end = may_sleep ? sys_slice_end_ns(now, deadline_ns, slice_ns) : 0;
    struct pollfd p = {.fd = bell.fd, .events = may_sleep ? POLLIN : 0};
    int n = sys_poll_until(&p, 1, slice_end);
    if (may_sleep) {
        fmp_spin_slept(&end->recv_spin, n == 0 ? FMP_NEVER : sys_now_ns() - now);
    }
    if (fmp_ring_may_pop(ring)) {
        return 0;
    }
    if (n == 0) {
        if (may_sleep && slice_end != deadline_ns) {
            fmp_spin_slept_through(&end->recv_spin, idle);
        }
        return slice_end == deadline_ns ? -ETIMEDOUT : -EINTR;
    }
    if (n < 0 || (p.revents & POLLNVAL) != 0) {
        return n < 0 ? n : -EBADF;
    }
    if ((p.revents & (POLLHUP | POLLERR)) != 0) {
        return at_hang_up(ring);
    }
    /* Woken in vain: a message is being written, another reader has it, or a killed process has left a byte. */
    fmp_pipe_heal(end, &bell);
    return -EINTR;
}

/* One step of a wait for a message, without the GIL. */
static int
listen_step(void *ctx, uint64_t deadline_ns)
{
    struct fmp_pipe_end *end = ctx;
    if (!end->is_decided && fmp_load_acquire(end->mode) == FMP_PIPE_IS_STANDARD) { /* P5 */
        return FMP_PIPE_STANDARD;
    }
    bool spins = deadline_ns != 0 && end->recv_spin.idle == 0;
    if (spins && fmp_spin_until(fmp_ring_may_pop, fmp_pipe_ring(end->in), &end->recv_spin)) {
        return 0;
    }
    return sleep_step(end, deadline_ns);
}

static int
raise_damaged(void)
{
    fmp_py_raise(-EBADMSG, "a damaged message was dropped");
    return FMP_PY_ERROR;
}

static int
await_front(struct fmp_pipe_end *end, uint64_t deadline_ns)
{
    if (fmp_ring_may_pop(fmp_pipe_ring(end->in))) {
        return FMP_PY_READY;
    }
    int rc = fmp_py_wait(listen_step, end, deadline_ns);
    switch (rc) {
    case 0:
        return FMP_PY_READY;
    case -ETIMEDOUT:
        return FMP_PY_TIMEOUT;
    case FMP_PIPE_STANDARD:
        fmp_pipe_become_standard(end);
        return FMP_PIPE_STANDARD;
    case FMP_PIPE_EOF:
        return FMP_PIPE_EOF;
    case -ECANCELED:
        return FMP_PY_ERROR;
    case -EBADMSG:
        return raise_damaged();
    default:
        fmp_py_raise(rc, rc == -EBADF ? "handle is closed" : NULL);
        return FMP_PY_ERROR;
    }
}

int
fmp_pipe_poll(struct fmp_pipe_end *end, uint64_t deadline_ns)
{
    int rc;
    do {
        rc = await_front(end, deadline_ns);
    } while (rc == FMP_PY_READY && !fmp_ring_has_record(fmp_pipe_ring(end->in))); /* only a dead sender's cell */
    return rc;
}

/* After a message was taken: a watched descriptor must not stay readable beside an empty ring. */
static void
hush_if_watched(struct fmp_pipe_end *end)
{
    if (FMP_UNLIKELY(fmp_load_relaxed(&end->in->shm->watched) != 0)) { /* P4: relaxed, behind the fence of end_pop */
        struct fmp_bell bell = fmp_pipe_bell(end, end->in);
        (void)fmp_bell_hush(&bell, fmp_ring_may_pop, fmp_pipe_ring(end->in));
    }
}

int
fmp_pipe_recv(struct fmp_pipe_end *end, struct fmp_message *m)
{
    bool may_pause = true;
    for (;;) {
        int rc = fmp_message_pop(&end->in->channel, m);
        if (FMP_LIKELY(rc == 0)) {
            hush_if_watched(end);
            return FMP_PY_READY;
        }
        if (rc != -EAGAIN) {
            return raise_damaged();
        }
        if (fmp_ring_let_fill(fmp_pipe_ring(end->in), &may_pause)) {
            continue;
        }
        rc = fmp_pipe_poll(end, FMP_NEVER);
        if (rc != FMP_PY_READY) {
            return rc;
        }
    }
}

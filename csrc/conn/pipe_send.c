/* Sending on a pipe: is anybody there, is there room, push, ring; see pipe.h. */
#include "conn/lead.h"
#include "conn/pipe_internal.h"
#include "pyrt/wait.h"
#include "ring/pace.h"
#include "sys/clock.h"
#include "sys/io.h"
#include "wire/encode.h"

/* How long the kernel's word that the peer is there is believed: a poll(2) costs 0.3 us, and without a limit a message
 * to a killed peer would seem to have been sent. A close in order is seen at once (reader_closes). */
#define BELIEVE_NS (20 * UINT64_C(1000))

/* The kernel's answer to whether nobody has the other end. */
static bool
has_hung_up(struct fmp_pipe_end *end)
{
    struct pollfd p = {.fd = fmp_load_relaxed(&end->fd)}; /* relaxed: -1 is never ready */
    return sys_poll_until(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

static bool
ask_kernel(struct fmp_pipe_end *end)
{
    end->closes_seen = fmp_load_acquire(&end->out->shm->reader_closes); /* P2, before the question */
    bool is_gone = has_hung_up(end);
    end->peer_lives_until_ns = is_gone ? 0 : sys_now_ns() + BELIEVE_NS;
    return is_gone;
}

static bool
peer_is_gone(struct fmp_pipe_end *end)
{
    uint32_t closes = fmp_load_acquire(&end->out->shm->reader_closes); /* P2 */
    if (FMP_LIKELY(closes == end->closes_seen && sys_now_ns() < end->peer_lives_until_ns)) {
        return false;
    }
    return ask_kernel(end);
}

static bool
is_within_bytes(struct fmp_ring *ring, uint64_t bytes)
{
    if (FMP_LIKELY(bytes <= FMP_PIPE_BYTES / FMP_PIPE_LIMIT_ONE_WAY)) {
        return true;
    }
    uint64_t count = fmp_ring_count(ring);
    return count == 0 || (count + 1) <= FMP_PIPE_BYTES / bytes;
}

/* A sender that waits until readers have got so far. */
struct wait {
    struct fmp_pipe_end *end;
    uint64_t bytes;    /* until there is room for a message of so many bytes */
    uint64_t position; /* until all messages before this position are taken */
    fmp_ec_ready_fn is_over;
};

static bool
has_room(void *ctx)
{
    const struct wait *w = ctx;
    struct fmp_ring *ring = fmp_pipe_ring(w->end->out);
    return fmp_ring_may_push(ring) && is_within_bytes(ring, w->bytes);
}

static bool
is_taken(void *ctx)
{
    const struct wait *w = ctx;
    /* relaxed: the event count orders the look; head never goes back */
    return (int64_t)(fmp_load_relaxed(&fmp_pipe_ring(w->end->out)->shm->head) - w->position) >= 0;
}

/* 0: look again, it is over or nobody is there to read. Without the GIL. */
static int
reader_step(void *ctx, uint64_t deadline_ns)
{
    struct wait *w = ctx;
    struct fmp_pipe_end *end = w->end;
    int rc = fmp_ec_await(&fmp_pipe_ring(end->out)->shm->space, w->is_over, w, deadline_ns, &end->send_spin);
    if (rc == -EINTR && (fmp_load_relaxed(&end->fd) < 0 || has_hung_up(end))) { /* relaxed: at worst one slice late */
        return 0;
    }
    return rc;
}

/* 0 or -1 with an exception set. */
static int
await_reader(struct wait *w)
{
    int rc = fmp_py_wait(reader_step, w, FMP_NEVER);
    if (rc == 0) {
        return 0;
    }
    if (rc != -ECANCELED) {
        fmp_py_raise(rc, NULL);
    }
    return -1;
}

static int
await_room(struct fmp_pipe_end *end, uint64_t bytes)
{
    struct wait w = {.end = end, .bytes = bytes, .is_over = has_room};
    return await_reader(&w);
}

static int
check_peer(struct fmp_pipe_end *end)
{
    if (FMP_UNLIKELY(fmp_load_relaxed(&end->fd) < 0)) { /* relaxed: changed under the GIL only */
        PyErr_SetString(PyExc_OSError, "handle is closed");
        return -1;
    }
    if (FMP_UNLIKELY(peer_is_gone(end))) {
        fmp_py_raise(-EPIPE, NULL);
        return -1;
    }
    return 0;
}

/* After a push. */
static int
ring_bell(struct fmp_pipe_end *end)
{
    struct fmp_bell bell = fmp_pipe_bell(end, end->out);
    int rc = fmp_bell_ring(&bell, fmp_ring_may_pop, fmp_pipe_ring(end->out));
    if (FMP_UNLIKELY(rc != 0)) {
        fmp_py_raise(rc == -ECONNRESET ? -EPIPE : rc, NULL);
        return FMP_PY_ERROR;
    }
    return FMP_PY_READY;
}

/* Who has sent a message larger than all that may be under way waits until it is being read, as he would for the
 * kernel's pipe. 0 or -1 with an exception set. */
static int
await_taken(struct fmp_pipe_end *end)
{
    /* relaxed: our own message lies before it; later ones of other senders only make the wait longer */
    uint64_t tail = fmp_load_relaxed(&fmp_pipe_ring(end->out)->shm->tail);
    struct wait w = {.end = end, .position = tail, .is_over = is_taken};
    if (await_reader(&w) < 0) {
        return -1;
    }
    return is_taken(&w) ? 0 : check_peer(end);
}

/* What is to be sent: encoded, or prepared. */
struct outgoing {
    uint64_t bytes;
    uint32_t tag;
    struct fmp_wire_writer *writer;
    const struct fmp_message *message;
};

/* 0; -EAGAIN if there is no room; -1 with an exception set. */
static int
offer(struct fmp_pipe_way *way, const struct outgoing *o)
{
    if (!is_within_bytes(fmp_pipe_ring(way), o->bytes)) {
        return -EAGAIN;
    }
    if (FMP_LIKELY(o->writer != NULL)) {
        return fmp_message_send(&way->channel, o->tag, NULL, o->writer);
    }
    int rc = fmp_message_push(&way->channel, o->message);
    if (rc == 0 || rc == -EAGAIN) {
        return rc;
    }
    fmp_py_raise(rc, NULL);
    return -1;
}

static int
send_outgoing(struct fmp_pipe_end *end, const struct outgoing *o)
{
    bool may_pause = true;
    fmp_lead_give_way(&end->out->channel, o->bytes);
    for (;;) {
        if (check_peer(end) < 0) {
            return FMP_PY_ERROR;
        }
        int rc = offer(end->out, o);
        if (FMP_LIKELY(rc == 0)) {
            rc = ring_bell(end);
            return FMP_LIKELY(o->bytes <= FMP_PIPE_BYTES) || rc != FMP_PY_READY ? rc : await_taken(end);
        }
        if (rc == -EAGAIN && fmp_ring_let_drain(fmp_pipe_ring(end->out), &may_pause)) {
            continue;
        }
        if (rc != -EAGAIN || (o->writer != NULL && fmp_wire_settle(o->writer) < 0) || await_room(end, o->bytes) < 0) {
            return FMP_PY_ERROR;
        }
    }
}

int
fmp_pipe_send(struct fmp_pipe_end *end, uint32_t tag, struct fmp_wire_writer *w)
{
    struct outgoing o = {.bytes = fmp_writer_size(w), .tag = tag, .writer = w};
    return send_outgoing(end, &o);
}

int
fmp_pipe_send_message(struct fmp_pipe_end *end, const struct fmp_message *m)
{
    struct outgoing o = {.bytes = m->bytes, .message = m};
    return send_outgoing(end, &o);
}

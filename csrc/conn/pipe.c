/*
 * A pipe; see pipe.h.
 *
 * Order table
 *   P1  close   fetch_add acq_rel on reader_closes, after close(2), with P2: who sees the count finds it closed
 *   P2  send    load acquire of reader_closes, with P1
 *   P3  watch   store seq_cst of `watched` and a fence, then the look at the ring (hush), with P4
 *   P4  recv    load of `watched`, after the fence E1 in fmp_ring_end_pop, with P3: one of the two hushes
 *   P5  decide  CAS acq_rel and loads acquire of `mode`, with P5
 */
#include "conn/pipe.h"

#include "pyrt/wait.h"
#include "sys/clock.h"
#include "sys/io.h"

enum mode { UNDECIDED = 0, RINGS = 1, STANDARD = 2 };

struct fmp_pipe {
    unsigned users; /* ends of this process, and functions under way */
    unsigned count; /* of directions */
    struct fmp_pipe_way ways[2];
};

/* How long the kernel's word that the peer is there is believed: a poll(2) costs 0.3 us, and without a limit a message
 * to a killed peer would seem to have been sent. A close in order is seen at once (reader_closes). */
#define BELIEVE_NS (20 * UINT64_C(1000))
/* Between two looks while a dying peer's cell stands in the way of the end of file. */
#define DYING_NS FMP_NS_PER_MS

static struct fmp_ring *
ring_of(struct fmp_pipe_way *way)
{
    return &way->channel.ring;
}

static struct fmp_bell
bell_of(const struct fmp_pipe_end *end, struct fmp_pipe_way *way)
{
    return (struct fmp_bell){
        .shm = &way->shm->bell,
        .region = ring_of(way)->region,
        .fd = fmp_load_relaxed(&end->fd), /* relaxed: -1 is found out by the system call */
        .is_socket = end->is_socket,
    };
}

/* ---- making and closing ---- */

static int
open_way(struct fmp_pipe_way *way, uint64_t limit)
{
    uint64_t ring_bytes = fmp_ring_bytes(limit);
    if (fmp_handle_new(&way->block, ring_bytes + sizeof *way->shm, FMP_BLOCK_RING) < 0) {
        return -1;
    }
    char *base = fmp_handle_at(&way->block);
    way->shm = (struct fmp_pipe_shm *)(base + ring_bytes);
    (void)fmp_ring_init((struct fmp_ring_shm *)base, limit); /* the limit is a good one */
    return fmp_channel_open(&way->channel, way->block.space, way->block.off, ring_bytes);
}

void
fmp_pipe_hold(struct fmp_pipe *pipe)
{
    pipe->users++;
}

void
fmp_pipe_drop(struct fmp_pipe *pipe)
{
    if (--pipe->users > 0) {
        return;
    }
    for (unsigned i = 0; i < pipe->count; i++) {
        fmp_handle_release(&pipe->ways[i].block); /* with its last holder goes what was never received */
    }
    PyMem_Free(pipe);
}

static struct fmp_pipe *
new_pipe(bool duplex)
{
    struct fmp_pipe *pipe = PyMem_Calloc(1, sizeof *pipe);
    if (pipe == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    pipe->users = 1;
    pipe->count = duplex ? 2 : 1;
    for (unsigned i = 0; i < pipe->count; i++) {
        if (open_way(&pipe->ways[i], duplex ? FMP_PIPE_LIMIT_DUPLEX : FMP_PIPE_LIMIT_ONE_WAY) < 0) {
            fmp_pipe_drop(pipe);
            return NULL;
        }
    }
    return pipe;
}

/* The descriptors, with a byte for each bell. 0 or -errno. */
static int
new_descriptors(int fds[2], bool duplex)
{
    int rc = duplex ? sys_socketpair(fds) : sys_pipe(fds);
    if (rc == 0) {
        rc = sys_put_byte(fds[1], duplex);
        if (rc == 0 && duplex) {
            rc = sys_put_byte(fds[0], true);
        }
        if (rc != 0) {
            sys_close(fds[0]);
            sys_close(fds[1]);
        }
    }
    return rc;
}

static void
attach(struct fmp_pipe_end *end, struct fmp_pipe *pipe, struct fmp_pipe_way *in, struct fmp_pipe_way *out, int fd)
{
    *end = (struct fmp_pipe_end){.pipe = pipe, .in = in, .out = out, .is_socket = pipe->count == 2};
    end->mode = &pipe->ways[0].shm->mode;
    fmp_store_relaxed(&end->fd, fd); /* relaxed: no other thread knows the end yet */
}

int
fmp_pipe_new(struct fmp_pipe_end *a, struct fmp_pipe_end *b, bool duplex)
{
    int fds[2];
    struct fmp_pipe *pipe = new_pipe(duplex);
    if (pipe == NULL) {
        return -1;
    }
    int rc = new_descriptors(fds, duplex);
    if (rc != 0) {
        fmp_pipe_drop(pipe);
        fmp_py_raise(rc, NULL);
        return -1;
    }
    attach(a, pipe, &pipe->ways[0], duplex ? &pipe->ways[1] : NULL, fds[0]);
    attach(b, pipe, duplex ? &pipe->ways[1] : NULL, &pipe->ways[0], fds[1]);
    fmp_pipe_hold(pipe); /* the second end */
    return 0;
}

void
fmp_pipe_end_detach(struct fmp_pipe_end *end)
{
    struct fmp_pipe *pipe = end->pipe;
    end->pipe = NULL;
    fmp_store_relaxed(&end->fd, -1); /* relaxed: a waiting thread sees it at its next look */
    if (pipe != NULL) {
        fmp_pipe_drop(pipe);
    }
}

void
fmp_pipe_end_close(struct fmp_pipe_end *end)
{
    struct fmp_pipe_way *in = end->in;
    int fd = fmp_load_relaxed(&end->fd); /* relaxed: changed under the GIL only */
    if (end->pipe == NULL || fd < 0) {
        return;
    }
    fmp_store_relaxed(&end->fd, -1); /* relaxed: a waiting thread sees it at its next look */
    sys_close(fd);
    if (in != NULL && fmp_space_if_any() != NULL) { /* else this process has let go of the memory already: it exits */
        (void)fmp_fetch_add_acq_rel(&in->shm->reader_closes, 1); /* P1: pairs with P2 */
        fmp_ec_notify(&ring_of(in)->shm->space, INT32_MAX);
    }
    fmp_pipe_end_detach(end);
}

/* ---- what kind of pipe it is ---- */

/* The mode, after trying to make it `wanted`. */
static enum mode
settle_mode(struct fmp_pipe_end *end, enum mode wanted)
{
    uint32_t mode = UNDECIDED;
    return fmp_cas_acq_rel(end->mode, &mode, wanted) ? wanted : (enum mode)mode; /* P5 */
}

/* Takes out a byte too many; but while it is not known whose the bytes are, none is touched. */
static void
heal(struct fmp_pipe_end *end, const struct fmp_bell *bell)
{
    if (end->is_decided || fmp_load_acquire(end->mode) == RINGS) { /* P5 */
        fmp_bell_heal(bell);
    }
}

/* The kernel pair carries the standard protocol from now on: our bell's byte goes out, and the end is no longer ours.
 */
static void
become_standard(struct fmp_pipe_end *end)
{
    int fd = fmp_load_relaxed(&end->fd); /* relaxed: changed under the GIL only */
    if (end->pipe == NULL) {
        return; /* another thread has been here */
    }
    if (end->in != NULL) {
        struct fmp_bell bell = bell_of(end, end->in);
        fmp_bell_remove(&bell);
    }
    fmp_pipe_end_detach(end);
    fmp_store_relaxed(&end->fd, fd); /* relaxed: as above */
}

bool
fmp_pipe_end_decide(struct fmp_pipe_end *end)
{
    if (FMP_UNLIKELY(!end->is_decided)) {
        end->is_decided = settle_mode(end, RINGS) == RINGS;
        if (!end->is_decided) {
            become_standard(end);
        }
    }
    return end->is_decided;
}

bool
fmp_pipe_end_watch(struct fmp_pipe_end *end)
{
    if (!end->is_decided && settle_mode(end, STANDARD) == STANDARD) {
        become_standard(end);
        return true;
    }
    end->is_decided = true;
    if (end->in != NULL) {
        fmp_store_seq_cst(&end->in->shm->watched, 1); /* P3 */
        fmp_fence_seq_cst();                          /* P3: before the look at the ring. Pairs with P4 in recv. */
        (void)fmp_pipe_end_arm(end);
    }
    return false;
}

bool
fmp_pipe_end_arm(struct fmp_pipe_end *end)
{
    if (!end->is_decided && fmp_load_acquire(end->mode) == STANDARD) { /* P5 */
        become_standard(end);
        return true;
    }
    if (end->in == NULL) {
        return false;
    }
    struct fmp_bell bell = bell_of(end, end->in);
    bool is_pending = fmp_bell_hush(&bell, fmp_ring_may_pop, ring_of(end->in));
    if (!is_pending) {
        heal(end, &bell);
    }
    return is_pending;
}

/* ---- sending ---- */

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

struct room {
    struct fmp_pipe_end *end;
    uint64_t bytes; /* of the message to be sent */
};

static bool
is_within_bytes(struct fmp_ring *ring, uint64_t bytes)
{
    if (FMP_LIKELY(bytes <= FMP_PIPE_BYTES / FMP_PIPE_LIMIT_ONE_WAY)) {
        return true;
    }
    uint64_t count = fmp_ring_count(ring);
    return count == 0 || (count + 1) <= FMP_PIPE_BYTES / bytes;
}

static bool
has_room(void *ctx)
{
    struct room *r = ctx;
    struct fmp_ring *ring = ring_of(r->end->out);
    return fmp_ring_may_push(ring) && is_within_bytes(ring, r->bytes);
}

/* 0: look again, there is room or no peer. Without the GIL. */
static int
room_step(void *ctx, uint64_t deadline_ns)
{
    struct room *r = ctx;
    struct fmp_pipe_end *end = r->end;
    int rc = fmp_ec_await(&ring_of(end->out)->shm->space, has_room, r, deadline_ns, &end->send_spin);
    if (rc == -EINTR && (fmp_load_relaxed(&end->fd) < 0 || has_hung_up(end))) { /* relaxed: at worst one slice late */
        return 0;
    }
    return rc;
}

/* 0 or -1 with an exception set. */
static int
await_room(struct fmp_pipe_end *end, uint64_t bytes)
{
    struct room room = {.end = end, .bytes = bytes};
    int rc = fmp_py_wait(room_step, &room, FMP_NEVER);
    if (rc == 0) {
        return 0;
    }
    if (rc != -ECANCELED) {
        fmp_py_raise(rc, NULL);
    }
    return -1;
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
    struct fmp_bell bell = bell_of(end, end->out);
    int rc = fmp_bell_ring(&bell, fmp_ring_may_pop, ring_of(end->out));
    if (FMP_UNLIKELY(rc != 0)) {
        fmp_py_raise(rc == -ECONNRESET ? -EPIPE : rc, NULL);
        return FMP_PY_ERROR;
    }
    return FMP_PY_READY;
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
    if (!is_within_bytes(ring_of(way), o->bytes)) {
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
    for (;;) {
        if (check_peer(end) < 0) {
            return FMP_PY_ERROR;
        }
        int rc = offer(end->out, o);
        if (FMP_LIKELY(rc == 0)) {
            return ring_bell(end);
        }
        if (rc != -EAGAIN || await_room(end, o->bytes) < 0) {
            return FMP_PY_ERROR;
        }
    }
}

int
fmp_pipe_send(struct fmp_pipe_end *end, uint32_t tag, struct fmp_wire_writer *w)
{
    struct outgoing o = {.bytes = fmp_wire_size(w), .tag = tag, .writer = w};
    return send_outgoing(end, &o);
}

int
fmp_pipe_send_message(struct fmp_pipe_end *end, const struct fmp_message *m)
{
    struct outgoing o = {.bytes = m->bytes, .message = m};
    return send_outgoing(end, &o);
}

/* ---- receiving ---- */

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

/* Sleeps in poll(2) for one slice; with a deadline of 0 it only asks about the end of file. */
static int
sleep_step(struct fmp_pipe_end *end, uint64_t deadline_ns)
{
    struct fmp_ring *ring = ring_of(end->in);
    struct fmp_bell bell = bell_of(end, end->in);
    bool may_sleep = deadline_ns != 0;
    if (bell.fd < 0) {
        return -EBADF;
    }
    if (may_sleep && fmp_bell_hush(&bell, fmp_ring_may_pop, ring)) {
        return 0;
    }
    uint64_t slice_end = may_sleep ? sys_slice_end_ns(deadline_ns, FMP_RECHECK_NS) : 0;
    struct pollfd p = {.fd = bell.fd, .events = may_sleep ? POLLIN : 0};
    int n = sys_poll_until(&p, 1, slice_end);
    if (fmp_ring_may_pop(ring)) {
        return 0;
    }
    if (n == 0) {
        return slice_end == deadline_ns ? -ETIMEDOUT : -EINTR;
    }
    if (n < 0 || (p.revents & POLLNVAL) != 0) {
        return n < 0 ? n : -EBADF;
    }
    if ((p.revents & (POLLHUP | POLLERR)) != 0) {
        return at_hang_up(ring);
    }
    /* Woken in vain: a message is being written, another reader has it, or a killed process has left a byte. */
    heal(end, &bell);
    return -EINTR;
}

/* One step of a wait for a message, without the GIL. */
static int
listen_step(void *ctx, uint64_t deadline_ns)
{
    struct fmp_pipe_end *end = ctx;
    if (!end->is_decided && fmp_load_acquire(end->mode) == STANDARD) { /* P5 */
        return FMP_PIPE_STANDARD;
    }
    if (deadline_ns != 0 && fmp_spin_until(fmp_ring_may_pop, ring_of(end->in), &end->recv_spin)) {
        return 0;
    }
    return sleep_step(end, deadline_ns);
}

static int
await_front(struct fmp_pipe_end *end, uint64_t deadline_ns)
{
    if (fmp_ring_may_pop(ring_of(end->in))) {
        return FMP_PY_READY;
    }
    int rc = fmp_py_wait(listen_step, end, deadline_ns);
    switch (rc) {
    case 0:
        return FMP_PY_READY;
    case -ETIMEDOUT:
        return FMP_PY_TIMEOUT;
    case FMP_PIPE_STANDARD:
        become_standard(end);
        return FMP_PIPE_STANDARD;
    case FMP_PIPE_EOF:
        return FMP_PIPE_EOF;
    case -ECANCELED:
        return FMP_PY_ERROR;
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
    } while (rc == FMP_PY_READY && !fmp_ring_has_record(ring_of(end->in))); /* only a dead sender's cell */
    return rc;
}

/* After a message was taken: a watched descriptor must not stay readable beside an empty ring. */
static void
hush_if_watched(struct fmp_pipe_end *end)
{
    if (FMP_UNLIKELY(fmp_load_relaxed(&end->in->shm->watched) != 0)) { /* P4: relaxed, behind the fence of end_pop */
        struct fmp_bell bell = bell_of(end, end->in);
        (void)fmp_bell_hush(&bell, fmp_ring_may_pop, ring_of(end->in));
    }
}

int
fmp_pipe_recv(struct fmp_pipe_end *end, struct fmp_message *m)
{
    for (;;) {
        int rc = fmp_message_pop(&end->in->channel, m);
        if (FMP_LIKELY(rc == 0)) {
            hush_if_watched(end);
            return FMP_PY_READY;
        }
        if (rc != -EAGAIN) {
            fmp_py_raise(rc, "a damaged message was dropped");
            return FMP_PY_ERROR;
        }
        rc = fmp_pipe_poll(end, FMP_NEVER);
        if (rc != FMP_PY_READY) {
            return rc;
        }
    }
}

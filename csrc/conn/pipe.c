/* A pipe: making, closing, and what becomes of its descriptor; see pipe.h. Its order table is in pipe_internal.h. */
#include "conn/pipe_internal.h"
#include "pyrt/travel.h"
#include "pyrt/wait.h"
#include "sys/io.h"

struct fmp_pipe {
    unsigned users; /* ends of this process, and functions under way */
    unsigned count; /* of directions */
    struct fmp_pipe_way ways[2];
};

/* ---- making and closing ---- */

/* A new direction, or with a travel record one that exists. */
static int
open_way(struct fmp_pipe_way *way, uint64_t limit, PyObject *record)
{
    uint64_t ring_bytes = fmp_ring_bytes(limit), bytes = ring_bytes + sizeof *way->shm;
    if (record != NULL) {
        if (fmp_travel_unpack(&way->block, record, FMP_BLOCK_RING, bytes) < 0) {
            return -1;
        }
    } else {
        if (fmp_handle_new(&way->block, bytes, FMP_BLOCK_RING) < 0) {
            return -1;
        }
        (void)fmp_ring_init(fmp_handle_at(&way->block), limit); /* the limit is a good one */
    }
    way->shm = (struct fmp_pipe_shm *)((char *)fmp_handle_at(&way->block) + ring_bytes);
    if (fmp_channel_open(&way->channel, way->block.space, way->block.off, ring_bytes) < 0) {
        return -1;
    }
    way->channel.of_objects = true;
    return 0;
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

/* `records` is NULL for a new pipe. */
static struct fmp_pipe *
new_pipe(bool duplex, PyObject *records)
{
    struct fmp_pipe *pipe = PyMem_Calloc(1, sizeof *pipe);
    if (pipe == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    pipe->users = 1;
    pipe->count = duplex ? 2 : 1;
    for (unsigned i = 0; i < pipe->count; i++) {
        PyObject *record = records != NULL ? PyTuple_GET_ITEM(records, i) : NULL;
        if (open_way(&pipe->ways[i], duplex ? FMP_PIPE_LIMIT_DUPLEX : FMP_PIPE_LIMIT_ONE_WAY, record) < 0) {
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
attach(struct fmp_pipe_end *end, struct fmp_pipe *pipe, bool is_first, int fd)
{
    struct fmp_pipe_way *there = &pipe->ways[0], *back = pipe->count == 2 ? &pipe->ways[1] : NULL;
    *end = (struct fmp_pipe_end){
        .pipe = pipe, .in = is_first ? there : back, .out = is_first ? back : there, .is_socket = pipe->count == 2};
    end->space = pipe->ways[0].block.space;
    end->mode = &pipe->ways[0].shm->mode;
    fmp_store_relaxed(&end->fd, fd); /* relaxed: no other thread knows the end yet */
}

int
fmp_pipe_new(struct fmp_pipe_end *a, struct fmp_pipe_end *b, bool duplex)
{
    int fds[2];
    struct fmp_pipe *pipe = new_pipe(duplex, NULL);
    if (pipe == NULL) {
        return -1;
    }
    int rc = new_descriptors(fds, duplex);
    if (rc != 0) {
        fmp_pipe_drop(pipe);
        fmp_py_raise(rc, NULL);
        return -1;
    }
    attach(a, pipe, true, fds[0]);
    attach(b, pipe, false, fds[1]);
    fmp_pipe_hold(pipe); /* the second end */
    return 0;
}

bool
fmp_pipe_end_is_first(const struct fmp_pipe_end *end)
{
    return end->in == &end->pipe->ways[0];
}

PyObject *
fmp_pipe_end_travel(const struct fmp_pipe_end *end)
{
    struct fmp_pipe *pipe = end->pipe;
    PyObject *records = PyTuple_New(pipe->count);
    for (unsigned i = 0; records != NULL && i < pipe->count; i++) {
        PyObject *record = fmp_travel_pack(&pipe->ways[i].block);
        if (record == NULL || record == Py_None) {
            Py_DECREF(records);
            return record;
        }
        PyTuple_SET_ITEM(records, i, record);
    }
    return records;
}

int
fmp_pipe_end_arrive(struct fmp_pipe_end *end, PyObject *records, bool is_first, int fd)
{
    Py_ssize_t count = PyTuple_GET_SIZE(records);
    if (count != 1 && count != 2) {
        PyErr_Format(PyExc_ValueError, "a pipe has one direction or two, not %zd", count);
        return -1;
    }
    struct fmp_pipe *pipe = new_pipe(count == 2, records);
    if (pipe == NULL) {
        return -1;
    }
    attach(end, pipe, is_first, fd);
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
        fmp_ec_notify(&fmp_pipe_ring(in)->shm->space, INT32_MAX);
    }
    fmp_pipe_end_detach(end);
}

/* ---- what kind of pipe it is ---- */

/* The mode, after trying to make it `wanted`. */
static enum fmp_pipe_mode
settle_mode(struct fmp_pipe_end *end, enum fmp_pipe_mode wanted)
{
    uint32_t mode = FMP_PIPE_IS_UNDECIDED;
    return fmp_cas_acq_rel(end->mode, &mode, wanted) ? wanted : (enum fmp_pipe_mode)mode; /* P5 */
}

void
fmp_pipe_heal(struct fmp_pipe_end *end, const struct fmp_bell *bell)
{
    if (end->is_decided || fmp_load_acquire(end->mode) == FMP_PIPE_IS_RINGS) { /* P5 */
        fmp_bell_heal(bell);
    }
}

void
fmp_pipe_become_standard(struct fmp_pipe_end *end)
{
    int fd = fmp_load_relaxed(&end->fd); /* relaxed: changed under the GIL only */
    if (end->pipe == NULL) {
        return; /* another thread has been here */
    }
    if (end->in != NULL) {
        struct fmp_bell bell = fmp_pipe_bell(end, end->in);
        fmp_bell_remove(&bell);
    }
    fmp_pipe_end_detach(end);
    fmp_store_relaxed(&end->fd, fd); /* relaxed: as above */
}

bool
fmp_pipe_end_decide(struct fmp_pipe_end *end)
{
    if (FMP_UNLIKELY(!end->is_decided)) {
        end->is_decided = settle_mode(end, FMP_PIPE_IS_RINGS) == FMP_PIPE_IS_RINGS;
        if (!end->is_decided) {
            fmp_pipe_become_standard(end);
        }
    }
    return end->is_decided;
}

bool
fmp_pipe_end_watch(struct fmp_pipe_end *end)
{
    if (!end->is_decided && settle_mode(end, FMP_PIPE_IS_STANDARD) == FMP_PIPE_IS_STANDARD) {
        fmp_pipe_become_standard(end);
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
    if (!end->is_decided && fmp_load_acquire(end->mode) == FMP_PIPE_IS_STANDARD) { /* P5 */
        fmp_pipe_become_standard(end);
        return true;
    }
    if (end->in == NULL) {
        return false;
    }
    struct fmp_bell bell = fmp_pipe_bell(end, end->in);
    bool is_pending = fmp_bell_hush(&bell, fmp_ring_may_pop, fmp_pipe_ring(end->in));
    if (!is_pending) {
        fmp_pipe_heal(end, &bell);
    }
    return is_pending;
}

/*
 * The descriptor of a queue, for those who give `queue._reader` to select, asyncio or connection.wait. Called by:
 * queue.c and the other queue_*.c.
 *
 * It is a pipe made with the queue, so that every process that has the queue can ring it. As long as nobody has asked
 * for it, it costs a put one load (sync/bell.h). Forked processes inherit it, others get a copy with the queue. A
 * process that has none, because there were none left or because the sender of the queue had ended, opens it through
 * /proc/PID/fd/N of the process that `bell_place` names, and if that one is gone too, who wants to look at the
 * descriptor makes another one, which the others open in turn.
 *
 * One word {inode:14 | generation:6 | fd:20 | identity:24}, 0 if there never was one: the generation of the descriptor,
 * which the bell's word has too, what tells it from other files, and one process that has it: the latest one to look
 * at it. It is set before the bell's word is; who finds that word behind, moves it on (fmp_bell_renew).
 *
 * Q5  CAS acq_rel and loads of the place: whoever sees a word of the bell that names a generation sees the place of
 * that one, or of a later one.
 */
#include "base/fault.h"
#include "py/queue.h"
#include "sys/io.h"

#define FD_BITS 20
#define FD_MAX ((1 << FD_BITS) - 1) /* a descriptor from here on cannot be named: nobody finds it */
#define PLACE_FD(place) ((int)((place) >> FMP_ID_BITS) & FD_MAX)
#define PLACE_ID(place) ((uint32_t)((place)&FMP_ID_MASK))
#define PLACE_PIPE(place) ((place) >> (FMP_ID_BITS + FD_BITS))
#define PLACE_GENERATION(place) ((uint32_t)PLACE_PIPE(place) % FMP_BELL_GENERATIONS)
#define INODE_MASK ((UINT64_C(1) << 14) - 1)

static struct fmp_region *
region_of(struct fmp_queue *q)
{
    return fmp_queue_ring(q)->region;
}

static struct fmp_bell
bell_of(struct fmp_queue *q)
{
    return (struct fmp_bell){
        .shm = &q->shm->bell, .region = region_of(q), .fd = q->fd, .is_socket = false, .generation = q->fd_generation};
}

/* What `bell_place` says if this process is named. */
static uint64_t
place_here(struct fmp_queue *q)
{
    uint64_t pipe = (q->fd_inode & INODE_MASK) * FMP_BELL_GENERATIONS + q->fd_generation;
    uint64_t fd = (uint64_t)(q->fd < FD_MAX ? q->fd : FD_MAX);
    return (pipe << FD_BITS | fd) << FMP_ID_BITS | (region_of(q)->me & FMP_ID_MASK);
}

static bool
is_ours(struct fmp_queue *q, uint64_t place)
{
    return FMP_LIKELY(q->fd >= 0) && PLACE_PIPE(place) == PLACE_PIPE(place_here(q));
}

static void
keep(struct fmp_queue *q, int fd, uint32_t generation)
{
    fmp_queue_bell_close(q);
    q->fd = fd;
    q->fd_inode = sys_inode(fd);
    q->fd_generation = generation;
}

static bool
is_at(uint64_t place, int fd)
{
    return (sys_inode(fd) & INODE_MASK) == PLACE_PIPE(place) / FMP_BELL_GENERATIONS;
}

/* Opens the descriptor of the process that is named: has it come? */
static bool
open_at(struct fmp_queue *q, uint64_t place)
{
    pid_t pid = PLACE_ID(place) != 0 ? fmp_participant_pid(region_of(q), PLACE_ID(place)) : 0;
    int fd = pid != 0 ? sys_reopen_pipe(pid, PLACE_FD(place)) : -ESRCH;
    if (fd >= 0 && is_at(place, fd)) {
        keep(q, fd, PLACE_GENERATION(place));
        return true;
    }
    if (fd >= 0) {
        sys_close(fd); /* the number is another file's by now */
    }
    return false;
}

/* Has this process the descriptor of the bell, of now? */
static bool
find(struct fmp_queue *q)
{
    uint64_t place = fmp_load_acquire(&q->shm->bell_place); /* Q5 */
    if (FMP_LIKELY(is_ours(q, place))) {
        return true;
    }
    if (place == q->vain_place) {
        return false; /* the place that was asked in vain */
    }
    bool found = open_at(q, place);
    q->vain_place = found ? 0 : place;
    return found;
}

/* Names this process as one that has the descriptor, unless it is an old one by now. Was another named? */
static bool
name_us(struct fmp_queue *q)
{
    uint64_t place = fmp_load_acquire(&q->shm->bell_place); /* Q5 */
    while (is_ours(q, place) && PLACE_ID(place) != region_of(q)->me) {
        if (fmp_cas_acq_rel(&q->shm->bell_place, &place, place_here(q))) { /* Q5 */
            return true;
        }
    }
    return false;
}

/* The bell's word names our descriptor, which is readable if a message is there. -ESTALE if it is an old one. */
static int
renew(struct fmp_queue *q)
{
    struct fmp_bell bell = bell_of(q);
    return fmp_bell_renew(&bell, fmp_ring_may_pop, fmp_queue_ring(q));
}

/* A new descriptor, as nobody can be asked for the one there was. 0, also if somebody else was faster, or -errno. */
static int
make(struct fmp_queue *q)
{
    uint64_t place = fmp_load_acquire(&q->shm->bell_place); /* Q5 */
    int fd = sys_pipe_both_ways();
    if (fd < 0) {
        return fd;
    }
    keep(q, fd, (PLACE_GENERATION(place) + 1) % FMP_BELL_GENERATIONS);
    if (fmp_cas_acq_rel(&q->shm->bell_place, &place, place_here(q))) { /* Q5 */
        FMP_FAULT("bell:placed");
        return 0;
    }
    fmp_queue_bell_close(q);
    return 0;
}

/* Makes sure that this process has the descriptor, and that others find it. 0 or -errno. */
static int
find_or_make(struct fmp_queue *q)
{
    for (;;) {
        q->vain_place = 0;
        int rc = find(q) ? 0 : make(q);
        if (rc < 0) {
            return rc;
        }
        if (q->fd < 0) {
            continue;
        }
        (void)name_us(q);
        if (renew(q) != -ESTALE) {
            return 0;
        }
    }
}

void
fmp_queue_bell_open(struct fmp_queue *q)
{
    int fd = sys_pipe_both_ways();
    if (fd == -ENOENT || fd == -EACCES) {
        fd = sys_eventfd(0); /* without /proc nobody can open it anew, but all who inherit or are sent it can ring */
    }
    if (fd < 0) {
        return;
    }
    keep(q, fd, 0);
    (void)sys_put_byte(fd, false);                         /* the token of a new bell */
    fmp_store_relaxed(&q->shm->bell_place, place_here(q)); /* relaxed: nobody else has the queue yet */
}

void
fmp_queue_bell_arrive(struct fmp_queue *q, int fd)
{
    uint64_t place = fmp_load_acquire(&q->shm->bell_place); /* Q5 */
    if (fd < 0 || !is_at(place, fd)) {
        if (fd >= 0) {
            sys_close(fd); /* of an older bell */
        }
        (void)find(q);
        return;
    }
    keep(q, fd, PLACE_GENERATION(place));
    if (fmp_participant_fate(region_of(q), PLACE_ID(place)) != FMP_ALIVE) {
        (void)name_us(q);
    }
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
    (void)fmp_load_acquire(&q->shm->bell.word); /* Q5: the place of this word's descriptor, or of a later one */
    while (find(q)) {
        struct fmp_bell bell = bell_of(q);
        /* The message is sent, whatever becomes of the bell. */
        if (fmp_bell_ring(&bell, fmp_ring_may_pop, fmp_queue_ring(q)) != -ESTALE ||
            is_ours(q, fmp_load_acquire(&q->shm->bell_place))) { /* Q5 */
            return; /* ours, and the word is behind: who renews it looks at the ring afterwards */
        }
    }
}

void
fmp_queue_bell_hush(struct fmp_queue *q)
{
    if (!find(q)) {
        return;
    }
    if (q->watches && name_us(q)) {
        (void)renew(q);
    }
    struct fmp_bell bell = bell_of(q);
    (void)fmp_bell_hush(&bell, fmp_ring_may_pop, fmp_queue_ring(q));
}

void
fmp_queue_bell_heal(struct fmp_queue *q)
{
    struct fmp_bell bell = bell_of(q);
    if (q->fd >= 0) {
        fmp_bell_heal(&bell);
    }
}

PyObject *
fmp_queue_fileno(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct fmp_queue *q = (struct fmp_queue *)self;
    if (q->handle.off == 0) {
        return fmp_py_raise(-EBADF, "the queue is not initialised");
    }
    int rc = find_or_make(q);
    if (rc < 0) {
        return fmp_py_raise(rc, "no descriptor is left for the queue");
    }
    q->watches = true;
    fmp_store_seq_cst(&q->shm->watched, 1); /* Q3: before the look at the ring. Pairs with Q4. */
    fmp_queue_bell_hush(q);
    return PyLong_FromLong(q->fd);
}

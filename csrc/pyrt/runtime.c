/* The runtime under every Python type: space, handles, fork, exit; see runtime.h. */
#include "pyrt/runtime.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "heap/parcels.h"
#include "pyrt/children.h"
#include "pyrt/wait.h"
#include "ring/ring.h"
#include "sys/clock.h"
#include "sys/memory.h"
#include "sys/process.h"

/* Between two looks for dead orphans. */
#define ORPHANS_LOOK_NS (100 * FMP_NS_PER_MS)
/* At each fork and every so many new objects one process is looked at (some 20 us); so many slots are passed to find
 * it. */
#define NOTICE_EVERY 32
#define NOTICE_SLOTS 256

unsigned fmp_fork_generation;

/* All of it is private to the process. The mutex guards `handles` against a fork from a thread without the GIL. */
static struct {
    struct fmp_space space;
    bool made;                /* `space` is usable */
    bool left;                /* this process has left it for good */
    uint32_t child;           /* reserved by the fork that is under way */
    uint64_t orphans_next_ns; /* not looked for before */
    pthread_mutex_t mutex;
    struct fmp_handle handles; /* list head */
} rt = {.mutex = PTHREAD_MUTEX_INITIALIZER, .handles = {.prev = &rt.handles, .next = &rt.handles}};

/* FASTMP_REGION_SIZE in bytes: for address spaces that are limited, and for tests of a full region. 0 = as large as can
 * be had. */
static uint64_t
region_size_wanted(void)
{
    const char *env = getenv("FASTMP_REGION_SIZE");
    return env != NULL ? strtoull(env, NULL, 10) & ~UINT64_C(4095) : 0;
}

/* Buries every participant that was killed and that nobody has noticed. */
static void
sweep_dead(struct fmp_space *space)
{
    for (uint32_t slot = 0; slot < FMP_PARTICIPANTS_MAX; slot++) {
        uint32_t id = fmp_participant_in_slot(&space->region, slot);
        if (id != 0 && fmp_participant_is_killed(&space->region, id)) {
            fmp_space_bury(space, id);
        }
    }
}

/* Looks at the next slot in use: children of a plain fork that were killed, or left by _exit, are noticed in the course
 * of things. */
static void
notice_one(struct fmp_space *space)
{
    static uint32_t slot;
    for (unsigned i = 0; i < NOTICE_SLOTS; i++) {
        slot = (slot + 1) % FMP_PARTICIPANTS_MAX;
        uint32_t id = fmp_participant_in_slot(&space->region, slot);
        if (id != 0 && id != space->region.me) {
            if (fmp_participant_is_killed(&space->region, id)) {
                fmp_space_bury(space, id);
            }
            return;
        }
    }
}

/* Those whose parent was killed, and who were killed in turn or never born: nobody reaps them here. So they are looked
 * after when a process is started or has ended, but not too often. */
static void
bury_orphans(void)
{
    uint64_t now = sys_now_ns();
    if (now < rt.orphans_next_ns) {
        return;
    }
    rt.orphans_next_ns = now + ORPHANS_LOOK_NS;
    for (uint32_t slot = 0; slot < FMP_PARTICIPANTS_MAX; slot++) {
        uint32_t id = fmp_participant_orphan_in_slot(&rt.space.region, slot);
        if (id != 0 && fmp_participant_is_killed(&rt.space.region, id)) {
            fmp_space_bury(&rt.space, id);
        }
    }
}

static int
join(struct fmp_space *space)
{
    int rc = fmp_participant_join(&space->region);
    if (rc == -EAGAIN) {
        sweep_dead(space);
        rc = fmp_participant_join(&space->region);
    }
    return rc;
}

/* For the heap, which lies below the rings: does a cell that somebody alive will read still name the message? */
static bool
is_carried(struct fmp_region *region, fmp_off off, uint64_t bytes, uint64_t position)
{
    struct fmp_ring ring;
    return fmp_ring_open(&ring, region, off, bytes) == 0 && fmp_ring_carries(&ring, position);
}

static int
make_space(struct fmp_space *space)
{
    int rc = fmp_region_create(&space->region, region_size_wanted());
    if (rc != 0) {
        return rc;
    }
    rc = join(space);
    if (rc == 0) {
        rc = fmp_heap_open(&space->heap, &space->region);
    }
    if (rc != 0) {
        fmp_region_close(&space->region);
        return rc;
    }
    fmp_heap_set_carried(space->heap, is_carried);
    return atexit(fmp_runtime_leave) == 0 ? 0 : -ENOMEM;
}

struct fmp_space *
fmp_space_default(void)
{
    int rc = 0;
    if (FMP_UNLIKELY(rt.left)) {
        PyErr_SetString(PyExc_RuntimeError, "this process has left fastmp's shared memory: it is exiting");
        return NULL;
    }
    if (FMP_UNLIKELY(!rt.made)) {
        rc = make_space(&rt.space);
        rt.made = rc == 0;
    } else if (FMP_UNLIKELY(rt.space.region.me == 0)) {
        rc = join(&rt.space);
    }
    if (rc != 0) {
        fmp_py_raise(rc, rc == -EAGAIN ? "too many processes use one fastmp region" : NULL);
        return NULL;
    }
    return &rt.space;
}

struct fmp_space *
fmp_space_if_any(void)
{
    return rt.made && !rt.left ? &rt.space : NULL;
}

struct fmp_space *
fmp_space_around(const void *at, uint64_t bytes)
{
    struct fmp_space *space = fmp_space_if_any();
    if (space == NULL || (const char *)at < space->region.base) {
        return NULL;
    }
    return fmp_region_holds(&space->region, fmp_off_of(&space->region, at), bytes) ? space : NULL;
}

void
fmp_space_bury(struct fmp_space *space, uint32_t id)
{
    fmp_heap_reclaim(space->heap, id);
}

/* ---- handles ---- */

static void
link_handle(struct fmp_handle *h)
{
    pthread_mutex_lock(&rt.mutex);
    h->prev = rt.handles.prev;
    h->next = &rt.handles;
    h->prev->next = h->next->prev = h;
    pthread_mutex_unlock(&rt.mutex);
}

static void
unlink_handle(struct fmp_handle *h)
{
    pthread_mutex_lock(&rt.mutex);
    h->prev->next = h->next;
    h->next->prev = h->prev;
    pthread_mutex_unlock(&rt.mutex);
}

int
fmp_handle_new(struct fmp_handle *h, uint64_t bytes, enum fmp_block_kind kind)
{
    struct fmp_space *space = fmp_space_default();
    if (space == NULL) {
        return -1;
    }
    static unsigned count;
    if (++count % NOTICE_EVERY == 0) {
        notice_one(space);
    }
    fmp_off off;
    int rc = fmp_heap_alloc_shared(space->heap, bytes, kind, &off);
    if (rc == -ENOSPC) {
        sweep_dead(space);
        rc = fmp_heap_alloc_shared(space->heap, bytes, kind, &off);
    }
    if (rc != 0) {
        fmp_py_raise(rc, NULL);
        return -1;
    }
    *h = (struct fmp_handle){.space = space, .off = off, .bytes = bytes, .shared = true};
    link_handle(h);
    return 0;
}

void
fmp_handle_take(struct fmp_handle *h, struct fmp_space *space, fmp_off off)
{
    *h = (struct fmp_handle){.space = space, .off = off, .bytes = fmp_heap_usable(space->heap, off)};
    link_handle(h);
}

static void
let_go(struct fmp_handle *h)
{
    if (h->shared) {
        fmp_heap_drop(h->space->heap, h->off, h->space->region.me);
    } else {
        fmp_heap_free(h->space->heap, h->off);
    }
}

void
fmp_handle_release(struct fmp_handle *h)
{
    if (h->off == 0) {
        return;
    }
    unlink_handle(h);
    if (!rt.left && h->space->region.me != 0) {
        let_go(h);
    }
    h->off = 0;
}

/* ---- fork ---- */

/* Before fork: the child becomes a holder of everything that this process holds, so nothing can be freed under it. */
static void
before_fork(void)
{
    if (fmp_space_if_any() != NULL && Py_IsInitialized() && PyGILState_Check()) { /* the heap's hints want the GIL */
        notice_one(&rt.space);
    }
    pthread_mutex_lock(&rt.mutex);
    rt.child = 0;
    if (!rt.made || rt.left || rt.space.region.me == 0) {
        return;
    }
    rt.child = fmp_participant_reserve(&rt.space.region);
    for (struct fmp_handle *h = rt.handles.next; rt.child != 0 && h != &rt.handles; h = h->next) {
        h->shared = h->shared || fmp_heap_share(rt.space.heap, h->off) == 0;
        if (h->shared) {
            fmp_heap_hold(rt.space.heap, h->off, rt.child);
        }
    }
}

static void
after_fork_in_parent(void)
{
    pthread_mutex_unlock(&rt.mutex);
}

static void
after_fork_in_child(void)
{
    pthread_mutex_unlock(&rt.mutex);
    fmp_fork_generation++;
    fmp_children_forget();
    if (!rt.made) {
        return;
    }
    rt.space.region.me = 0;
    if (rt.child != 0) {
        (void)fmp_participant_adopt(&rt.space.region,
                                    rt.child); /* on failure the next use joins anew, or says why not */
    }
    fmp_heap_after_fork(rt.space.heap);
}

/* The fork failed: nobody will ever be `rt.child`. */
static void
fork_failed(void)
{
    if (rt.child != 0) {
        (void)fmp_participant_mark_dead(&rt.space.region, rt.child);
        fmp_space_bury(&rt.space, rt.child);
    }
}

pid_t
fmp_runtime_fork(void)
{
    /* os.fork brackets the fork with PyOS_BeforeFork and PyOS_AfterFork_*, audits it, and warns of threads as the user
     * expects. */
    PyObject *os = PyImport_ImportModule("os");
    PyObject *result = os != NULL ? PyObject_CallMethod(os, "fork", NULL) : NULL;
    Py_XDECREF(os);
    if (result == NULL) {
        fork_failed();
        return -1;
    }
    pid_t pid = (pid_t)PyLong_AsLong(result);
    Py_DECREF(result);
    if (pid > 0 && rt.child != 0) {
        fmp_participant_name_child(&rt.space.region, rt.child, pid);
        fmp_children_add(pid, rt.child);
        bury_orphans();
    }
    return pid;
}

void
fmp_runtime_reaped(pid_t pid)
{
    uint32_t id = fmp_children_take(pid);
    if (id == 0 || fmp_space_if_any() == NULL) {
        return;
    }
    if (fmp_participant_is_killed(&rt.space.region, id)) {
        fmp_space_bury(&rt.space, id);
        rt.orphans_next_ns = 0; /* it may have left some */
    }
    bury_orphans();
}

void
fmp_runtime_leave(void)
{
    if (!rt.made || rt.left) {
        return;
    }
    if (rt.space.region.me != 0) {
        fmp_parcels_leave(rt.space.heap);
    }
    for (struct fmp_handle *h = rt.handles.next; rt.space.region.me != 0 && h != &rt.handles; h = h->next) {
        let_go(h);
    }
    fmp_participant_leave(&rt.space.region);
    rt.left = true;
}

/* ---- start ---- */

static int
missing(const char *what)
{
    PyErr_Format(PyExc_ImportError, "fastmp needs %s, which this kernel (or its sandbox) does not offer", what);
    return -1;
}

int
fmp_runtime_start(void)
{
    static bool started;
    if (started) {
        return 0;
    }
    int fd = sys_memfd("fastmp-probe", 0);
    if (fd == -ENOSYS || fd == -EPERM) {
        return missing("memfd_create (Linux 3.17)");
    }
    if (fd >= 0) {
        close(fd);
    }
    fd = sys_pidfd_open(getpid());
    if (fd == -ENOSYS || fd == -EPERM) {
        return missing("pidfd_open (Linux 5.3)");
    }
    if (fd >= 0) {
        close(fd);
    }
    int rc = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (rc != 0) {
        fmp_py_raise(-rc, NULL);
        return -1;
    }
    started = true;
    return 0;
}

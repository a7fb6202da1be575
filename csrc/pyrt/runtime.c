/* The runtime under every Python type: the default space, handles, exit, start; see runtime.h. Forks are in fork.c.. */
#include "pyrt/runtime_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap/parcels.h"
#include "pyrt/handles.h"
#include "pyrt/newcomers.h"
#include "pyrt/wait.h"
#include "sync/death.h"
#include "sys/memory.h"
#include "sys/process.h"

/* At each fork and every so many new objects one process is looked at (some 20 us). */
#define NOTICE_EVERY 32

struct fmp_runtime fmp_rt = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void
raise_no_space(int rc)
{
    fmp_py_raise(rc, rc == -EAGAIN ? "too many processes use one fastmp region" : NULL);
}

void
fmp_space_set_default(struct fmp_space *space)
{
    fmp_rt.space = space;
}

struct fmp_space *
fmp_space_default(void)
{
    if (FMP_UNLIKELY(fmp_rt.left)) {
        PyErr_SetString(PyExc_RuntimeError, "this process has left fastmp's shared memory: it is exiting");
        return NULL;
    }
    if (FMP_UNLIKELY(fmp_rt.space == NULL)) {
        int rc = fmp_space_make(&fmp_rt.space);
        if (rc != 0) {
            raise_no_space(rc);
            return NULL;
        }
    }
    return fmp_space_me(fmp_rt.space) != 0 || fmp_space_use(fmp_rt.space) != 0 ? fmp_rt.space : NULL;
}

uint32_t
fmp_space_use(struct fmp_space *space)
{
    if (FMP_UNLIKELY(fmp_rt.left)) {
        PyErr_SetString(PyExc_RuntimeError, "this process has left fastmp's shared memory: it is exiting");
        return 0;
    }
    int rc = fmp_space_me(space) == 0 ? fmp_space_join(space, 0) : 0;
    if (rc != 0) {
        raise_no_space(rc);
    }
    return fmp_space_me(space);
}

struct fmp_space *
fmp_space_if_any(void)
{
    return fmp_rt.left ? NULL : fmp_rt.space;
}

struct fmp_space *
fmp_space_around(const void *at, uint64_t bytes)
{
    for (struct fmp_space *s = fmp_rt.left ? NULL : fmp_spaces; s != NULL; s = s->next) {
        const char *base = s->region.base;
        if ((const char *)at >= base && fmp_region_holds(&s->region, fmp_off_of(&s->region, at), bytes)) {
            return s;
        }
    }
    return NULL;
}

/* ---- handles ---- */

static void
link_handle(struct fmp_handle *h)
{
    pthread_mutex_lock(&fmp_rt.mutex);
    fmp_handles_add(h);
    pthread_mutex_unlock(&fmp_rt.mutex);
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
        fmp_space_notice_one(space);
    }
    fmp_off off;
    int rc = fmp_heap_alloc_shared(space->heap, bytes, kind, &off);
    if (rc == -ENOSPC) {
        fmp_space_sweep_dead(space);
        rc = fmp_heap_alloc_shared(space->heap, bytes, kind, &off);
    }
    if (rc != 0) {
        fmp_py_raise(rc, rc == -ENOSPC ? "no room in fastmp's shared memory" : NULL);
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

void
fmp_handle_open(struct fmp_handle *h, struct fmp_space *space, fmp_off off)
{
    fmp_handle_take(h, space, off);
    h->shared = true;
}

int
fmp_handle_share(struct fmp_handle *h)
{
    int rc = h->shared ? 0 : fmp_heap_share(h->space->heap, h->off);
    h->shared = rc == 0;
    return rc;
}

static void
let_go(struct fmp_handle *h)
{
    if (h->space->region.me == 0) {
        return; /* a fork that we did not see: the block is held in another's name */
    }
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
    pthread_mutex_lock(&fmp_rt.mutex);
    fmp_handles_remove(h);
    bool is_last = fmp_handles_find(h->space, h->off) == NULL;
    pthread_mutex_unlock(&fmp_rt.mutex);
    if (!fmp_rt.left && is_last) {
        let_go(h);
    }
    h->off = 0;
}

/* ---- exit ---- */

void
fmp_runtime_leave(void)
{
    if (fmp_rt.left) {
        return;
    }
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        if (s->region.me != 0) {
            fmp_parcels_leave(s->heap);
        }
    }
    fmp_handles_each(let_go);
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        if (s->was_awaited && s->region.me != 0) {
            fmp_heap_drop_all(s->heap, s->region.me, 0); /* what was meant for it and never came into its hands */
        }
        fmp_participant_leave(&s->region);
    }
    fmp_death_forget();
    fmp_rt.left = fmp_spaces != NULL;
}

/* ---- start ---- */

static int
missing(const char *what)
{
    PyErr_Format(PyExc_ImportError, "fastmp needs %s, which this kernel (or its sandbox) does not offer", what);
    return -1;
}

/* A setting that is no number would count as 0, and nobody would know why. */
static int
check_bytes(const char *name)
{
    const char *text = getenv(name);
    if (text == NULL || strspn(text, "0123456789") == strlen(text)) {
        return 0;
    }
    PyErr_Format(PyExc_ImportError, "%s must be a number of bytes, not %s", name, text);
    return -1;
}

int
fmp_runtime_start(void)
{
    static bool started;
    if (started) {
        return 0;
    }
    if (check_bytes("FASTMP_WARM_BYTES") < 0 || check_bytes("FASTMP_REGION_SIZE") < 0) {
        return -1;
    }
    fmp_newcomers_after_fork(); /* its thread-local word gets its memory here, and not in each child anew */
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
    int rc = fmp_runtime_watch_forks();
    if (rc != 0) {
        fmp_py_raise(-rc, NULL);
        return -1;
    }
    if (atexit(fmp_runtime_leave) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    started = true;
    return 0;
}

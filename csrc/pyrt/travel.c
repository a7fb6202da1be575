/* Handles on their way to another process; see travel.h. */
#include "pyrt/travel.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "pyrt/newcomers.h"
#include "pyrt/wait.h"

int
fmp_travel_out(struct fmp_handle *h, struct fmp_travel *t)
{
    if (fmp_newcomer_held_for() == 0) {
        return FMP_TRAVEL_NO_WAY;
    }
    int rc = fmp_space_use(h->space) != 0 ? fmp_handle_share(h) : -ECANCELED;
    if (rc != 0) {
        if (rc != -ECANCELED) {
            fmp_py_raise(rc, NULL);
        }
        return FMP_TRAVEL_ERROR;
    }
    *t = (struct fmp_travel){
        .off = h->off,
        .life = fmp_heap_life(h->space->heap, h->off),
        .pid = (int32_t)getpid(),
        .fd = h->space->region.fd,
        .identity = fmp_newcomer_hold(h),
    };
    memcpy(t->token, fmp_region_header(&h->space->region)->token, sizeof t->token);
    return t->identity != 0 ? FMP_TRAVEL_READY : FMP_TRAVEL_ERROR;
}

/* ---- the way back ---- */

static void
raise_gone(void)
{
    fmp_py_raise(-ENOENT, "the shared object is gone, or was never sent to this process");
}

/* The region of another family, through its sender's descriptor. NULL with an exception set. */
static struct fmp_space *
open_through_sender(const struct fmp_travel *t)
{
    char path[48];
    struct fmp_space *space = NULL;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)t->pid, (int)t->fd);
    int fd = t->pid > 0 && t->fd >= 0 ? open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
    int rc = fd >= 0 ? fmp_space_attach(&space, fd, t->token, t->identity & FMP_ID_MASK) : -ENOENT;
    if (fd >= 0) {
        close(fd);
    }
    if (rc != 0) {
        PyErr_Format(PyExc_ConnectionRefusedError,
                     "the shared memory of process %d, in which the object lies, cannot be had: %s", (int)t->pid,
                     rc == -EPROTO ? "another one is in its place" : strerror(-rc));
    }
    return space;
}

int
fmp_travel_in(struct fmp_handle *h, const struct fmp_travel *t, enum fmp_block_kind kind, uint64_t bytes)
{
    struct fmp_space *space = fmp_space_of_token(t->token);
    if (space == NULL) {
        space = open_through_sender(t);
    }
    if (space == NULL || fmp_space_use(space) == 0) {
        return -1;
    }
    if (!fmp_heap_is_held(space->heap, t->off, t->life, kind, bytes)) {
        raise_gone();
        return -1;
    }
    fmp_handle_open(h, space, t->off);
    return 0;
}

/* ---- as Python objects ---- */

PyObject *
fmp_travel_pack(struct fmp_handle *h)
{
    struct fmp_travel t;
    switch (fmp_travel_out(h, &t)) {
    case FMP_TRAVEL_READY:
        return PyBytes_FromStringAndSize((const char *)&t, sizeof t);
    case FMP_TRAVEL_NO_WAY:
        Py_RETURN_NONE;
    default:
        return NULL;
    }
}

int
fmp_travel_unpack(struct fmp_handle *h, PyObject *record, enum fmp_block_kind kind, uint64_t bytes)
{
    struct fmp_travel t;
    if (!PyBytes_CheckExact(record)) {
        PyErr_Format(PyExc_TypeError, "a travel record is bytes, not %.200s", Py_TYPE(record)->tp_name);
        return -1;
    }
    if (PyBytes_GET_SIZE(record) != sizeof t) {
        PyErr_Format(PyExc_ValueError, "a travel record has %zu bytes, not %zd", sizeof t, PyBytes_GET_SIZE(record));
        return -1;
    }
    memcpy(&t, PyBytes_AS_STRING(record), sizeof t);
    return fmp_travel_in(h, &t, kind, bytes);
}

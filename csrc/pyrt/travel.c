/* Handles on their way to another process; see travel.h. */
#include "pyrt/travel.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "heap/parcels.h"
#include "pyrt/carrier.h"
#include "pyrt/newcomers.h"
#include "pyrt/wait.h"

int
fmp_travel_out(struct fmp_handle *h, struct fmp_travel *t)
{
    int rc = fmp_space_use(h->space) != 0 ? fmp_handle_share(h) : -ECANCELED;
    if (rc != 0) {
        if (rc != -ECANCELED) {
            fmp_py_raise(rc, NULL);
        }
        return -1;
    }
    *t = (struct fmp_travel){
        .off = h->off,
        .life = fmp_heap_life(h->space->heap, h->off),
        .pid = (int32_t)getpid(),
        .fd = h->space->region.fd,
    };
    memcpy(t->token, fmp_region_header(&h->space->region)->token, sizeof t->token);
    if (fmp_newcomer_held_for() == 0) {
        return fmp_carrier_pack(h->space, h->off, &t->parcel, &t->ticket);
    }
    t->identity = fmp_newcomer_hold(h);
    return t->identity != 0 ? 0 : -1;
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

/* The block that the record's parcel names becomes this process's too: `h` is a handle on it. -1 with an exception. */
static int
open_parcel(struct fmp_handle *h, struct fmp_space *space, const struct fmp_travel *t)
{
    fmp_off target;
    bool is_loan = fmp_parcel_is_loan(space->heap, t->parcel, t->ticket);
    if (is_loan && fmp_parcel_take(space->heap, t->parcel, t->ticket) != 0) {
        raise_gone();
        return -1;
    }
    int rc = fmp_parcel_open(space->heap, t->parcel, &target);
    if (rc == 0) {
        fmp_handle_open(h, space, target);
    } else {
        raise_gone();
    }
    if (is_loan) {
        fmp_parcel_free(space->heap, t->parcel);
    }
    return rc == 0 ? 0 : -1;
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
    struct fmp_handle opened = {0};
    if (t->parcel != 0 && open_parcel(&opened, space, t) < 0) {
        return -1;
    }
    bool is_there = fmp_heap_is_held(space->heap, t->off, t->life, kind, bytes);
    if (is_there) {
        fmp_handle_open(h, space, t->off);
    } else {
        raise_gone();
    }
    fmp_handle_release(&opened);
    return is_there ? 0 : -1;
}

/* ---- as Python objects ---- */

PyObject *
fmp_travel_pack(struct fmp_handle *h)
{
    struct fmp_travel t;
    return fmp_travel_out(h, &t) == 0 ? PyBytes_FromStringAndSize((const char *)&t, sizeof t) : NULL;
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

/* The writer: memory, segments, the copy into place; see encode.h. */
#include "wire/encode.h"
#include "wire/fill.h"
#include "wire/large.h"

/* Own bytes that are kept for the next message. */
#define KEEP_BYTES 262144

/* One writer at rest: making one for each message costs nothing. Guarded by the GIL. */
static struct fmp_wire_writer *spare;

struct fmp_wire_writer *
fmp_wire_writer_new(void)
{
    struct fmp_wire_writer *w = spare;
    if (FMP_LIKELY(w != NULL)) {
        spare = NULL;
        return w;
    }
    w = PyMem_Calloc(1, sizeof *w);
    if (w == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    w->start = w->next = w->scratch;
    w->end = w->scratch + FMP_WIRE_SCRATCH;
    fmp_seen_number(&w->seen, false);
    return w;
}

void
fmp_wire_writer_free(struct fmp_wire_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->busy) {
        fmp_wire_reset(w);
    }
    Py_CLEAR(w->definitions);
    if (spare == NULL) {
        spare = w;
        return;
    }
    fmp_wire_forget_pickler(w);
    fmp_carrier_close(&w->carrier);
    if (w->start != w->scratch) {
        PyMem_Free(w->start);
    }
    PyMem_Free(w->segments.list);
    PyMem_Free(w->buffers.list);
    PyMem_Free(w);
}

void
fmp_wire_ask(struct fmp_wire_writer *w, PyObject *definitions)
{
    Py_XSETREF(w->definitions, Py_NewRef(definitions));
}

/* Own bytes to the heap, at least twice as many as before. */
int
fmp_writer_grow(struct fmp_wire_writer *w, size_t bytes)
{
    size_t own = fmp_writer_own(w), room = (size_t)(w->end - w->start) * 2;
    if (bytes > PY_SSIZE_T_MAX / 2 - own) {
        PyErr_NoMemory();
        return -1;
    }
    if (room < own + bytes) {
        room = own + bytes;
    }
    bool in_scratch = w->start == w->scratch;
    unsigned char *start = PyMem_Realloc(in_scratch ? NULL : w->start, room);
    if (start == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (in_scratch) {
        memcpy(start, w->scratch, own);
    }
    w->start = start;
    w->next = start + own;
    w->end = start + room;
    return 0;
}

/* The place of one segment more, not yet counted; NULL with MemoryError. */
static struct fmp_wire_segment *
next_segment(struct fmp_wire_segments *s)
{
    if (FMP_UNLIKELY(s->count == s->room)) {
        size_t room = s->room ? s->room * 2 : 8;
        struct fmp_wire_segment *list = PyMem_Realloc(s->list, room * sizeof *list);
        if (list == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        s->list = list;
        s->room = room;
    }
    return &s->list[s->count];
}

int
fmp_segments_append(struct fmp_wire_segments *s, const struct fmp_wire_segment *segment)
{
    struct fmp_wire_segment *place = next_segment(s);
    if (place == NULL) {
        return -1;
    }
    *place = *segment;
    s->count++;
    return 0;
}

int
fmp_writer_add_view(struct fmp_wire_writer *w, size_t pad, Py_buffer *view)
{
    struct fmp_wire_segment segment = {.at = fmp_writer_own(w), .pad = pad, .view = *view};
    if (fmp_segments_append(&w->segments, &segment) < 0) {
        PyBuffer_Release(view);
        return -1;
    }
    w->segment_bytes += pad + (size_t)view->len;
    return 0;
}

int
fmp_writer_copy_view(struct fmp_wire_writer *w, Py_buffer *view)
{
    int rc = fmp_writer_room(w, (size_t)view->len);
    if (rc == 0) {
        fmp_writer_copy(w, view->buf, (size_t)view->len);
    }
    PyBuffer_Release(view);
    return rc;
}

int
fmp_view_freeze(Py_buffer *view)
{
    PyObject *copy = fmp_large_bytes(view->buf, (size_t)view->len);
    if (copy == NULL) {
        return -1;
    }
    PyBuffer_Release(view);
    int rc = PyObject_GetBuffer(copy, view, PyBUF_FULL_RO); /* a bytes object never refuses */
    Py_DECREF(copy);
    return rc;
}

/* What PyBuffer_FillInfo would make of it, but for what nobody asks: PyBuffer_Release needs the object alone. */
int
fmp_writer_add_leaf(struct fmp_wire_writer *w, PyObject *o, const void *data, size_t bytes)
{
    struct fmp_wire_segment *place = next_segment(&w->segments);
    if (place == NULL) {
        return -1;
    }
    place->at = fmp_writer_own(w);
    place->pad = 0;
    place->view.buf = (void *)data;
    place->view.len = (Py_ssize_t)bytes;
    place->view.obj = Py_NewRef(o);
    w->segments.count++;
    w->segment_bytes += bytes;
    return 0;
}

static void
release_segments(struct fmp_wire_segments *s)
{
    while (s->count > 0) {
        PyBuffer_Release(&s->list[--s->count].view);
    }
}

void
fmp_writer_clear(struct fmp_wire_writer *w)
{
    if ((w->segments.count | w->buffers.count | w->carrier.count) != 0) {
        release_segments(&w->segments);
        release_segments(&w->buffers);
        fmp_carrier_drop(&w->carrier);
    }
    w->segment_bytes = 0;
    w->next = w->start;
    fmp_seen_clear(&w->seen);
}

void
fmp_wire_reset(struct fmp_wire_writer *w)
{
    fmp_writer_clear(w);
    if (FMP_UNLIKELY(w->end - w->start > KEEP_BYTES)) {
        PyMem_Free(w->start);
        w->start = w->next = w->scratch;
        w->end = w->scratch + FMP_WIRE_SCRATCH;
        fmp_wire_forget_pickler(w); /* its memo has grown as well */
    }
    w->busy = false;
}

bool
fmp_wire_has_references(const struct fmp_wire_writer *w)
{
    return w->carrier.count != 0;
}

size_t
fmp_wire_parcels(struct fmp_wire_writer *w, const struct fmp_space *space)
{
    return FMP_LIKELY(w->carrier.count == 0) ? 0 : fmp_carrier_settle(&w->carrier, space);
}

void
fmp_wire_copy_parcels(const struct fmp_wire_writer *w, fmp_off *dst)
{
    for (size_t i = 0; i < w->carrier.count; i++) {
        dst[i] = w->carrier.list[i].parcel;
    }
}

void
fmp_wire_let_go(struct fmp_wire_writer *w)
{
    fmp_carrier_forget(&w->carrier);
}

size_t
fmp_wire_size(const struct fmp_wire_writer *w)
{
    return fmp_writer_size(w);
}

void
fmp_wire_copy(const struct fmp_wire_writer *w, void *dst)
{
    unsigned char *to = dst;
    size_t done = 0;
    for (size_t i = 0; i < w->segments.count; i++) {
        const struct fmp_wire_segment *s = &w->segments.list[i];
        fmp_copy(to, w->start + done, s->at - done);
        to += s->at - done;
        done = s->at;
        if (s->pad != 0) {
            memset(to, 0, s->pad);
            to += s->pad;
        }
        fmp_wire_fill(to, s->view.buf, (size_t)s->view.len);
        to += s->view.len;
    }
    fmp_copy(to, w->start + done, fmp_writer_own(w) - done);
}

/*
 * The pieces of a pickle, and the large bytes and bytearrays among them, which become buffers of the message. Called
 * by: wire/pickle.c.
 *
 * The pickler writes an opcode and a size, and then hands over the bytes object itself, or a view on the bytearray.
 * Read by pickle, it would be new memory in small pages (wire/large.h). So opcode and size are taken back, and the
 * pickle asks for its next buffer, which the receiver makes as an object of its own.
 */
#include "wire/encode.h"
#include "wire/large.h"

#define OP_BYTES 'B' /* and a size of 4 bytes; the two that follow, of 8 */
#define OP_BYTES_LONG 0x8e
#define OP_BYTEARRAY_LONG 0x96
#define OP_NEXT_BUFFER 0x97

/* The last segment, if nothing of our own comes after it. */
static struct fmp_wire_segment *
segment_at_end(const struct fmp_wire_writer *w)
{
    struct fmp_wire_segment *last = w->segments.count > 0 ? &w->segments.list[w->segments.count - 1] : NULL;
    return last != NULL && last->at == fmp_writer_own(w) ? last : NULL;
}

/* Does the last piece that was written end with an opcode and the size `bytes`? The pickler writes both at once. */
static bool
ends_with(const struct fmp_wire_writer *w, unsigned char opcode, uint64_t bytes, size_t size_bytes)
{
    const struct fmp_wire_segment *last = segment_at_end(w);
    const unsigned char *start = last != NULL ? last->view.buf : w->start;
    size_t length = last != NULL ? (size_t)last->view.len : fmp_writer_own(w);
    return length > size_bytes && start[length - size_bytes - 1] == opcode &&
           memcmp(start + length - size_bytes, &bytes, size_bytes) == 0;
}

static void
take_back(struct fmp_wire_writer *w, size_t bytes)
{
    struct fmp_wire_segment *last = segment_at_end(w);
    if (last != NULL) {
        last->view.len -= (Py_ssize_t)bytes;
        w->segment_bytes -= bytes;
    } else {
        w->next -= bytes;
    }
}

/* Makes a buffer of what `view` is on, if a bytes or bytearray has just been announced. 0: none has; 1, or -1 with an
 * exception set: and the view is taken over. */
static int
take_out(struct fmp_wire_writer *w, Py_buffer *view)
{
    uint64_t bytes = (uint64_t)view->len;
    struct fmp_wire_segment segment = {.view = *view, .is_object = true};
    bool is_short = bytes <= UINT32_MAX && ends_with(w, OP_BYTES, bytes, sizeof(uint32_t));
    bool is_bytes = is_short || ends_with(w, OP_BYTES_LONG, bytes, sizeof bytes);
    if (!is_bytes && !ends_with(w, OP_BYTEARRAY_LONG, bytes, sizeof bytes)) {
        return 0;
    }
    segment.view.readonly = is_bytes;
    take_back(w, 1 + (is_short ? sizeof(uint32_t) : sizeof bytes));
    if (fmp_writer_room(w, 1) < 0 || fmp_segments_append(&w->buffers, &segment) < 0) {
        PyBuffer_Release(view);
        return -1;
    }
    fmp_writer_byte(w, OP_NEXT_BUFFER);
    return 1;
}

int
fmp_pickle_put(struct fmp_wire_writer *w, Py_buffer *view)
{
    bool is_large = (size_t)view->len >= FMP_LARGE_BYTES, is_bytes = PyBytes_CheckExact(view->obj);
    if (is_large && !is_bytes && fmp_view_freeze(view) < 0) {
        PyBuffer_Release(view);
        return -1;
    }
    if (is_large || (is_bytes && view->len >= FMP_WIRE_BUFFER_MIN)) {
        int rc = is_large ? take_out(w, view) : 0;
        return rc == 0 ? fmp_writer_add_view(w, 0, view) : rc;
    }
    return fmp_writer_copy_view(w, view);
}

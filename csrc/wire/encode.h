/*
 * The writer: where one message grows, and what wire's files give to each other. Called by: wire/, and for
 * fmp_writer_size who sends; others see wire.h.
 *
 * A message is the writer's own bytes (in `scratch`, or on the heap once they are more) with segments in between:
 * memory of other objects, which are held until the reset. Invariants: start <= next <= end; segments are in the order
 * of `at`; size = own bytes + `segment_bytes`.
 */
#ifndef FMP_WIRE_ENCODE_H
#define FMP_WIRE_ENCODE_H

#include <string.h>

#include "base/copy.h"
#include "pyrt/carrier.h"
#include "wire/format.h"
#include "wire/seen.h"
#include "wire/wire.h"

#define FMP_WIRE_SCRATCH 512

/* Memory of another object, to be copied before the own byte `at`, after `pad` zeros. Released with PyBuffer_Release.
 */
struct fmp_wire_segment {
    size_t at;
    size_t pad;
    Py_buffer view;
    bool is_object; /* of a buffer: FMP_BUFFER_OBJECT */
};

struct fmp_wire_segments {
    struct fmp_wire_segment *list;
    size_t count, room;
};

/* A writer's ForkingPickler, kept from message to message; all NULL before the first. Made and used by pickle.c. */
struct fmp_wire_pickler {
    PyObject *pickler;
    PyObject *sink;              /* the file it writes to */
    PyObject *dump, *clear_memo; /* bound methods */
    PyObject *reducers;          /* its dispatch table */
    bool asks;                   /* it has our reducer_override: see fmp_wire_ask */
};

struct fmp_wire_writer {
    unsigned char *start, *next, *end;
    size_t segment_bytes; /* with their pads */
    struct fmp_wire_segments segments;
    struct fmp_wire_segments buffers; /* out-of-band buffers, while the pickle before them is being written */
    struct fmp_seen seen;
    struct fmp_wire_pickler pickle;
    struct fmp_carrier carrier; /* the references in the message */
    PyObject *definitions;      /* NULL: see fmp_wire_ask */
    bool busy;                  /* from encode to reset */
    unsigned char scratch[FMP_WIRE_SCRATCH];
};

FMP_INLINE size_t
fmp_writer_own(const struct fmp_wire_writer *w)
{
    return (size_t)(w->next - w->start);
}

/* fmp_wire_size, for who asks for each message. */
FMP_INLINE size_t
fmp_writer_size(const struct fmp_wire_writer *w)
{
    return fmp_writer_own(w) + w->segment_bytes;
}

/* writer.c. Each: 0, or -1 with an exception set. */
int fmp_writer_grow(struct fmp_wire_writer *w, size_t bytes);
/* Appends the memory of `view` to the message, and takes the view over (on failure too). */
int fmp_writer_add_view(struct fmp_wire_writer *w, size_t pad, Py_buffer *view);
/* Copies it, and takes the view over as well. */
int fmp_writer_copy_view(struct fmp_wire_writer *w, Py_buffer *view);
/* Makes it a view on a copy that does not change; on failure it is what it was. */
int fmp_view_freeze(Py_buffer *view);
/* The same for the memory of a str or bytes, which is held by a reference. */
int fmp_writer_add_leaf(struct fmp_wire_writer *w, PyObject *o, const void *data, size_t bytes);
int fmp_segments_append(struct fmp_wire_segments *s, const struct fmp_wire_segment *segment);
/* Empties the message; the writer stays busy. */
void fmp_writer_clear(struct fmp_wire_writer *w);

/* pickle.c */
int fmp_wire_pickle(struct fmp_wire_writer *w, PyObject *obj);
PyObject *fmp_wire_unpickle(const unsigned char *data, size_t bytes, PyObject *owner);
/* Has nobody else a say in how objects of this type are pickled? False also if that is not known. */
bool fmp_wire_is_left_to_pickle(PyTypeObject *type);
void fmp_wire_forget_pickler(struct fmp_wire_writer *w);
/* pickle_bytes.c: appends a piece of a pickle, and takes the view over. What may change before the message is copied is
 * copied now. */
int fmp_pickle_put(struct fmp_wire_writer *w, Py_buffer *view);
/* reducers.c: everything registered for ForkingPickler or with copyreg, as one dict that nobody changes. Borrowed; NULL
 * with an exception set. */
PyObject *fmp_wire_reducers(void);
/* Does a message bring an equal array.array, which is `type`, whatever is registered for it? False also if that is not
 * known, as before the first pickle. No Python code runs. */
bool fmp_wire_is_array_as_ever(PyObject *type);
/* pickle.c: has somebody given the class of picklers a reducer_override? Also if there is no telling. */
bool fmp_wire_is_overridden(void);

/* decode.c: raises UnpicklingError. Always NULL. */
FMP_COLD PyObject *fmp_wire_damaged(const char *what);

/* Makes room for `bytes` more own bytes. */
FMP_INLINE int
fmp_writer_room(struct fmp_wire_writer *w, size_t bytes)
{
    return FMP_LIKELY((size_t)(w->end - w->next) >= bytes) ? 0 : fmp_writer_grow(w, bytes);
}

/* Those that follow write where there is room. */
FMP_INLINE void
fmp_writer_byte(struct fmp_wire_writer *w, unsigned char byte)
{
    *w->next++ = byte;
}

FMP_INLINE void
fmp_writer_copy(struct fmp_wire_writer *w, const void *data, size_t bytes)
{
    memcpy(w->next, data, bytes);
    w->next += bytes;
}

FMP_INLINE void
fmp_writer_size_of(struct fmp_wire_writer *w, uint64_t size)
{
    if (FMP_LIKELY(size < FMP_SIZE_LONG)) {
        fmp_writer_byte(w, (unsigned char)size);
    } else {
        fmp_writer_byte(w, FMP_SIZE_LONG);
        fmp_writer_copy(w, &size, sizeof size);
    }
}

FMP_INLINE void
fmp_writer_tag_size(struct fmp_wire_writer *w, unsigned char tag, uint64_t size)
{
    fmp_writer_byte(w, tag);
    fmp_writer_size_of(w, size);
}

#endif

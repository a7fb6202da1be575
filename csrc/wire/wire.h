/*
 * The wire: Python objects to bytes and back. Called by: conn/, pool/.
 *
 * Exact None, bool, int, float, bytes, str, bytearray, array.array of numbers, and tuples, lists and dicts of those are
 * written in C; everything else is pickle protocol 5 (fastmp's ForkingPickler) with out-of-band buffers. What arrives
 * is equal to, and of the same type as, what pickle would deliver: where the fast path could differ (shared references,
 * recursion, subclasses, great depth) it steps aside. The format is in wire/format.h. A decoder never trusts a length.
 */
#ifndef FMP_WIRE_WIRE_H
#define FMP_WIRE_WIRE_H

#include "pyrt/runtime.h"

/* One object, encoded but not yet copied: large leaves (bytes, pickle buffers) stay where they are until fmp_wire_copy,
 * so they are copied once. */
struct fmp_wire_writer; /* defined in wire/encode.h */

/* A writer for one message, or several one after the other; NULL with MemoryError. One is always kept at rest, so that
 * a new one costs nothing. */
struct fmp_wire_writer *fmp_wire_writer_new(void);
void fmp_wire_writer_free(struct fmp_wire_writer *w);
/* Until the writer is freed, how a function or class of the main module is pickled is what
 * `definitions.reduce_definition(it)` returns: NotImplemented is by its name. */
void fmp_wire_ask(struct fmp_wire_writer *w, PyObject *definitions);
/* Is it a function that is pickled by its name, as the receiver, `definitions` or what is like it, would say if it were
 * asked? To ask is to run Python, which writes to pages that are to be copied while a pool is new. */
bool fmp_wire_goes_by_name(PyObject *receiver, PyObject *obj);
/* named.c: writes the message of a function that pickle sends by its name, without pickle. How long it is; 0, without
 * an exception: pickle is to be asked. */
#define FMP_WIRE_NAMED_MAX 519
size_t fmp_wire_name(PyObject *function, unsigned char message[FMP_WIRE_NAMED_MAX]);
/* What such a message says. A new reference; NULL, with an exception or not: it is to be decoded. */
PyObject *fmp_wire_find_named(const unsigned char *message, size_t bytes);
/* Encodes `obj`. 0, or -1 with what pickle raised. The writer is not re-entrant: a reducer that sends a message must
 * find another writer. */
int fmp_wire_encode(struct fmp_wire_writer *w, PyObject *obj);
/* The same for a list of these `n` items, which somebody else's list or tuple holds: no list is made, and an item that
 * nobody else refers to is not looked for again. FMP_WIRE_NOT_PLAIN, and nothing is encoded, if that takes pickle. */
#define FMP_WIRE_NOT_PLAIN 1
int fmp_wire_encode_items(struct fmp_wire_writer *w, PyObject *const *items, size_t n);
/* To be called before a long wait between encode and copy: objects that others may resize meanwhile are no longer
 * needed. 0, or -1 with MemoryError. */
int fmp_wire_settle(struct fmp_wire_writer *w);
/* Size of the encoded message, and the copy of exactly so many bytes to `dst` (64-byte aligned if the size exceeds a
 * ring cell's inline bytes). */
size_t fmp_wire_size(const struct fmp_wire_writer *w);
void fmp_wire_copy(const struct fmp_wire_writer *w, void *dst);
/* The references in the message (heap/parcels.h) that go through `space`: how many, and where they are. They end with
 * the reset, unless let go of before: as the message's that was sent, or as loans. */
bool fmp_wire_has_references(const struct fmp_wire_writer *w);
size_t fmp_wire_parcels(struct fmp_wire_writer *w, const struct fmp_space *space);
void fmp_wire_copy_parcels(const struct fmp_wire_writer *w, fmp_off *dst);
void fmp_wire_let_go(struct fmp_wire_writer *w);
/* Drops what the message held; call after the copy or instead of it. */
void fmp_wire_reset(struct fmp_wire_writer *w);

/* Does the message hold out-of-band buffers, so that decoding it in place keeps views on its memory? */
bool fmp_wire_has_buffers(const void *data, size_t bytes);
/*
 * Decodes one message. `owner` is the object whose buffer the message is (it is kept alive by the views), or NULL: then
 * buffers are copied. NULL with an exception set: what unpickling raised, or _pickle.UnpicklingError for damaged data.
 */
PyObject *fmp_wire_decode(const void *data, size_t bytes, PyObject *owner);
/* The same for a message that is one bytes object, or one ASCII str of two characters or more, and may change
 * meanwhile. No Python code runs. NULL without an exception if it is something else, or this fails: decode a copy. */
PyObject *fmp_wire_leaf(const unsigned char *data, size_t bytes);
/* Makes ready what decoding a pickle takes, by decoding one: in the parent what its children would look up, in a child
 * that has nothing else to do the pages that are copied when they are written to. */
void fmp_wire_practise(void);
/*
 * Decodes the message of `bytes` in a heap block that this process owns and that has room for so many, and gives the
 * block back: at once, or when the last view on it dies (the block then has an owner made by fmp_wire_owner). Whatever
 * the result, the block is no longer the caller's.
 */
PyObject *fmp_wire_decode_block(struct fmp_space *space, fmp_off off, size_t bytes);

/*
 * Makes a `fastmp._core.Block`: the buffer of the first `bytes` of a block that this process owns, which it gives back
 * when it dies. NULL with an exception set, and then the block is still the caller's. Set by py/block.c, since Python
 * types lie above this layer.
 */
typedef PyObject *(*fmp_wire_owner_fn)(struct fmp_space *space, fmp_off off, size_t bytes);
extern fmp_wire_owner_fn fmp_wire_owner;

#endif

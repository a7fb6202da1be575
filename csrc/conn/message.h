/*
 * One wire message over a ring. Called by: conn/pipe, py/queue, pool/.
 *
 * A message of at most FMP_RING_INLINE_BYTES lies in the cell; one of at most FMP_MESSAGE_SIDE_BYTES beside it, where
 * the ring has a side area (conn/side.h); a larger one in a heap block that the cell names and
 * that changes hands with it (OWNED -> TRANSIT -> OWNED). The block is filled before a cell is claimed, so that nobody
 * waits for a copy. What a message refers to (heap/parcels.h) goes the same way, each parcel like the block, at the
 * same position; a message with references always has a block, in which the table of its parcels lies behind the wire
 * message. The ring must be at the start of a heap block of its own (FMP_BLOCK_RING): reclamation looks there for
 * blocks in transit. All functions need the GIL and never block; to wait, use fmp_py_await on the ring's event counts.
 */
#ifndef FMP_CONN_MESSAGE_H
#define FMP_CONN_MESSAGE_H

#include "ring/ring.h"
#include "wire/wire.h"

/* A head of fixed size may stand before the wire message of every record of a channel; it always lies in the cell. */
#define FMP_MESSAGE_HEAD_MAX 32u
/* The most that lies beside a cell. More is no longer worth a second copy, and the areas of 512 cells are to fit a
 * chunk of the heap. */
#define FMP_MESSAGE_SIDE_BYTES 1984u

/* The tag of an encoded object, in a channel of objects. */
#define FMP_MESSAGE_OBJECT 0

struct fmp_channel {
    struct fmp_space *space;
    fmp_off ring_off;
    struct fmp_ring ring;
    uint32_t head_bytes;  /* 0, or the size of the head that this channel's messages have */
    bool in_row;          /* set by fmp_message_*_in_row only */
    bool of_objects;      /* whoever takes a message tagged FMP_MESSAGE_OBJECT decodes it: see `leaf` */
    uint32_t side_wanted; /* messages sent that would have gone into the side area; the next two are side.c's */
    unsigned char *side;  /* NULL if there is none, or none that this process has met */
    uint64_t tail_seen;   /* the ring's tail, as a receiver of messages in the side area last saw it */
    uint64_t head_waited; /* the ring's head, when a sender last gave way in vain: lead.c's */
    /* Called with each message while its cell is still taken; may be NULL. */
    void (*on_taken)(void *ctx, const void *head);
    void *on_taken_ctx;
};

/* A message outside a ring: prepared and not yet sent, or taken out and not yet decoded. */
struct fmp_message {
    uint32_t tag;     /* the caller's, travels along */
    uint64_t bytes;   /* of the wire message */
    fmp_off block;    /* where it is, or 0: in `data` */
    uint64_t parcels; /* how many lie in the table behind it; only with a block */
    PyObject *leaf;   /* taken out of a channel of objects, such a one may be decoded already; else NULL */
    unsigned char head[FMP_MESSAGE_HEAD_MAX] FMP_ALIGNED;
    unsigned char data[FMP_MESSAGE_SIDE_BYTES];
};

/* How much of a prepared message is to be kept: all of it up to the end of its data, of which it has little. */
#define FMP_MESSAGE_PREPARED_BYTES (offsetof(struct fmp_message, data) + FMP_RING_INLINE_BYTES)

/* Opens the channel over the ring block at `ring_off`. 0, or -1 with an exception set. */
int fmp_channel_open(struct fmp_channel *ch, struct fmp_space *space, fmp_off ring_off, uint64_t bytes);

/* Turns what `w` has encoded into a message (and resets `w`). 0, or -1 with OSError(ENOSPC) set. */
int fmp_message_prepare(struct fmp_space *space, struct fmp_message *m, uint32_t tag, struct fmp_wire_writer *w);
/* The same for plain bytes. */
int fmp_message_prepare_bytes(struct fmp_space *space, struct fmp_message *m, uint32_t tag, const void *data, size_t n);
/* Sends a prepared message: 0, or -EAGAIN if the ring is full (the message stays the caller's), or another -errno. */
int fmp_message_push(struct fmp_channel *ch, const struct fmp_message *m);
/* prepare and push in one, without a copy in between for small ones: 0; -EAGAIN if the ring is full, then `w` is as it
 * was; -1 with an exception. */
int fmp_message_send(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w);
/* The same for one of several in a row, which cost less; after the last one, and before this process waits for
 * anything, fmp_ring_end_push_row. */
int fmp_message_send_in_row(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w);

/* Takes the next message out: 0; -EAGAIN if there is none yet; -EBADMSG if the record was damaged (it is gone then). */
int fmp_message_pop(struct fmp_channel *ch, struct fmp_message *m);
/* The same for one of several in a row; after the last one fmp_ring_end_pop_row. */
int fmp_message_pop_in_row(struct fmp_channel *ch, struct fmp_message *m);
FMP_INLINE const void *
fmp_message_data(const struct fmp_space *space, const struct fmp_message *m)
{
    return m->block != 0 ? fmp_at(&space->region, m->block) : m->data;
}
/* Decodes a message taken out and lets go of it; out-of-band buffers become views on its block. */
PyObject *fmp_message_decode(struct fmp_space *space, struct fmp_message *m);
/* Gives the block of a message back that is not sent, or not decoded, and its parcels. */
void fmp_message_discard(struct fmp_space *space, struct fmp_message *m);

#endif

/* One wire message over a ring; see message.h. */
#include "conn/message.h"

#include <string.h>

#include "base/copy.h"
#include "base/fault.h"
#include "conn/side.h"
#include "heap/parcels.h"
#include "pyrt/wait.h"
#include "wire/encode.h"
#include "wire/fill.h"

/* How the record's inline bytes look when the message is in a block. */
struct in_block {
    uint64_t bytes;
    uint64_t parcels;
};

static_assert(FMP_MESSAGE_HEAD_MAX + sizeof(struct in_block) <= FMP_RING_INLINE_BYTES, "it lies in the cell");

/* A receiver looks at tail once in so many messages beside their cells: its line is the senders'. */
#define TAIL_LOOKS 16

/* Where the parcels' offsets lie in the block of a message. */
static uint64_t
table_at(uint64_t bytes)
{
    return (bytes + sizeof(fmp_off) - 1) & ~(sizeof(fmp_off) - 1);
}

static fmp_off *
table_of(const struct fmp_space *space, fmp_off block, uint64_t bytes)
{
    return fmp_at(&space->region, block + table_at(bytes));
}

/* The record of a killed process (beside a cell there is nothing to give back): what it had taken and not yet made its
 * own is given back. What it owned is found by fmp_heap_reclaim, and a claimed cell's record is not believed: it may be
 * half-written, or the one of the lap before.
 */
static void
on_dead(void *ctx, uint32_t owner, bool was_taken, uint64_t position, const struct fmp_record *record)
{
    struct fmp_channel *ch = ctx;
    if (was_taken && record->block != 0 &&
        fmp_heap_receive(ch->space->heap, record->block, ch->ring_off, position) == 0) {
        fmp_heap_free(ch->space->heap, record->block);
    }
    fmp_space_bury(ch->space, owner);
}

int
fmp_channel_open(struct fmp_channel *ch, struct fmp_space *space, fmp_off ring_off, uint64_t bytes)
{
    *ch = (struct fmp_channel){.space = space, .ring_off = ring_off, .head_waited = UINT64_MAX};
    int rc = fmp_ring_open(&ch->ring, &space->region, ring_off, bytes);
    if (rc != 0) {
        fmp_py_raise(rc, "no fastmp ring at this offset");
        return -1;
    }
    ch->ring.on_dead = on_dead;
    ch->ring.on_dead_ctx = ch;
    return 0;
}

/* A block for `bytes`, or 0 with an exception set. */
static fmp_off
block_for(struct fmp_space *space, uint64_t bytes)
{
    fmp_off off;
    int rc = fmp_heap_alloc(space->heap, bytes, &off);
    if (FMP_UNLIKELY(rc == -ENOSPC)) {
        fmp_space_sweep_dead(space); /* what a dead process holds is nobody's */
        rc = fmp_heap_alloc(space->heap, bytes, &off);
    }
    if (FMP_UNLIKELY(rc != 0)) {
        fmp_py_raise(rc, rc == -ENOSPC ? "no room for this message in fastmp's shared memory" : NULL);
        return 0;
    }
    return off;
}

/* A block with what `w` has encoded, and with the table of `parcels` that are still the writer's. 0 with an exception.
 */
static fmp_off
block_with(struct fmp_space *space, struct fmp_wire_writer *w, size_t bytes, size_t parcels)
{
    fmp_off block = block_for(space, table_at(bytes) + parcels * sizeof(fmp_off));
    if (block != 0) {
        fmp_wire_copy(w, fmp_at(&space->region, block));
        fmp_wire_copy_parcels(w, table_of(space, block, bytes));
    }
    return block;
}

int
fmp_message_prepare(struct fmp_space *space, struct fmp_message *m, uint32_t tag, struct fmp_wire_writer *w)
{
    bool failed = false;
    m->tag = tag;
    m->bytes = fmp_wire_size(w);
    m->parcels = fmp_wire_parcels(w, space);
    m->block = 0;
    if (m->bytes <= FMP_RING_INLINE_BYTES - FMP_MESSAGE_HEAD_MAX && m->parcels == 0) {
        fmp_wire_copy(w, m->data);
    } else {
        m->block = block_with(space, w, m->bytes, m->parcels);
        failed = m->block == 0;
    }
    if (!failed) {
        fmp_wire_let_go(w);
    }
    fmp_wire_reset(w);
    return failed ? -1 : 0;
}

int
fmp_message_prepare_bytes(struct fmp_space *space, struct fmp_message *m, uint32_t tag, const void *data, size_t n)
{
    m->tag = tag;
    m->bytes = n;
    m->parcels = 0;
    m->block = 0;
    if (n > FMP_RING_INLINE_BYTES - FMP_MESSAGE_HEAD_MAX) {
        m->block = block_for(space, n);
        if (m->block == 0) {
            return -1;
        }
    }
    fmp_wire_fill(m->block != 0 ? fmp_at(&space->region, m->block) : m->data, data, n);
    return 0;
}

FMP_INLINE void
end_push(struct fmp_channel *ch, const struct fmp_ring_ticket *t)
{
    if (FMP_UNLIKELY(ch->in_row)) {
        fmp_ring_end_push_in_row(&ch->ring, t);
    } else {
        fmp_ring_end_push(&ch->ring, t);
    }
}

/* The parcels go with the cell. 0 or -errno; then none does. */
static int
send_parcels(struct fmp_channel *ch, const fmp_off *table, uint64_t count, uint64_t position)
{
    struct fmp_heap *heap = ch->space->heap;
    for (uint64_t i = 0; i < count; i++) {
        int rc = fmp_parcel_send(heap, table[i], ch->ring_off, position);
        while (rc != 0 && i > 0) {
            (void)fmp_parcel_receive(heap, table[--i], ch->ring_off, position);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int
send_with_parcels(struct fmp_channel *ch, fmp_off block, uint64_t bytes, uint64_t parcels, uint64_t position)
{
    if (FMP_LIKELY(parcels == 0)) {
        return fmp_heap_send(ch->space->heap, block, ch->ring_off, position);
    }
    const fmp_off *table = table_of(ch->space, block, bytes);
    int rc = send_parcels(ch, table, parcels, position);
    if (rc == 0) {
        FMP_FAULT("message:parcels-sent");
        rc = fmp_heap_send(ch->space->heap, block, ch->ring_off, position);
        for (uint64_t i = 0; rc != 0 && i < parcels; i++) {
            (void)fmp_parcel_receive(ch->space->heap, table[i], ch->ring_off, position);
        }
    }
    return rc;
}

/* Names the block in the claimed cell and hands it over, with its parcels. 0 or -errno; then the cell has been given
 * back. */
static int
push_block(struct fmp_channel *ch, struct fmp_ring_ticket *t, fmp_off block, uint64_t bytes, uint64_t parcels)
{
    struct fmp_record *record = &t->cell->record;
    struct in_block in_block = {.bytes = bytes, .parcels = parcels};
    record->block = block;
    record->bytes = ch->head_bytes + (uint32_t)sizeof in_block;
    memcpy(record->data + ch->head_bytes, &in_block, sizeof in_block);
    FMP_FAULT("message:before-send");
    int rc = send_with_parcels(ch, block, bytes, parcels, t->position);
    if (rc != 0) {
        fmp_ring_cancel_push(&ch->ring, t);
        return rc;
    }
    FMP_FAULT("message:in-transit");
    end_push(ch, t);
    return 0;
}

/* Claims a cell and writes tag and head: 0 or -EAGAIN. */
FMP_INLINE int
begin(struct fmp_channel *ch, struct fmp_ring_ticket *t, uint32_t tag, const void *head)
{
    int rc = FMP_UNLIKELY(ch->in_row) ? fmp_ring_begin_push_in_row(&ch->ring, t) : fmp_ring_begin_push(&ch->ring, t);
    if (rc == 0) {
        t->cell->record.tag = tag;
        if (ch->head_bytes != 0) {
            memcpy(t->cell->record.data, head, ch->head_bytes);
        }
    }
    return rc;
}

int
fmp_message_push(struct fmp_channel *ch, const struct fmp_message *m)
{
    struct fmp_ring_ticket t;
    int rc = begin(ch, &t, m->tag, m->head);
    if (rc != 0) {
        return rc;
    }
    if (m->block != 0) {
        return push_block(ch, &t, m->block, m->bytes, m->parcels);
    }
    t.cell->record.block = 0;
    t.cell->record.bytes = ch->head_bytes + (uint32_t)m->bytes;
    memcpy(t.cell->record.data + ch->head_bytes, m->data, m->bytes);
    end_push(ch, &t);
    return 0;
}

/* In the cell, or beside it, where there is a side area. */
FMP_INLINE int
send_in_place(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w, size_t bytes,
              unsigned char *side)
{
    struct fmp_ring_ticket t;
    int rc = begin(ch, &t, tag, head);
    if (rc == 0) {
        t.cell->record.block = side != NULL ? FMP_IN_SIDE : 0;
        t.cell->record.bytes = ch->head_bytes + (uint32_t)bytes;
        fmp_wire_copy(w, side != NULL ? side + fmp_side_at(ch, t.position) : t.cell->record.data + ch->head_bytes);
        end_push(ch, &t);
        fmp_wire_reset(w);
    } else if (FMP_UNLIKELY(rc != -EAGAIN)) {
        fmp_py_raise(rc, "the queue's memory is damaged");
        rc = -1;
    }
    return rc;
}

static int
send_block(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w, size_t bytes,
           size_t parcels)
{
    if (!fmp_ring_may_push(&ch->ring)) {
        return -EAGAIN; /* before the copy, not after it */
    }
    fmp_off block = block_with(ch->space, w, bytes, parcels);
    if (block == 0) {
        return -1;
    }
    struct fmp_ring_ticket t;
    int rc = begin(ch, &t, tag, head);
    if (rc == 0) {
        rc = push_block(ch, &t, block, bytes, parcels);
    }
    if (rc == 0) {
        fmp_wire_let_go(w);
        fmp_wire_reset(w);
        return 0;
    }
    fmp_heap_free(ch->space->heap, block);
    if (rc != -EAGAIN) {
        fmp_py_raise(rc, NULL);
        return -1;
    }
    return rc;
}

int
fmp_message_send(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w)
{
    size_t bytes = fmp_writer_size(w);
    size_t parcels = fmp_wire_parcels(w, ch->space);
    if (FMP_LIKELY(bytes <= FMP_RING_INLINE_BYTES - ch->head_bytes && parcels == 0)) {
        return send_in_place(ch, tag, head, w, bytes, NULL);
    }
    unsigned char *side = bytes <= FMP_MESSAGE_SIDE_BYTES && parcels == 0 ? fmp_side_to_send(ch) : NULL;
    return side != NULL ? send_in_place(ch, tag, head, w, bytes, side) : send_block(ch, tag, head, w, bytes, parcels);
}

/* Is there room in the block for what the record says that it holds? */
static bool
is_whole(uint64_t usable, const struct in_block *in_block)
{
    return in_block->bytes <= usable &&
           (in_block->parcels == 0 || (table_at(in_block->bytes) <= usable &&
                                       in_block->parcels <= (usable - table_at(in_block->bytes)) / sizeof(fmp_off)));
}

static void
free_parcels(struct fmp_space *space, const fmp_off *table, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        fmp_parcel_free(space->heap, table[i]);
    }
}

/* 0, or -EBADMSG if one of them does not belong to this cell; then those before it are freed. */
static int
receive_parcels(struct fmp_channel *ch, const fmp_off *table, uint64_t count, uint64_t position)
{
    for (uint64_t i = 0; i < count; i++) {
        if (fmp_parcel_receive(ch->space->heap, table[i], ch->ring_off, position) != 0) {
            free_parcels(ch->space, table, i);
            return -EBADMSG;
        }
    }
    return 0;
}

int
fmp_message_send_in_row(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w)
{
    ch->in_row = true;
    int rc = fmp_message_send(ch, tag, head, w);
    ch->in_row = false;
    return rc;
}

/* Makes the record's block ours, checking what the sender wrote. */
static int
receive_block(struct fmp_channel *ch, struct fmp_message *m, const struct fmp_ring_ticket *t, uint32_t bytes,
              fmp_off block)
{
    struct in_block in_block;
    if (bytes != ch->head_bytes + sizeof in_block) {
        return -EBADMSG;
    }
    memcpy(&in_block, t->cell->record.data + ch->head_bytes, sizeof in_block);
    uint64_t usable;
    if (fmp_heap_receive_usable(ch->space->heap, block, ch->ring_off, t->position, &usable) != 0) {
        return -EBADMSG;
    }
    FMP_FAULT("message:block-received");
    if (!is_whole(usable, &in_block) ||
        receive_parcels(ch, table_of(ch->space, block, in_block.bytes), in_block.parcels, t->position) != 0) {
        fmp_heap_free(ch->space->heap, block);
        return -EBADMSG;
    }
    m->bytes = in_block.bytes;
    m->parcels = in_block.parcels;
    m->block = block;
    return 0;
}

/*
 * The lines of the next place, of a message likely as long as this one, come from the sender's cache while this one is
 * decoded: between cores that share no cache each takes a quarter of a microsecond, and the processor does not see that
 * they are next. Not while the sender may still be writing there: to take lines away from him costs more than it saves.
 */
FMP_INLINE void
fetch_next(struct fmp_channel *ch, const unsigned char *side, uint64_t position, uint32_t bytes)
{
    if (position % TAIL_LOOKS == 0) {
        ch->tail_seen = fmp_load_relaxed(&ch->ring.shm->tail); /* relaxed: a hint, no more */
    }
    if ((int64_t)(ch->tail_seen - position) > 2) { /* one more than the next, which may be claimed only */
        const unsigned char *next = side + fmp_side_at(ch, position + 1);
        for (uint32_t i = 0; i < bytes; i += FMP_CACHELINE) {
            __builtin_prefetch(next + i);
        }
    }
}

/* What lies beside the cell is copied out, as what lies in it is: decoding may run Python code. Making one bytes or str
 * runs none, so that is the copy. */
static int
read_side(struct fmp_channel *ch, struct fmp_message *m, const struct fmp_ring_ticket *t, uint32_t bytes)
{
    const unsigned char *side = bytes <= FMP_MESSAGE_SIDE_BYTES ? fmp_side_to_receive(ch) : NULL;
    if (side == NULL) {
        return -EBADMSG;
    }
    fetch_next(ch, side, t->position, bytes);
    side += fmp_side_at(ch, t->position);
    m->bytes = bytes;
    m->leaf = ch->of_objects && m->tag == FMP_MESSAGE_OBJECT ? fmp_wire_leaf(side, bytes) : NULL;
    if (m->leaf == NULL) {
        fmp_copy_many(m->data, side, bytes);
    }
    return 0;
}

int
fmp_message_pop(struct fmp_channel *ch, struct fmp_message *m)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_pop(&ch->ring, &t);
    if (rc != 0) {
        return rc;
    }
    const struct fmp_record *record = &t.cell->record;
    uint32_t bytes = record->bytes;
    FMP_READ_ONCE(bytes);
    fmp_off block = record->block;
    FMP_READ_ONCE(block);
    m->tag = record->tag;
    FMP_READ_ONCE(m->tag); /* it is looked at twice */
    m->parcels = 0;
    m->block = 0;
    m->leaf = NULL;
    if (bytes < ch->head_bytes || (bytes > FMP_RING_INLINE_BYTES && block != FMP_IN_SIDE)) {
        rc = -EBADMSG;
    } else {
        if (ch->head_bytes != 0) {
            memcpy(m->head, record->data, ch->head_bytes);
        }
        if (FMP_UNLIKELY(block == FMP_IN_SIDE)) {
            rc = read_side(ch, m, &t, bytes - ch->head_bytes);
        } else if (FMP_UNLIKELY(block != 0)) {
            rc = receive_block(ch, m, &t, bytes, block);
        } else {
            m->bytes = bytes - ch->head_bytes;
            fmp_copy(m->data, record->data + ch->head_bytes, m->bytes);
        }
        if (ch->on_taken != NULL) {
            ch->on_taken(ch->on_taken_ctx, m->head);
        }
    }
    if (FMP_UNLIKELY(ch->in_row)) {
        fmp_ring_end_pop_in_row(&ch->ring, &t);
    } else {
        fmp_ring_end_pop(&ch->ring, &t);
    }
    return rc;
}

int
fmp_message_pop_in_row(struct fmp_channel *ch, struct fmp_message *m)
{
    ch->in_row = true;
    int rc = fmp_message_pop(ch, m);
    ch->in_row = false;
    return rc;
}

/* The parcels outlive the block, which may be gone, or in use by the objects in the message, when it is decoded. */
static PyObject *
decode_with_parcels(struct fmp_space *space, struct fmp_message *m)
{
    uint64_t count = m->parcels, bytes = count * sizeof(fmp_off);
    fmp_off *table = PyMem_Malloc(bytes);
    if (table == NULL) {
        fmp_message_discard(space, m);
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(table, table_of(space, m->block, m->bytes), bytes);
    m->parcels = 0;
    PyObject *obj = fmp_message_decode(space, m);
    free_parcels(space, table, count);
    PyMem_Free(table);
    return obj;
}

PyObject *
fmp_message_decode(struct fmp_space *space, struct fmp_message *m)
{
    if (FMP_LIKELY(m->block == 0)) {
        return m->leaf != NULL ? m->leaf : fmp_wire_decode(m->data, m->bytes, NULL);
    }
    if (FMP_UNLIKELY(m->parcels != 0)) {
        return decode_with_parcels(space, m);
    }
    fmp_off block = m->block;
    m->block = 0;
    return fmp_wire_decode_block(space, block, m->bytes);
}

void
fmp_message_discard(struct fmp_space *space, struct fmp_message *m)
{
    if (m->block != 0) {
        free_parcels(space, table_of(space, m->block, m->bytes), m->parcels);
        fmp_heap_free(space->heap, m->block);
        m->parcels = 0;
        m->block = 0;
    }
}

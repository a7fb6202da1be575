/* One wire message over a ring; see message.h. */
#include "conn/message.h"

#include <string.h>

#include "base/fault.h"
#include "pyrt/wait.h"

/* How the record's inline bytes look when the message is in a block. */
struct in_block {
    uint64_t bytes;
};

/* The record of a killed process: what it had taken and not yet made its own is given back. What it owned is found by
 * fmp_heap_reclaim, and a claimed cell's record is not believed: it may be half-written, or the one of the lap before.
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
    *ch = (struct fmp_channel){.space = space, .ring_off = ring_off};
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
    if (FMP_UNLIKELY(rc != 0)) {
        fmp_py_raise(rc, rc == -ENOSPC ? "no room for this message in fastmp's shared memory" : NULL);
        return 0;
    }
    return off;
}

/* Room for `bytes` in `m`: where to write them, or NULL with an exception set. */
static void *
make_room(struct fmp_space *space, struct fmp_message *m, uint32_t tag, uint64_t bytes)
{
    m->tag = tag;
    m->bytes = bytes;
    m->block = 0;
    if (bytes <= FMP_RING_INLINE_BYTES - FMP_MESSAGE_HEAD_MAX) {
        return m->data;
    }
    m->block = block_for(space, bytes);
    return m->block != 0 ? fmp_at(&space->region, m->block) : NULL;
}

int
fmp_message_prepare(struct fmp_space *space, struct fmp_message *m, uint32_t tag, struct fmp_wire_writer *w)
{
    void *dst = make_room(space, m, tag, fmp_wire_size(w));
    if (dst != NULL) {
        fmp_wire_copy(w, dst);
    }
    fmp_wire_reset(w);
    return dst != NULL ? 0 : -1;
}

int
fmp_message_prepare_bytes(struct fmp_space *space, struct fmp_message *m, uint32_t tag, const void *data, size_t n)
{
    void *dst = make_room(space, m, tag, n);
    if (dst == NULL) {
        return -1;
    }
    memcpy(dst, data, n);
    return 0;
}

/* Names the block in the claimed cell and hands it over. 0 or -errno; then the cell has been given back. */
static int
push_block(struct fmp_channel *ch, struct fmp_ring_ticket *t, fmp_off block, uint64_t bytes)
{
    struct fmp_record *record = &t->cell->record;
    struct in_block in_block = {.bytes = bytes};
    record->block = block;
    record->bytes = ch->head_bytes + (uint32_t)sizeof in_block;
    memcpy(record->data + ch->head_bytes, &in_block, sizeof in_block);
    FMP_FAULT("message:before-send");
    int rc = fmp_heap_send(ch->space->heap, block, ch->ring_off, t->position);
    if (rc != 0) {
        fmp_ring_cancel_push(&ch->ring, t);
        return rc;
    }
    FMP_FAULT("message:in-transit");
    fmp_ring_end_push(&ch->ring, t);
    return 0;
}

/* Claims a cell and writes tag and head: 0 or -EAGAIN. */
FMP_INLINE int
begin(struct fmp_channel *ch, struct fmp_ring_ticket *t, uint32_t tag, const void *head)
{
    int rc = fmp_ring_begin_push(&ch->ring, t);
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
        return push_block(ch, &t, m->block, m->bytes);
    }
    t.cell->record.block = 0;
    t.cell->record.bytes = ch->head_bytes + (uint32_t)m->bytes;
    memcpy(t.cell->record.data + ch->head_bytes, m->data, m->bytes);
    fmp_ring_end_push(&ch->ring, &t);
    return 0;
}

static int
send_inline(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w, size_t bytes)
{
    struct fmp_ring_ticket t;
    int rc = begin(ch, &t, tag, head);
    if (rc == 0) {
        t.cell->record.block = 0;
        t.cell->record.bytes = ch->head_bytes + (uint32_t)bytes;
        fmp_wire_copy(w, t.cell->record.data + ch->head_bytes);
        fmp_ring_end_push(&ch->ring, &t);
        fmp_wire_reset(w);
    }
    return rc;
}

static int
send_block(struct fmp_channel *ch, uint32_t tag, const void *head, struct fmp_wire_writer *w, size_t bytes)
{
    if (!fmp_ring_may_push(&ch->ring)) {
        return -EAGAIN; /* before the copy, not after it */
    }
    fmp_off block = block_for(ch->space, bytes);
    if (block == 0) {
        return -1;
    }
    fmp_wire_copy(w, fmp_at(&ch->space->region, block));
    struct fmp_ring_ticket t;
    int rc = begin(ch, &t, tag, head);
    if (rc == 0) {
        rc = push_block(ch, &t, block, bytes);
    }
    if (rc == 0) {
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
    size_t bytes = fmp_wire_size(w);
    bool fits = bytes <= FMP_RING_INLINE_BYTES - ch->head_bytes;
    return FMP_LIKELY(fits) ? send_inline(ch, tag, head, w, bytes) : send_block(ch, tag, head, w, bytes);
}

/* Makes the record's block ours, checking what the sender wrote. */
static int
receive_block(struct fmp_channel *ch, struct fmp_message *m, const struct fmp_ring_ticket *t, uint32_t bytes)
{
    struct in_block in_block;
    const struct fmp_record *record = &t->cell->record;
    fmp_off block = record->block;
    if (bytes != ch->head_bytes + sizeof in_block) {
        return -EBADMSG;
    }
    memcpy(&in_block, record->data + ch->head_bytes, sizeof in_block);
    if (fmp_heap_receive(ch->space->heap, block, ch->ring_off, t->position) != 0) {
        return -EBADMSG;
    }
    if (in_block.bytes > fmp_heap_usable(ch->space->heap, block)) {
        fmp_heap_free(ch->space->heap, block);
        return -EBADMSG;
    }
    m->bytes = in_block.bytes;
    m->block = block;
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
    uint32_t bytes = record->bytes; /* read once: it is another process's memory */
    m->tag = record->tag;
    m->block = 0;
    if (bytes < ch->head_bytes || bytes > FMP_RING_INLINE_BYTES) {
        rc = -EBADMSG;
    } else {
        memcpy(m->head, record->data, ch->head_bytes);
        if (FMP_UNLIKELY(record->block != 0)) {
            rc = receive_block(ch, m, &t, bytes);
        } else {
            m->bytes = bytes - ch->head_bytes;
            memcpy(m->data, record->data + ch->head_bytes, m->bytes);
        }
        if (ch->on_taken != NULL) {
            ch->on_taken(ch->on_taken_ctx, m->head);
        }
    }
    fmp_ring_end_pop(&ch->ring, &t);
    return rc;
}

PyObject *
fmp_message_decode(struct fmp_space *space, struct fmp_message *m)
{
    if (FMP_LIKELY(m->block == 0)) {
        return fmp_wire_decode(m->data, m->bytes, NULL);
    }
    fmp_off block = m->block;
    m->block = 0;
    return fmp_wire_decode_block(space, block, m->bytes);
}

void
fmp_message_discard(struct fmp_space *space, struct fmp_message *m)
{
    if (m->block != 0) {
        fmp_heap_free(space->heap, m->block);
        m->block = 0;
    }
}

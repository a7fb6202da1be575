/* The hash table; see dict.h. */
#include "dict/dict.h"

#include <string.h>

#include "base/fault.h"

#define ORDER_MIN 32u
#define LOG_MIN UINT64_C(2048)
#define ORDER_MAX (UINT32_C(1) << 30)

/* At the start of an arena. What is not `used` or `order` follows from them, or never changes. */
struct arena {
    uint64_t position;
    uint64_t log_end;    /* bytes from here */
    uint64_t log_used;   /* bytes from here to the next record */
    uint32_t order_room; /* half as many as index slots, which are a power of two */
    uint32_t live;
    _Atomic uint32_t used;
    uint32_t unused;
};

static struct arena *
arena_of(const struct fmp_dict *d)
{
    fmp_off off = fmp_load_relaxed(&d->shm->arena); /* relaxed: under the lock, as all here */
    return off != 0 ? fmp_at(d->region, off) : NULL;
}

static uint32_t
slots_of(const struct arena *a)
{
    return 2 * a->order_room;
}

static uint32_t *
index_of(struct arena *a)
{
    return (uint32_t *)(a + 1);
}

static _Atomic uint64_t *
order_of(struct arena *a)
{
    return (_Atomic uint64_t *)(index_of(a) + slots_of(a));
}

static uint64_t
log_start(uint32_t order_room)
{
    return sizeof(struct arena) + 2 * (uint64_t)order_room * sizeof(uint32_t) + (uint64_t)order_room * sizeof(uint64_t);
}

/* The record of order item `i`, or NULL if it was removed. */
static struct fmp_dict_record *
record_at(struct arena *a, uint32_t i)
{
    uint64_t off = fmp_load_relaxed(&order_of(a)[i]);
    return off != 0 ? (struct fmp_dict_record *)((char *)a + off) : NULL;
}

static uint64_t
record_bytes(uint32_t key_bytes, uint32_t extra_bytes, uint64_t value_bytes)
{
    return (sizeof(struct fmp_dict_record) + key_bytes + extra_bytes + value_bytes + 7) & ~UINT64_C(7);
}

static uint64_t
bytes_of(const struct fmp_dict_record *r)
{
    return record_bytes(r->key_bytes, r->extra_bytes, r->value_bytes);
}

/* ---- keys and the index ---- */

struct fmp_dict_key
fmp_dict_key_of(const void *data, uint32_t bytes)
{
    const unsigned char *at = data;
    uint64_t h = bytes * UINT64_C(0x9e3779b97f4a7c15), word;
    uint32_t left = bytes;
    for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, at, left);
    h = (h ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (struct fmp_dict_key){.data = data, .bytes = bytes, .hash = h ^ h >> 29};
}

static bool
is_key(const struct fmp_dict_record *r, const struct fmp_dict_key *key)
{
    return r->hash == key->hash && r->key_bytes == key->bytes && memcmp(r->data, key->data, key->bytes) == 0;
}

/* The index slot of the key's entry, or the free one where it would be. An item that was removed keeps its slot, and
 * there are twice as many slots as items, so each walk ends. */
static uint32_t
slot_of(struct arena *a, const struct fmp_dict_key *key, bool *found)
{
    const uint32_t *index = index_of(a);
    uint32_t mask = slots_of(a) - 1, slot = (uint32_t)key->hash & mask;
    for (; index[slot] != 0; slot = (slot + 1) & mask) {
        const struct fmp_dict_record *r = record_at(a, index[slot] - 1);
        if (r != NULL && is_key(r, key)) {
            *found = true;
            return slot;
        }
    }
    *found = false;
    return slot;
}

static void
enter_index(struct arena *a, const struct fmp_dict_record *r, uint32_t i)
{
    const struct fmp_dict_key key = {.data = r->data, .bytes = r->key_bytes, .hash = r->hash};
    bool found;
    uint32_t slot = slot_of(a, &key, &found);
    if (!found) {
        index_of(a)[slot] = i + 1;
    }
}

/* Index, live and log_used from what was published. */
static void
derive(struct arena *a)
{
    uint32_t used = fmp_load_relaxed(&a->used);
    memset(index_of(a), 0, slots_of(a) * sizeof(uint32_t));
    a->live = 0;
    a->log_used = log_start(a->order_room);
    for (uint32_t i = 0; i < used; i++) {
        const struct fmp_dict_record *r = record_at(a, i);
        if (r != NULL) {
            uint64_t end = (uint64_t)((const char *)r - (const char *)a) + bytes_of(r);
            a->log_used = end > a->log_used ? end : a->log_used;
            a->live++;
            enter_index(a, r, i);
        }
    }
}

void
fmp_dict_init(struct fmp_dict_shm *shm)
{
    shm->magic = FMP_DICT_MAGIC;
}

void
fmp_dict_recover(struct fmp_dict *d)
{
    fmp_store_relaxed(&d->shm->claimer, 0);
    struct arena *a = arena_of(d);
    if (a != NULL) {
        fmp_store_relaxed(&d->shm->position, a->position);
        derive(a);
    }
    FMP_FAULT("dict:recovered");
}

/* ---- reading ---- */

const struct fmp_dict_record *
fmp_dict_find(struct fmp_dict *d, const struct fmp_dict_key *key)
{
    struct arena *a = arena_of(d);
    bool found = false;
    uint32_t slot = a != NULL ? slot_of(a, key, &found) : 0;
    return found ? record_at(a, index_of(a)[slot] - 1) : NULL;
}

uint32_t
fmp_dict_length(struct fmp_dict *d)
{
    const struct arena *a = arena_of(d);
    return a != NULL ? a->live : 0;
}

const struct fmp_dict_record *
fmp_dict_next(struct fmp_dict *d, uint32_t *at)
{
    struct arena *a = arena_of(d);
    while (a != NULL && *at < fmp_load_relaxed(&a->used)) {
        const struct fmp_dict_record *r = record_at(a, (*at)++);
        if (r != NULL) {
            return r;
        }
    }
    return NULL;
}

const struct fmp_dict_record *
fmp_dict_last(struct fmp_dict *d)
{
    struct arena *a = arena_of(d);
    for (uint32_t i = a != NULL ? fmp_load_relaxed(&a->used) : 0; i > 0; i--) {
        const struct fmp_dict_record *r = record_at(a, i - 1);
        if (r != NULL) {
            return r;
        }
    }
    return NULL;
}

/* ---- arenas ---- */

/* An empty arena in a block that we own. -ENOSPC. */
static int
new_arena(struct fmp_dict *d, uint32_t order_room, uint64_t log_bytes, fmp_off *off)
{
    uint64_t start = log_start(order_room);
    int rc = fmp_heap_alloc(d->heap, start + log_bytes, off);
    if (rc != 0) {
        return rc;
    }
    struct arena *a = fmp_at(d->region, *off);
    memset(a, 0, start);
    a->order_room = order_room;
    a->log_used = start;
    a->log_end = start + log_bytes;
    return 0;
}

/* The live records, in their order. */
static void
copy_records(struct arena *to, struct arena *from)
{
    uint32_t used = from != NULL ? fmp_load_relaxed(&from->used) : 0, count = 0;
    for (uint32_t i = 0; i < used; i++) {
        const struct fmp_dict_record *r = record_at(from, i);
        if (r != NULL) {
            uint64_t bytes = bytes_of(r);
            memcpy((char *)to + to->log_used, r, bytes);
            fmp_store_relaxed(&order_of(to)[count], to->log_used); /* relaxed: nobody sees it yet */
            to->log_used += bytes;
            count++;
        }
    }
    fmp_store_relaxed(&to->used, count);
    derive(to);
}

/* The arena at `off`, which we own, in the place of the present one, which is freed. */
static int
publish_arena(struct fmp_dict *d, fmp_off off)
{
    struct fmp_dict_shm *shm = d->shm;
    struct arena *a = fmp_at(d->region, off);
    uint64_t old = fmp_load_relaxed(&shm->arena), old_position = fmp_load_relaxed(&shm->position);
    a->position = fmp_load_relaxed(&shm->pending) + 1;
    fmp_store_relaxed(&shm->claimer, d->region->me);
    fmp_store_release(&shm->pending, a->position); /* D3: pairs with D2 */
    FMP_FAULT("dict:claimed");
    int rc = fmp_heap_send(d->heap, off, d->root, a->position);
    if (rc != 0) {
        return rc;
    }
    fmp_store_release(&shm->arena, off); /* D1: pairs with D2, and with L3 */
    FMP_FAULT("dict:moved");
    fmp_store_relaxed(&shm->position, a->position);
    fmp_store_release(&shm->claimer, 0); /* D1: who sees this sees the new arena; pairs with D2 */
    if (old != 0 && fmp_heap_receive(d->heap, old, d->root, old_position) == 0) {
        fmp_heap_free(d->heap, old);
    }
    return 0;
}

static int
replace(struct fmp_dict *d, struct arena *from, uint32_t order_room, uint64_t log_bytes)
{
    fmp_off off;
    int rc = new_arena(d, order_room, log_bytes, &off);
    if (rc != 0) {
        return rc;
    }
    copy_records(fmp_at(d->region, off), from);
    FMP_FAULT("dict:copied");
    rc = publish_arena(d, off);
    if (rc != 0) {
        fmp_heap_free(d->heap, off);
    }
    return rc;
}

/* A larger, or a smaller, arena with room for another record of `bytes`: twice what is needed, so that the next move is
 * as far away as the last. */
static int
move(struct fmp_dict *d, uint64_t bytes)
{
    struct arena *a = arena_of(d);
    uint64_t live_bytes = bytes;
    uint32_t live = a != NULL ? a->live : 0, room = ORDER_MIN;
    if (live >= ORDER_MAX / 2) {
        return -E2BIG;
    }
    for (uint32_t at = 0; a != NULL;) {
        const struct fmp_dict_record *r = fmp_dict_next(d, &at);
        if (r == NULL) {
            break;
        }
        live_bytes += bytes_of(r);
    }
    while (room < 2 * (live + 1)) {
        room *= 2;
    }
    uint64_t log_bytes = 2 * live_bytes > LOG_MIN ? 2 * live_bytes : LOG_MIN;
    return replace(d, a, room, log_bytes);
}

int
fmp_dict_clear(struct fmp_dict *d)
{
    return fmp_dict_length(d) != 0 ? replace(d, NULL, ORDER_MIN, LOG_MIN) : 0;
}

/* ---- writing ---- */

int
fmp_dict_reserve(struct fmp_dict *d, const struct fmp_dict_key *key, uint32_t extra_bytes, uint64_t value_bytes,
                 struct fmp_dict_record **record)
{
    if (value_bytes > UINT64_C(1) << 56) {
        return -E2BIG;
    }
    struct arena *a = arena_of(d);
    uint64_t bytes = record_bytes(key->bytes, extra_bytes, value_bytes);
    if (a == NULL || bytes > a->log_end - a->log_used || fmp_load_relaxed(&a->used) == a->order_room) {
        int rc = move(d, bytes);
        if (rc != 0) {
            return rc;
        }
        a = arena_of(d);
    }
    struct fmp_dict_record *r = (struct fmp_dict_record *)((char *)a + a->log_used);
    *r = (struct fmp_dict_record){
        .hash = key->hash, .value_bytes = value_bytes, .key_bytes = key->bytes, .extra_bytes = extra_bytes};
    memcpy(r->data, key->data, key->bytes);
    FMP_FAULT("dict:reserved");
    *record = r;
    return 0;
}

void
fmp_dict_commit(struct fmp_dict *d, const struct fmp_dict_record *record)
{
    struct arena *a = arena_of(d);
    const struct fmp_dict_key key = {.data = record->data, .bytes = record->key_bytes, .hash = record->hash};
    bool found;
    uint32_t slot = slot_of(a, &key, &found), used = fmp_load_relaxed(&a->used);
    uint32_t i = found ? index_of(a)[slot] - 1 : used;
    /* D1: publishes a new value; a new entry only with the next store. */
    fmp_store_release(&order_of(a)[i], (uint64_t)((const char *)record - (const char *)a));
    FMP_FAULT("dict:ordered");
    a->log_used += bytes_of(record);
    if (!found) {
        fmp_store_release(&a->used, used + 1); /* D1: publishes the entry; pairs with L3 */
        FMP_FAULT("dict:used");
        index_of(a)[slot] = i + 1;
        a->live++;
    }
}

bool
fmp_dict_remove(struct fmp_dict *d, const struct fmp_dict_key *key)
{
    struct arena *a = arena_of(d);
    bool found = false;
    uint32_t slot = a != NULL ? slot_of(a, key, &found) : 0;
    if (found) {
        fmp_store_release(&order_of(a)[index_of(a)[slot] - 1], 0); /* D1: pairs with L3 */
        FMP_FAULT("dict:removed");
        a->live--;
    }
    return found;
}

/* ---- for the heap ---- */

bool
fmp_dict_carries(struct fmp_region *region, fmp_off root, uint64_t bytes, uint64_t position, bool *is_dict)
{
    struct fmp_dict_shm *shm = fmp_at(region, root);
    *is_dict = bytes >= sizeof *shm && shm->magic == FMP_DICT_MAGIC;
    if (!*is_dict) {
        return false;
    }
    if (position == fmp_load_acquire(&shm->pending)) {      /* D2: pairs with D3 */
        uint32_t claimer = fmp_load_acquire(&shm->claimer); /* D2: pairs with D1 */
        if (claimer != 0 && !fmp_participant_is_killed(region, claimer)) {
            return true;
        }
    }
    fmp_off off = fmp_load_acquire(&shm->arena); /* D2: pairs with D1 */
    const struct arena *a = off != 0 ? fmp_at(region, off) : NULL;
    return a != NULL && a->position == position;
}

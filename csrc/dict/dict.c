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

static uint64_t
log_start(uint32_t order_room)
{
    return sizeof(struct arena) + 2 * (uint64_t)order_room * sizeof(uint32_t) + (uint64_t)order_room * sizeof(uint64_t);
}

/* Reads what tells the arena's shape, once, and compares it with the block. */
static FMP_COLD void
check_arena(struct fmp_dict *d, fmp_off off)
{
    uint64_t usable = fmp_heap_usable(d->heap, off);
    d->arena = (struct fmp_dict_arena){.off = off, .damaged = true};
    if (usable < sizeof(struct arena)) {
        return;
    }
    struct arena *a = fmp_at(d->region, off);
    uint32_t room = a->order_room;
    uint64_t end = a->log_end;
    bool is_power = room >= ORDER_MIN && room <= ORDER_MAX && (room & (room - 1)) == 0;
    if (is_power && end <= usable && log_start(room) <= end) {
        d->arena = (struct fmp_dict_arena){.at = a, .off = off, .log_end = end, .order_room = room};
    }
}

/* The present arena; NULL if there is none, or if it is damaged. */
static struct fmp_dict_arena *
arena_of(struct fmp_dict *d)
{
    fmp_off off = fmp_load_relaxed(&d->shm->arena); /* relaxed: under the lock, as all here */
    if (off != d->arena.off) {
        if (off == 0) {
            d->arena = (struct fmp_dict_arena){0};
        } else {
            check_arena(d, off);
        }
    }
    return d->arena.at != NULL ? &d->arena : NULL;
}

static uint32_t
slots_of(const struct fmp_dict_arena *a)
{
    return 2 * a->order_room;
}

static uint32_t *
index_of(const struct fmp_dict_arena *a)
{
    return (uint32_t *)(a->at + 1);
}

static _Atomic uint64_t *
order_of(const struct fmp_dict_arena *a)
{
    return (_Atomic uint64_t *)(index_of(a) + slots_of(a));
}

static uint32_t
used_of(struct fmp_dict_arena *a)
{
    uint32_t used = fmp_load_relaxed(&a->at->used);
    if (FMP_LIKELY(used <= a->order_room)) {
        return used;
    }
    a->damaged = true;
    return 0;
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

/* Does a whole record lie at `off`? */
static bool
holds_record(const struct fmp_dict_arena *a, uint64_t off)
{
    if (off % 8 != 0 || off < log_start(a->order_room) || off > a->log_end ||
        a->log_end - off < sizeof(struct fmp_dict_record)) {
        return false;
    }
    const struct fmp_dict_record *r = (const struct fmp_dict_record *)((const char *)a->at + off);
    uint64_t value_bytes = r->value_bytes;
    return value_bytes <= a->log_end && record_bytes(r->key_bytes, r->extra_bytes, value_bytes) <= a->log_end - off;
}

/* The record of order item `i`, or NULL if it was removed. */
static struct fmp_dict_record *
record_at(struct fmp_dict_arena *a, uint32_t i)
{
    uint64_t off = fmp_load_relaxed(&order_of(a)[i]);
    if (off == 0) {
        return NULL;
    }
    if (FMP_UNLIKELY(!holds_record(a, off))) {
        a->damaged = true;
        return NULL;
    }
    return (struct fmp_dict_record *)((char *)a->at + off);
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

/* Where a key's entry is: its slot of the index and its item of the order; or the free slot where it would be. */
struct place {
    uint32_t slot, item;
    bool found;
};

/* An item that was removed keeps its slot, and there are twice as many slots as items, so each walk ends; if not, the
 * index is damaged. */
static struct place
place_of(struct fmp_dict_arena *a, const struct fmp_dict_key *key)
{
    const uint32_t *index = index_of(a);
    uint32_t mask = slots_of(a) - 1, slot = (uint32_t)key->hash & mask, used = used_of(a), entry;
    for (uint32_t left = mask; (entry = index[slot]) != 0; slot = (slot + 1) & mask, left--) {
        if (FMP_UNLIKELY(entry > used || left == 0)) {
            a->damaged = true;
            break;
        }
        const struct fmp_dict_record *r = record_at(a, entry - 1);
        if (r != NULL && is_key(r, key)) {
            return (struct place){.slot = slot, .item = entry - 1, .found = true};
        }
    }
    return (struct place){.slot = slot};
}

static void
enter_index(struct fmp_dict_arena *a, const struct fmp_dict_record *r, uint32_t i)
{
    const struct fmp_dict_key key = {.data = r->data, .bytes = r->key_bytes, .hash = r->hash};
    struct place place = place_of(a, &key);
    if (!place.found) {
        index_of(a)[place.slot] = i + 1;
    }
}

/* Index, live and log_used from what was published. */
static void
derive(struct fmp_dict_arena *a)
{
    uint32_t used = used_of(a);
    memset(index_of(a), 0, slots_of(a) * sizeof(uint32_t));
    a->at->live = 0;
    a->at->log_used = log_start(a->order_room);
    for (uint32_t i = 0; i < used; i++) {
        const struct fmp_dict_record *r = record_at(a, i);
        if (r != NULL) {
            uint64_t end = (uint64_t)((const char *)r - (const char *)a->at) + bytes_of(r);
            a->at->log_used = end > a->at->log_used ? end : a->at->log_used;
            a->at->live++;
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
    struct fmp_dict_arena *a = arena_of(d);
    if (a != NULL) {
        fmp_store_relaxed(&d->shm->position, a->at->position);
        derive(a);
    }
    FMP_FAULT("dict:recovered");
}

/* ---- reading ---- */

const struct fmp_dict_record *
fmp_dict_find(struct fmp_dict *d, const struct fmp_dict_key *key)
{
    struct fmp_dict_arena *a = arena_of(d);
    if (a == NULL) {
        return NULL;
    }
    struct place place = place_of(a, key);
    return place.found ? record_at(a, place.item) : NULL;
}

uint32_t
fmp_dict_length(struct fmp_dict *d)
{
    struct fmp_dict_arena *a = arena_of(d);
    if (a == NULL) {
        return 0;
    }
    uint32_t live = a->at->live;
    a->damaged |= live > used_of(a);
    return live;
}

const struct fmp_dict_record *
fmp_dict_next(struct fmp_dict *d, uint32_t *at)
{
    struct fmp_dict_arena *a = arena_of(d);
    uint32_t used = a != NULL ? used_of(a) : 0;
    while (*at < used) {
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
    struct fmp_dict_arena *a = arena_of(d);
    for (uint32_t i = a != NULL ? used_of(a) : 0; i > 0; i--) {
        const struct fmp_dict_record *r = record_at(a, i - 1);
        if (r != NULL) {
            return r;
        }
    }
    return NULL;
}

bool
fmp_dict_measure(struct fmp_dict *d, uint64_t *bytes)
{
    const struct fmp_dict_record *r;
    uint64_t most = arena_of(d) != NULL ? d->arena.log_end : 0;
    *bytes = 0;
    for (uint32_t at = 0; *bytes <= most && (r = fmp_dict_next(d, &at)) != NULL;) {
        *bytes += bytes_of(r);
    }
    d->arena.damaged |= *bytes > most; /* records that lie on one another */
    return !d->arena.damaged;
}

/* ---- arenas ---- */

/* An empty arena in a block that we own. -ENOSPC. */
static int
new_arena(struct fmp_dict *d, uint32_t order_room, uint64_t log_bytes, struct fmp_dict_arena *new)
{
    uint64_t start = log_start(order_room);
    fmp_off off;
    int rc = fmp_heap_alloc(d->heap, start + log_bytes, &off);
    if (rc != 0) {
        return rc;
    }
    struct arena *a = fmp_at(d->region, off);
    memset(a, 0, start);
    a->order_room = order_room;
    a->log_used = start;
    a->log_end = start + log_bytes;
    *new = (struct fmp_dict_arena){.at = a, .off = off, .log_end = a->log_end, .order_room = order_room};
    return 0;
}

/* The live records, in their order. */
static void
copy_records(struct fmp_dict_arena *to, struct fmp_dict_arena *from)
{
    uint32_t used = from != NULL ? used_of(from) : 0, count = 0;
    uint64_t end = to->at->log_used;
    for (uint32_t i = 0; i < used; i++) {
        const struct fmp_dict_record *r = record_at(from, i);
        if (r != NULL) {
            uint64_t bytes = bytes_of(r);
            memcpy((char *)to->at + end, r, bytes);
            fmp_store_relaxed(&order_of(to)[count], end); /* relaxed: nobody sees it yet */
            end += bytes;
            count++;
        }
    }
    fmp_store_relaxed(&to->at->used, count);
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
replace(struct fmp_dict *d, struct fmp_dict_arena *from, uint32_t order_room, uint64_t log_bytes)
{
    struct fmp_dict_arena new;
    int rc = new_arena(d, order_room, log_bytes, &new);
    if (rc != 0) {
        return rc;
    }
    copy_records(&new, from);
    FMP_FAULT("dict:copied");
    rc = publish_arena(d, new.off);
    if (rc != 0) {
        fmp_heap_free(d->heap, new.off);
    }
    return rc;
}

/* A larger, or a smaller, arena with room for another record of `bytes`: twice what is needed, so that the next move is
 * as far away as the last. */
static int
move(struct fmp_dict *d, uint64_t bytes)
{
    struct fmp_dict_arena *a = arena_of(d);
    uint64_t live_bytes;
    uint32_t live = fmp_dict_length(d), room = ORDER_MIN;
    if (!fmp_dict_measure(d, &live_bytes)) {
        return -EBADMSG;
    }
    live_bytes += bytes;
    if (live >= ORDER_MAX / 2) {
        return -E2BIG;
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
    if (fmp_dict_length(d) == 0 && !fmp_dict_is_damaged(d)) {
        return 0;
    }
    int rc = replace(d, NULL, ORDER_MIN, LOG_MIN);
    if (rc == 0) {
        d->arena = (struct fmp_dict_arena){0}; /* with what was wrong about it */
    }
    return rc;
}

/* ---- writing ---- */

static bool
has_room(struct fmp_dict *d, uint64_t bytes)
{
    struct fmp_dict_arena *a = arena_of(d);
    if (a == NULL) {
        return false;
    }
    uint64_t log_used = a->at->log_used;
    a->damaged |= log_used % 8 != 0 || log_used < log_start(a->order_room) || log_used > a->log_end;
    return !a->damaged && bytes <= a->log_end - log_used && used_of(a) < a->order_room;
}

int
fmp_dict_reserve(struct fmp_dict *d, const struct fmp_dict_key *key, uint32_t extra_bytes, uint64_t value_bytes,
                 struct fmp_dict_record **record)
{
    if (value_bytes > UINT64_C(1) << 56) {
        return -E2BIG;
    }
    uint64_t bytes = record_bytes(key->bytes, extra_bytes, value_bytes);
    if (!has_room(d, bytes)) {
        int rc = fmp_dict_is_damaged(d) ? -EBADMSG : move(d, bytes);
        if (rc != 0) {
            return rc;
        }
        if (!has_room(d, bytes)) {
            return -EBADMSG;
        }
    }
    struct arena *a = d->arena.at;
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
    struct fmp_dict_arena *a = arena_of(d);
    const struct fmp_dict_key key = {.data = record->data, .bytes = record->key_bytes, .hash = record->hash};
    if (a == NULL) {
        return;
    }
    struct place place = place_of(a, &key);
    uint32_t used = used_of(a), i = place.found ? place.item : used;
    if (a->damaged || i >= a->order_room) {
        a->damaged = true;
        return;
    }
    uint64_t off = (uint64_t)((const char *)record - (const char *)a->at);
    /* D1: publishes a new value; a new entry only with the next store. */
    fmp_store_release(&order_of(a)[i], off);
    FMP_FAULT("dict:ordered");
    a->at->log_used = off + bytes_of(record);
    if (!place.found) {
        fmp_store_release(&a->at->used, used + 1); /* D1: publishes the entry; pairs with L3 */
        FMP_FAULT("dict:used");
        index_of(a)[place.slot] = i + 1;
        a->at->live++;
    }
}

bool
fmp_dict_remove(struct fmp_dict *d, const struct fmp_dict_key *key)
{
    struct fmp_dict_arena *a = arena_of(d);
    if (a == NULL) {
        return false;
    }
    struct place place = place_of(a, key);
    if (place.found) {
        fmp_store_release(&order_of(a)[place.item], 0); /* D1: pairs with L3 */
        FMP_FAULT("dict:removed");
        a->at->live--;
    }
    return place.found;
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
    fmp_off off = fmp_load_acquire(&shm->arena);                                /* D2: pairs with D1 */
    if (off % 8 != 0 || !fmp_region_holds(region, off, sizeof(struct arena))) { /* 0 is none */
        return false;
    }
    return ((const struct arena *)fmp_at(region, off))->position == position;
}

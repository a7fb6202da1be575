/* The dict: entries in order, moves to other arenas, and a process that is killed at each step of a change. */
#include "base/fault.h"
#include "check.h"
#include "dict/dict.h"

static struct fmp_region region;
static struct fmp_heap *heap;
static struct fmp_dict dict;

static bool
carried(struct fmp_region *r, fmp_off root, uint64_t bytes, uint64_t position)
{
    bool is_dict;
    bool found = fmp_dict_carries(r, root, bytes, position, &is_dict);
    CHECK(is_dict);
    return found;
}

static void
open_all(void)
{
    CHECK_OK(fmp_region_create(&region, FMP_REGION_SIZE_MIN * 16));
    CHECK_OK(fmp_participant_join(&region));
    CHECK_OK(fmp_heap_open(&heap, &region));
    fmp_heap_set_carried(heap, carried);
    dict = (struct fmp_dict){.heap = heap, .region = &region};
    CHECK_OK(fmp_heap_alloc_shared(heap, sizeof(struct fmp_dict_shm), FMP_BLOCK_RING, &dict.root));
    dict.shm = fmp_at(&region, dict.root);
    fmp_dict_init(dict.shm);
}

static void
close_all(void)
{
    struct fmp_heap_stats stats;
    fmp_heap_drop(heap, dict.root, region.me);
    fmp_heap_count(heap, &stats);
    CHECK_EQ(stats.owned + stats.transit + stats.shared, 0);
    fmp_heap_close(heap);
    fmp_participant_leave(&region);
    fmp_region_close(&region);
}

static int
put(const char *key, const char *extra, const void *value, uint64_t bytes)
{
    struct fmp_dict_key k = fmp_dict_key_of(key, (uint32_t)strlen(key));
    struct fmp_dict_record *r;
    int rc = fmp_dict_reserve(&dict, &k, (uint32_t)strlen(extra), bytes, &r);
    if (rc == 0) {
        memcpy(r->data + r->key_bytes, extra, strlen(extra));
        memcpy(r->data + r->key_bytes + r->extra_bytes, value, bytes);
        fmp_dict_commit(&dict, r);
    }
    return rc;
}

static int
put_number(int key, int value)
{
    char text[32];
    snprintf(text, sizeof text, "key %d", key);
    return put(text, "", &value, sizeof value);
}

static int
number_at(int key)
{
    char text[32];
    snprintf(text, sizeof text, "key %d", key);
    struct fmp_dict_key k = fmp_dict_key_of(text, (uint32_t)strlen(text));
    const struct fmp_dict_record *r = fmp_dict_find(&dict, &k);
    int value = -1;
    if (r != NULL) {
        CHECK_EQ(r->value_bytes, sizeof value);
        memcpy(&value, fmp_dict_value(r), sizeof value);
    }
    return value;
}

static bool
remove_number(int key)
{
    char text[32];
    snprintf(text, sizeof text, "key %d", key);
    struct fmp_dict_key k = fmp_dict_key_of(text, (uint32_t)strlen(text));
    return fmp_dict_remove(&dict, &k);
}

static void
test_empty(void)
{
    open_all();
    uint32_t at = 0;
    CHECK_EQ(fmp_dict_length(&dict), 0);
    CHECK(fmp_dict_next(&dict, &at) == NULL && fmp_dict_last(&dict) == NULL);
    CHECK(!remove_number(1));
    CHECK_EQ(number_at(1), -1);
    CHECK_OK(fmp_dict_clear(&dict));
    close_all();
}

static void
test_entries_in_order(void)
{
    open_all();
    for (int i = 0; i < 5000; i++) {
        CHECK_OK(put_number(i, i));
    }
    for (int i = 0; i < 5000; i++) {
        CHECK_OK(put_number(i, 2 * i));
        if (i % 2 == 1) {
            CHECK(remove_number(i));
            CHECK(!remove_number(i));
        }
    }
    CHECK_EQ(fmp_dict_length(&dict), 2500);
    uint32_t at = 0;
    for (int i = 0; i < 5000; i += 2) {
        int value;
        const struct fmp_dict_record *r = fmp_dict_next(&dict, &at);
        CHECK(r != NULL);
        memcpy(&value, fmp_dict_value(r), sizeof value);
        CHECK_EQ(value, 2 * i);
        CHECK_EQ(number_at(i), 2 * i);
    }
    CHECK(fmp_dict_next(&dict, &at) == NULL);
    CHECK_OK(fmp_dict_clear(&dict));
    CHECK_EQ(fmp_dict_length(&dict), 0);
    close_all();
}

static void
test_what_lies_unused_goes(void)
{
    open_all();
    struct fmp_heap_stats stats;
    static char large[20000];
    for (int i = 0; i < 3000; i++) {
        CHECK_OK(put("the same", "extra", large, sizeof large));
    }
    fmp_heap_count(heap, &stats);
    CHECK_EQ(stats.transit, 1);
    CHECK(stats.bytes_in_use < 200000);
    const struct fmp_dict_record *r = fmp_dict_last(&dict);
    CHECK(memcmp(fmp_dict_extra(r), "extra", 5) == 0);
    close_all();
}

static void
test_no_memory(void)
{
    open_all();
    CHECK_OK(put_number(1, 10));
    struct fmp_dict_key k = fmp_dict_key_of("x", 1);
    struct fmp_dict_record *r;
    CHECK_EQ(fmp_dict_reserve(&dict, &k, 0, UINT64_C(1) << 40, &r), -ENOSPC);
    CHECK_EQ(fmp_dict_reserve(&dict, &k, 0, UINT64_MAX, &r), -E2BIG);
    CHECK_EQ(number_at(1), 10);
    CHECK_OK(put_number(2, 20));
    close_all();
}

/* ---- the dead ---- */

enum { SETTLED = 40 };

static struct {
    const char *point;
    unsigned nth;
} victim;

/* Replaces, adds, removes, moves, clears nothing: the settled keys keep one of two values. */
static void
be_victim(void *unused)
{
    (void)unused;
    region.me = 0;
    CHECK_OK(fmp_participant_join(&region));
    CHECK(fmp_lock_try(&dict.shm->lock, region.me));
    fmp_fault_arm(victim.point, victim.nth);
    for (int i = 0; i < SETTLED; i++) {
        CHECK_OK(put_number(i, 1000 + i));
        CHECK_OK(put_number(SETTLED + i, i));
        CHECK(i == 0 || remove_number(SETTLED + i - 1));
    }
    fmp_lock_release(&dict.shm->lock);
    fmp_participant_leave(&region);
}

static void
check_victim(const char *point, unsigned nth)
{
    open_all();
    for (int i = 0; i < SETTLED; i++) {
        CHECK_OK(put_number(i, i));
    }
    victim.point = point;
    victim.nth = nth;
    CHECK_KILLED(check_fork(be_victim, NULL), SIGKILL);
    struct fmp_lock_waiter w = {.shm = &dict.shm->lock, .region = &region};
    CHECK_EQ(fmp_lock_acquire(&w, 0), FMP_OWNER_DIED);
    fmp_dict_recover(&dict);
    fmp_heap_reclaim(heap, w.dead);
    struct fmp_heap_stats stats;
    fmp_heap_count(heap, &stats);
    CHECK_EQ(stats.transit, 1); /* the arena, and none that was to become one */
    CHECK_EQ(stats.owned, 0);
    bool old = false;
    for (int i = 0; i < SETTLED; i++) {
        int value = number_at(i);
        old = old || value == i;
        CHECK(value == (old ? i : 1000 + i));
    }
    CHECK(fmp_dict_length(&dict) >= SETTLED && fmp_dict_length(&dict) <= SETTLED + 2);
    for (int i = 0; i < 500; i++) {
        CHECK_OK(put_number(i, i));
    }
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(number_at(i), i);
    }
    CHECK_OK(fmp_lock_release(&dict.shm->lock));
    close_all();
}

static void
test_victims(void)
{
    static const char *const points[] = {"dict:reserved", "dict:ordered", "dict:used",  "dict:removed",
                                         "dict:copied",   "dict:claimed", "dict:moved", "heap:transit",
                                         "heap:received", "heap:freeing"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        check_victim(points[i], 1);
    }
    check_victim("dict:reserved", 37);
    check_victim("dict:ordered", 50);
    check_victim("dict:used", 11);
}

/* ---- damage ---- */

/* A word of the arena's head, index or order: what is looked up is there or not, or
 * damage is met; nothing else is read. Cleared, the dict works again. */
static void
damage_word(uintptr_t off, uint64_t value)
{
    const struct fmp_dict_record *r;
    open_all();
    for (int i = 0; i < 20; i++) {
        CHECK_OK(put_number(i, i));
    }
    memcpy((char *)fmp_at(&region, dict.shm->arena) + off, &value, sizeof value);
    dict.arena = (struct fmp_dict_arena){0};
    for (int i = 0; i < 20; i++) {
        (void)number_at(i);
    }
    for (uint32_t n = 0; (r = fmp_dict_next(&dict, &n)) != NULL;) {
        CHECK(fmp_region_holds(&region, fmp_off_of(&region, r), sizeof *r + r->value_bytes));
    }
    (void)put_number(30, 30);
    (void)fmp_dict_length(&dict);
    CHECK_OK(fmp_dict_clear(&dict));
    dict.arena = (struct fmp_dict_arena){0};
    CHECK_OK(put_number(1, 2));
    CHECK(number_at(1) == 2 && !fmp_dict_is_damaged(&dict));
    fmp_heap_drop(heap, dict.root, region.me);
    fmp_heap_close(heap);
    fmp_participant_leave(&region);
    fmp_region_close(&region);
}

static void
test_damaged_arena(void)
{
    static const uint64_t values[] = {UINT64_MAX, UINT64_C(1) << 40, 3, UINT64_C(0x0000000100000001), 1 << 20};
    for (uintptr_t off = 8; off < 560; off += sizeof(uint64_t)) {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            damage_word(off, values[i]);
        }
    }
}

/* An arena that is none is met as damage, and another is made by clear. */
static void
test_damaged_root(void)
{
    static const uint64_t places[] = {1, 4096, UINT64_C(1) << 20, UINT64_C(1) << 62, UINT64_MAX};
    open_all();
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        CHECK_OK(put_number(1, 1));
        fmp_store_relaxed(&dict.shm->arena, places[i]);
        CHECK_EQ(number_at(1), -1);
        CHECK(fmp_dict_is_damaged(&dict));
        CHECK_EQ(put_number(2, 2), -EBADMSG);
        CHECK(!carried(&region, dict.root, sizeof *dict.shm, 77));
        fmp_dict_recover(&dict);
        CHECK_OK(fmp_dict_clear(&dict));
        CHECK_OK(put_number(2, 2));
        CHECK_EQ(number_at(2), 2);
        CHECK(!fmp_dict_is_damaged(&dict));
    }
    fmp_heap_drop(heap, dict.root, region.me);
    fmp_heap_close(heap);
    fmp_participant_leave(&region);
    fmp_region_close(&region);
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_empty);
    RUN(test_entries_in_order);
    RUN(test_what_lies_unused_goes);
    RUN(test_no_memory);
    RUN(test_victims);
    RUN(test_damaged_arena);
    RUN(test_damaged_root);
    return check_done();
}

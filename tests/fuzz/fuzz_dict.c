/* The dict: its root and its arena (index, order, records) are damaged between all that is done with entries. */
#include "dict/dict.h"
#include "kit.h"

#define OPERATIONS_MAX 100
#define ARENA_WORDS (4096 / sizeof(uint64_t))

static struct fmp_region region;
static struct fmp_heap *heap;
static struct fmp_dict dict;
static volatile unsigned char sink;

static bool
carried(struct fmp_region *r, fmp_off root, uint64_t bytes, uint64_t position)
{
    bool is_dict;
    return fmp_dict_carries(r, root, bytes, position, &is_dict);
}

static void
open_dict(void)
{
    dict = (struct fmp_dict){.heap = heap, .region = &region, .root = dict.root};
    dict.shm = fmp_at(&region, dict.root);
}

static void
make(void)
{
    FUZZ_CHECK(fmp_region_create(&region, FMP_REGION_SIZE_MIN) == 0);
    FUZZ_CHECK(fmp_participant_join(&region) == 0);
    FUZZ_CHECK(fmp_heap_open(&heap, &region) == 0);
    fmp_heap_set_carried(heap, carried);
    FUZZ_CHECK(fmp_heap_alloc_shared(heap, sizeof(struct fmp_dict_shm), FMP_BLOCK_RING, &dict.root) == 0);
    open_dict();
    fmp_dict_init(dict.shm);
}

/* A reader reads all of an entry. */
static void
read_record(const struct fmp_dict_record *r)
{
    if (r == NULL) {
        return;
    }
    uint64_t bytes = (uint64_t)r->key_bytes + r->extra_bytes + r->value_bytes;
    FUZZ_CHECK(fmp_region_holds(&region, fmp_off_of(&region, r), sizeof *r + bytes));
    for (uint64_t i = 0; i < bytes; i++) {
        sink ^= r->data[i];
    }
}

static void
put(struct fuzz_input *in, const struct fmp_dict_key *key)
{
    struct fmp_dict_record *r;
    uint32_t extra = fuzz_take(in, 1) % 4 == 0 ? 8 : 0;
    uint64_t value = fuzz_take(in, 1) % 8 == 0 ? fuzz_take(in, 2) : fuzz_take(in, 1);
    if (fmp_dict_reserve(&dict, key, extra, value, &r) == 0) {
        FUZZ_CHECK(fmp_region_holds(&region, fmp_off_of(&region, r), sizeof *r + key->bytes + extra + value));
        memset(r->data + key->bytes, 0x55, extra + value);
        fmp_dict_commit(&dict, r);
    }
}

static void
damage(struct fuzz_input *in)
{
    fmp_off arena = dict.shm->arena;
    if (fuzz_take(in, 1) % 4 == 0) {
        fuzz_damage(in, dict.shm, sizeof *dict.shm / sizeof(uint64_t));
    } else if (arena != 0 && arena % 8 == 0 && fmp_region_holds(&region, arena, ARENA_WORDS * 8)) {
        fuzz_damage(in, fmp_at(&region, arena), fuzz_take(in, 1) % 2 == 0 ? 6 : ARENA_WORDS);
    }
}

static void
walk(void)
{
    const struct fmp_dict_record *r;
    for (uint32_t at = 0; (r = fmp_dict_next(&dict, &at)) != NULL;) {
        read_record(r);
    }
    read_record(fmp_dict_last(&dict));
}

static void
operate(struct fuzz_input *in)
{
    uint64_t text = fuzz_take(in, 1) % 32;
    struct fmp_dict_key key = fmp_dict_key_of(&text, fuzz_take(in, 1) % 2 == 0 ? 8 : 3);
    open_dict(); /* as each operation of a process does */
    switch (fuzz_take(in, 1) % 8) {
    case 0:
        damage(in);
        break;
    case 1:
        read_record(fmp_dict_find(&dict, &key));
        break;
    case 2:
        walk();
        break;
    case 3:
        (void)fmp_dict_remove(&dict, &key);
        break;
    case 4:
        (void)fmp_dict_length(&dict);
        fmp_dict_recover(&dict);
        break;
    case 5:
        (void)fmp_dict_clear(&dict);
        break;
    default:
        put(in, &key);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make();
    fuzz_run(data, size, OPERATIONS_MAX, operate);
    open_dict();
    walk();
    fmp_heap_drop(heap, dict.root, region.me);
    fmp_heap_close(heap);
    fmp_participant_leave(&region);
    fmp_region_close(&region);
    return 0;
}

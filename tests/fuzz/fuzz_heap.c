/* The heap: the headers of heap, chunks and blocks, and the holder bitmaps, are damaged between all that is done with
 * blocks. */
#include "heap/internal.h"
#include "heap/parcels.h"
#include "kit.h"

#define OPERATIONS_MAX 100
#define KEPT 16u

static struct fmp_region region;
static struct fmp_heap *heap;
static fmp_off kept[KEPT]; /* offsets that were blocks once */
static uint64_t ticket;

static bool
carried(struct fmp_region *r, fmp_off ring, uint64_t bytes, uint64_t position)
{
    FUZZ_CHECK(fmp_region_holds(r, ring, bytes));
    return position % 2 == 0;
}

static void
make(void)
{
    FUZZ_CHECK(fmp_region_create(&region, FMP_REGION_SIZE_MIN) == 0);
    FUZZ_CHECK(fmp_participant_join(&region) == 0);
    FUZZ_CHECK(fmp_heap_open(&heap, &region) == 0);
    fmp_heap_set_carried(heap, carried);
    memset(kept, 0, sizeof kept);
}

static fmp_off *
one_of(struct fuzz_input *in)
{
    return &kept[fuzz_take(in, 1) % KEPT];
}

/* An offset that another process might have written. */
static fmp_off
some_offset(struct fuzz_input *in)
{
    fmp_off off = *one_of(in);
    return fuzz_take(in, 1) % 4 == 0 ? fuzz_word(in, off) : off;
}

static void
damage(struct fuzz_input *in)
{
    fmp_off off = *one_of(in);
    switch (fuzz_take(in, 1) % 5) {
    case 0:
        fuzz_damage(in, heap->shm, sizeof *heap->shm / sizeof(uint64_t));
        break;
    case 1:
        fuzz_damage(in, (void *)heap->table, 2);
        break;
    case 2:
        fuzz_damage(in, fmp_chunk_at(heap, fuzz_take(in, 1) % heap->chunks), 2);
        break;
    case 3: /* the bitmaps at a chunk's end */
        fuzz_damage(in, (char *)fmp_chunk_at(heap, 1 + fuzz_take(in, 1) % (heap->chunks - 1)) - 4096, 512);
        break;
    default:
        if (off != 0) {
            fuzz_damage(in, (char *)fmp_at(&region, off) - sizeof(struct fmp_block_shm), 8);
        }
    }
}

/* Whoever gets a block may write all of it. */
static void
use(fmp_off off)
{
    uint64_t usable = fmp_heap_usable(heap, off);
    if (usable != 0) {
        FUZZ_CHECK(fmp_region_holds(&region, off, usable));
        memset(fmp_at(&region, off), 0x55, usable < 64 ? usable : 64);
        memset((char *)fmp_at(&region, off) + usable - 1, 0x55, 1);
    }
}

static void
send_and_receive(struct fuzz_input *in)
{
    fmp_off off = some_offset(in), ring = some_offset(in);
    uint64_t position = fuzz_take(in, 1);
    if (fuzz_take(in, 1) % 2 == 0) {
        (void)fmp_heap_send(heap, off, ring, position);
    } else if (fmp_heap_receive(heap, off, ring, position) == 0) {
        use(off);
    }
}

static void
use_parcel(struct fuzz_input *in)
{
    fmp_off target, *parcel = one_of(in);
    switch (fuzz_take(in, 1) % 6) {
    case 0:
        (void)fmp_parcel_make(heap, some_offset(in), parcel, &ticket);
        break;
    case 1:
        (void)fmp_parcel_take(heap, some_offset(in), ticket);
        break;
    case 2:
        if (fmp_parcel_open(heap, some_offset(in), &target) == 0) {
            FUZZ_CHECK(fmp_region_holds(&region, target, 64));
        }
        break;
    case 3:
        (void)fmp_parcel_send(heap, some_offset(in), some_offset(in), 0);
        break;
    case 4:
        (void)fmp_parcel_receive(heap, some_offset(in), some_offset(in), 0);
        break;
    default:
        fmp_parcel_free(heap, some_offset(in));
    }
}

static void
alloc(struct fuzz_input *in)
{
    fmp_off *off = one_of(in);
    uint64_t bytes = fuzz_take(in, 1) % 4 == 0 ? fuzz_take(in, 3) : fuzz_take(in, 2);
    enum fmp_block_kind kind = (enum fmp_block_kind)(fuzz_take(in, 1) % 8);
    int rc = kind <= FMP_BLOCK_OTHER ? fmp_heap_alloc_shared(heap, bytes, kind, off) : fmp_heap_alloc(heap, bytes, off);
    if (rc == 0) {
        use(*off);
    }
}

static void
look(struct fuzz_input *in)
{
    struct fmp_heap_stats stats;
    fmp_off off = some_offset(in);
    fmp_heap_count(heap, &stats);
    use(off);
    (void)fmp_heap_holders(heap, off);
    (void)fmp_heap_is_held(heap, off, fmp_heap_life(heap, off), FMP_BLOCK_DATA, 64);
}

static void
operate(struct fuzz_input *in)
{
    switch (fuzz_take(in, 1) % 11) {
    case 0:
    case 1:
        damage(in);
        break;
    case 2:
        fmp_heap_free(heap, some_offset(in));
        break;
    case 3:
        send_and_receive(in);
        break;
    case 4:
        (void)fmp_heap_share(heap, some_offset(in));
        break;
    case 5:
        fmp_heap_hold(heap, some_offset(in), (uint32_t)fuzz_take(in, 3));
        break;
    case 6:
        fmp_heap_drop(heap, some_offset(in), fuzz_take(in, 1) % 2 == 0 ? region.me : (uint32_t)fuzz_take(in, 3));
        break;
    case 7:
        look(in);
        break;
    case 8:
        use_parcel(in);
        break;
    case 9:
        fmp_heap_reclaim(heap, (uint32_t)fuzz_take(in, 3));
        break;
    default:
        alloc(in);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make();
    fuzz_run(data, size, OPERATIONS_MAX, operate);
    fmp_parcels_leave(heap);
    fmp_heap_drop_all(heap, region.me, 0);
    fmp_heap_close(heap);
    fmp_participant_leave(&region);
    fmp_region_close(&region);
    return 0;
}

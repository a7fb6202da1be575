/* The block heap in one process: sizes, contents, ownership, holders, bad offsets, a full region. */
#include <sys/resource.h>

#include "check.h"
#include "heap/classes.h"
#include "heap/heap.h"
#include "shm/participants.h"
#include "sys/memory.h"

static struct fmp_region region;
static struct fmp_heap *heap;

static void
open_heap(uint64_t size)
{
    CHECK_OK(fmp_region_create(&region, size));
    CHECK_OK(fmp_participant_join(&region));
    CHECK_OK(fmp_heap_open(&heap, &region));
}

static void
close_heap(void)
{
    fmp_heap_close(heap);
    fmp_region_close(&region);
}

static struct fmp_heap_stats
count(void)
{
    struct fmp_heap_stats stats;
    fmp_heap_count(heap, &stats);
    return stats;
}

static fmp_off
alloc(uint64_t bytes)
{
    fmp_off off = 0;
    CHECK_OK(fmp_heap_alloc(heap, bytes, &off));
    return off;
}

static void
test_sizes(void)
{
    open_heap(0);
    static const uint64_t sizes[] = {0,       1,       63,    64,    65,     256,    257,     4096,
                                     5000,    65535,   65536, 65537, 262144, 262145, 1 << 20, 1048576 - 4096,
                                     3 << 20, 50 << 20};
    fmp_off offs[sizeof sizes / sizeof *sizes];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        offs[i] = alloc(sizes[i]);
        CHECK_EQ(offs[i] % 64, 0);
        CHECK(fmp_heap_usable(heap, offs[i]) >= sizes[i]);
        memset(fmp_at(&region, offs[i]), (int)i + 1, fmp_heap_usable(heap, offs[i]));
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const unsigned char *p = fmp_at(&region, offs[i]);
        uint64_t usable = fmp_heap_usable(heap, offs[i]);
        for (uint64_t at = 0; at < usable; at += 61) {
            CHECK_EQ(p[at], i + 1);
        }
        CHECK_EQ(p[usable - 1], i + 1);
        fmp_heap_free(heap, offs[i]);
        CHECK_EQ(fmp_heap_usable(heap, offs[i]), 0);
    }
    CHECK_EQ(count().owned, 0);
    CHECK_EQ(count().bytes_in_use, 0);
    close_heap();
}

/* Every size up to 1 MiB gets enough and not much more. */
static void
test_waste_is_bounded(void)
{
    open_heap(0);
    for (uint64_t bytes = 1; bytes <= 1 << 18; bytes += bytes / 7 + 1) {
        fmp_off off = alloc(bytes);
        uint64_t usable = fmp_heap_usable(heap, off);
        CHECK(usable >= bytes);
        CHECK(usable <= bytes + bytes / 4 + 64);
        fmp_heap_free(heap, off);
    }
    close_heap();
}

static void
test_free_blocks_are_used_again(void)
{
    open_heap(0);
    static fmp_off offs[5000];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 5000; i++) {
            offs[i] = alloc(1000);
        }
        for (int i = 0; i < 5000; i++) {
            fmp_heap_free(heap, offs[(i * 7919) % 5000]);
        }
    }
    CHECK(count().free < 2 * 5000);
    for (int round = 0; round < 100; round++) {
        fmp_heap_free(heap, alloc(10 << 20));
    }
    CHECK(count().free < 2 * 5000 + 2);
    close_heap();
}

static void
test_transit(void)
{
    open_heap(0);
    fmp_off off = alloc(3000), ring;
    CHECK_OK(fmp_heap_alloc_shared(heap, 4096, FMP_BLOCK_RING, &ring));
    CHECK_EQ(fmp_heap_receive(heap, off, ring, 7), -EBADMSG);
    CHECK_OK(fmp_heap_send(heap, off, ring, 7));
    CHECK_EQ(fmp_heap_send(heap, off, ring, 7), -EINVAL);
    CHECK_EQ(count().transit, 1);
    fmp_heap_free(heap, off); /* not ours now */
    CHECK_EQ(count().transit, 1);
    CHECK_EQ(fmp_heap_receive(heap, off, ring, 8), -EBADMSG);
    CHECK_EQ(fmp_heap_receive(heap, off, ring + 64, 7), -EBADMSG);
    CHECK_OK(fmp_heap_receive(heap, off, ring, 7));
    CHECK_EQ(fmp_heap_receive(heap, off, ring, 7), -EBADMSG);
    fmp_heap_free(heap, off);
    CHECK_EQ(count().owned + count().transit, 0);
    close_heap();
}

static void
test_dropped_ring_frees_what_it_carried(void)
{
    open_heap(0);
    fmp_off ring, other;
    CHECK_OK(fmp_heap_alloc_shared(heap, 3 << 20, FMP_BLOCK_RING, &ring));
    CHECK_OK(fmp_heap_alloc_shared(heap, 4096, FMP_BLOCK_RING, &other));
    CHECK_OK(fmp_heap_send(heap, alloc(200), ring, 0));
    CHECK_OK(fmp_heap_send(heap, alloc(1 << 20), ring + (2 << 20), 1)); /* a second ring in the block */
    CHECK_OK(fmp_heap_send(heap, alloc(200), other, 0));
    fmp_heap_drop(heap, ring, region.me);
    CHECK_EQ(count().transit, 1);
    fmp_heap_drop(heap, other, region.me);
    CHECK_EQ(count().transit + count().shared + count().owned, 0);
    close_heap();
}

static void
test_holders(void)
{
    open_heap(0);
    for (int i = 0; i < 3; i++) { /* small, large, and used again */
        fmp_off off;
        uint64_t bytes = i == 1 ? 2 << 20 : 100;
        fmp_off dirty = alloc(bytes);
        memset(fmp_at(&region, dirty), 0xff, bytes);
        fmp_heap_free(heap, dirty);
        CHECK_OK(fmp_heap_alloc_shared(heap, bytes, FMP_BLOCK_OTHER, &off));
        for (uint64_t at = 0; at < fmp_heap_usable(heap, off); at++) {
            CHECK_EQ(((char *)fmp_at(&region, off))[at], 0);
        }
        CHECK_EQ(fmp_heap_holders(heap, off), 1);
        fmp_heap_hold(heap, off, 0x1fff);
        fmp_heap_hold(heap, off, 0x1fff);
        CHECK_EQ(fmp_heap_holders(heap, off), 2);
        fmp_heap_drop(heap, off, region.me);
        fmp_heap_drop(heap, off, region.me);
        CHECK_EQ(fmp_heap_holders(heap, off), 1);
        CHECK(fmp_heap_usable(heap, off) >= bytes);
        fmp_heap_drop(heap, off, 0x1fff);
        CHECK_EQ(fmp_heap_holders(heap, off), 0);
        CHECK_EQ(fmp_heap_usable(heap, off), 0);
        CHECK_EQ(count().shared + count().owned, 0);
    }
    close_heap();
}

static void
test_share(void)
{
    open_heap(0);
    fmp_off off = alloc(5000);
    uint64_t usable = fmp_heap_usable(heap, off);
    memset(fmp_at(&region, off), 7, usable);
    CHECK_OK(fmp_heap_share(heap, off));
    CHECK_EQ(fmp_heap_share(heap, off), -EINVAL);
    CHECK_EQ(fmp_heap_usable(heap, off), usable);
    CHECK_EQ(((char *)fmp_at(&region, off))[usable - 1], 7);
    CHECK_EQ(fmp_heap_holders(heap, off), 1);
    fmp_heap_free(heap, off); /* has holders: not to be freed this way */
    CHECK_EQ(count().shared, 1);
    fmp_heap_drop(heap, off, region.me);
    CHECK_EQ(count().shared, 0);
    close_heap();
}

/* Offsets that a damaged sibling may have written. */
/* The division by multiplication of fmp_block_at, for each class and each place in a chunk. */
static void
test_the_reciprocal_of_a_stride(void)
{
    for (unsigned cls = 0; cls < FMP_CLASSES; cls++) {
        struct fmp_class c = fmp_class_shape(cls);
        uint64_t stride = c.capacity == 1 ? FMP_CHUNK_BYTES : c.stride, wrong = 0;
        for (uint64_t inside = 0; inside < FMP_CHUNK_BYTES; inside += 16) {
            uint64_t index = inside * c.reciprocal >> 32;
            wrong += index * stride == inside ? inside % stride != 0 || index != inside / stride : inside % stride == 0;
        }
        CHECK_EQ(wrong, 0);
    }
}

static void
test_bad_offsets(void)
{
    open_heap(FMP_REGION_SIZE_MIN);
    fmp_off small = alloc(100), large = alloc(3 << 20);
    const fmp_off bad[] = {0,
                           1,
                           64,
                           4096,
                           FMP_HEAP_OFF,
                           FMP_HEAP_OFF + 4096,
                           small + 64,
                           small - 64,
                           small + 1,
                           large + 64,
                           large - 4096,
                           large + (1 << 20),
                           region.size - 64,
                           region.size,
                           region.size + 4096,
                           UINT64_MAX,
                           UINT64_MAX - 63,
                           small + 192,
                           UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(fmp_heap_usable(heap, bad[i]), 0);
        CHECK_EQ(fmp_heap_receive(heap, bad[i], small, 0), -EBADMSG);
        CHECK_EQ(fmp_heap_share(heap, bad[i]), -EINVAL);
        CHECK_EQ(fmp_heap_send(heap, bad[i], small, 0), -EINVAL);
        fmp_heap_free(heap, bad[i]);
        fmp_heap_hold(heap, bad[i], region.me);
        fmp_heap_drop(heap, bad[i], region.me);
        CHECK_EQ(fmp_heap_holders(heap, bad[i]), 0);
    }
    CHECK_EQ(count().owned, 2);
    for (fmp_off off = 0; off < region.size; off += 32) { /* nothing but the two is a block */
        CHECK(fmp_heap_usable(heap, off) == 0 || off == small || off == large);
    }
    close_heap();
}

static void
fill(uint64_t bytes)
{
    static fmp_off offs[200000];
    unsigned n = 0;
    int rc = 0;
    while ((rc = fmp_heap_alloc(heap, bytes, &offs[n])) == 0) {
        memset(fmp_at(&region, offs[n]), 1, bytes);
        n++;
    }
    CHECK_EQ(rc, -ENOSPC);
    CHECK(n > 0);
    fmp_off off;
    CHECK_EQ(fmp_heap_alloc_shared(heap, bytes, FMP_BLOCK_DATA, &off), -ENOSPC);
    while (n > 0) {
        fmp_heap_free(heap, offs[--n]);
    }
    CHECK_EQ(count().owned, 0);
    fmp_heap_free(heap, alloc(bytes));
}

static void
test_full_region(void)
{
    static const uint64_t sizes[] = {100, 5000, 200000, 1 << 20, 5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        open_heap(FMP_REGION_SIZE_MIN);
        fill(sizes[i]);
        CHECK_EQ(fmp_heap_alloc(heap, 1 << 25, &(fmp_off){0}), -ENOSPC);
        CHECK_EQ(fmp_heap_alloc(heap, UINT64_MAX, &(fmp_off){0}), -ENOSPC);
        close_heap();
    }
}

/* A full region serves a small size that it has no chunk for from a somewhat larger class. */
static void
test_larger_class_helps(void)
{
    open_heap(FMP_REGION_SIZE_MIN);
    fmp_off off, kept[64];
    int n = 0;
    while (fmp_heap_alloc(heap, 1 << 18, &kept[n]) == 0) {
        n++;
    }
    fmp_heap_free(heap, kept[0]);
    CHECK_OK(fmp_heap_alloc(heap, 200000, &off));
    CHECK_EQ(off, kept[0]);
    close_heap();
}

/* The kernel would rather kill somebody than refuse: we refuse. */
static void
test_more_than_the_machine_has(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    CHECK(sys_memory_available().available <= 2 * all); /* it is known here, or this test would fill the machine */
    open_heap(0);
    fmp_off off;
    CHECK_EQ(fmp_heap_alloc(heap, 2 * all + (UINT64_C(1) << 30), &off), -ENOSPC);
    CHECK_EQ(fmp_heap_alloc_shared(heap, 2 * all + (UINT64_C(1) << 30), FMP_BLOCK_DATA, &off), -ENOSPC);
    CHECK_EQ(count().owned, 0);
    CHECK(count().bytes_backed < 1 << 20);
    fmp_heap_free(heap, alloc(1 << 20));
    close_heap();
}

static void
test_pages_are_given_back(void)
{
    setenv("FASTMP_WARM_BYTES", "268435456", 1);
    open_heap(0);
    enum { N = 40 };
    fmp_off offs[N];
    for (int i = 0; i < N; i++) {
        offs[i] = alloc(16 << 20);
    }
    CHECK(count().bytes_backed >= (uint64_t)N << 24);
    for (int i = 0; i < N; i++) {
        fmp_heap_free(heap, offs[i]);
    }
    CHECK(count().bytes_backed <= UINT64_C(1) << 28);
    CHECK(count().bytes_backed > 0);
    fmp_off again[N];
    for (int i = 0; i < N; i++) {
        again[i] = alloc(16 << 20);
        memset(fmp_at(&region, again[i]), 1, 1 << 16);
        CHECK(fmp_heap_usable(heap, again[i]) >= 16 << 20);
    }
    close_heap();
}

/* Nothing is kept where the environment says so. */
static void
test_nothing_is_kept_warm(void)
{
    setenv("FASTMP_WARM_BYTES", "0", 1);
    open_heap(0);
    fmp_heap_free(heap, alloc(8 << 20));
    fmp_heap_free(heap, alloc(1 << 17));
    CHECK_EQ(count().bytes_backed, 0);
    close_heap();
}

#define HUGE_TEST_BYTES (UINT64_C(64) << 20)

static long
faults(void)
{
    struct rusage usage;
    CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

/* The page faults of who stores into each small page; not those of a sanitizer that looks on. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static long
faults_of_stores(char *p)
{
    long before = faults();
    for (uint64_t at = 0; at < HUGE_TEST_BYTES; at += 4096) {
        ((volatile char *)p)[at] = 1;
    }
    return faults() - before;
}

/* What the kernel makes of memory of our own, when it is asked. */
static bool
kernel_makes_huge_pages(void)
{
    int fd = sys_memfd("probe", HUGE_TEST_BYTES);
    void *p;
    CHECK(fd >= 0);
    CHECK_OK(sys_map_shared(fd, HUGE_TEST_BYTES, &p));
    CHECK_OK(sys_reserve_pages(fd, 0, HUGE_TEST_BYTES));
    bool made = (uintptr_t)p % SYS_HUGE_BYTES == 0 && sys_collapse_pages(p, HUGE_TEST_BYTES) == 0;
    sys_unmap(p, HUGE_TEST_BYTES);
    close(fd);
    return made;
}

static void
touch_as_another(void *off)
{
    CHECK(faults_of_stores(fmp_at(&region, *(fmp_off *)off)) < 256);
}

/* In huge pages a large block costs few page faults, its first user and the next; warm, it costs its user none. */
static void
test_few_page_faults(void)
{
    open_heap(0);
    bool had_some = kernel_makes_huge_pages();
    fmp_off off = alloc(HUGE_TEST_BYTES);
    long cold = faults_of_stores(fmp_at(&region, off));
    if (had_some && kernel_makes_huge_pages()) { /* before and after: it did not run out of them in between */
        CHECK(cold < 256);
        CHECK_EXITED(check_fork(touch_as_another, &off), 0);
    }
    fmp_heap_free(heap, off);
    CHECK_EQ(alloc(HUGE_TEST_BYTES), off);
    CHECK(faults_of_stores(fmp_at(&region, off)) < 256);
    close_heap();
}

/* Where there is no chunk left, at least the pages of what is free are given to others. */
static void
test_full_region_gives_pages_back(void)
{
    open_heap(FMP_REGION_SIZE_MIN);
    fmp_heap_free(heap, alloc(5 << 20));
    CHECK(count().bytes_backed >= 5 << 20);
    CHECK_EQ(fmp_heap_alloc(heap, 1 << 24, &(fmp_off){0}), -ENOSPC);
    CHECK_EQ(count().bytes_backed, 0);
    CHECK_EQ(count().owned, 0);
    fmp_off off = alloc(5 << 20);
    memset(fmp_at(&region, off), 1, 5 << 20);
    close_heap();
}

static void
test_nobody_cannot_allocate(void)
{
    open_heap(0);
    fmp_participant_leave(&region);
    CHECK_EQ(fmp_heap_alloc(heap, 100, &(fmp_off){0}), -EINVAL);
    close_heap();
}

static void
test_second_handle_sees_the_same(void)
{
    open_heap(0);
    fmp_off off = alloc(100);
    struct fmp_region other_region;
    struct fmp_heap *other;
    int fd = dup(region.fd);
    CHECK_OK(fmp_region_attach(&other_region, fd, NULL));
    CHECK(other_region.base != region.base);
    CHECK_OK(fmp_heap_open(&other, &other_region));
    strcpy(fmp_at(&region, off), "hello");
    CHECK_EQ(fmp_heap_usable(other, off), fmp_heap_usable(heap, off));
    CHECK_EQ(strcmp(fmp_at(&other_region, off), "hello"), 0);
    fmp_heap_close(other);
    fmp_region_close(&other_region);
    close_heap();
}

static fmp_off
alloc_shared(uint64_t bytes)
{
    fmp_off off = 0;
    CHECK_OK(fmp_heap_alloc_shared(heap, bytes, FMP_BLOCK_SYNC, &off));
    return off;
}

/* What is believed of a block that another process has named. */
static void
test_a_named_block_is_held_in_one_life(void)
{
    open_heap(0);
    fmp_off off = alloc_shared(100);
    uint64_t life = fmp_heap_life(heap, off);
    CHECK(life != 0);
    CHECK(fmp_heap_is_held(heap, off, life, FMP_BLOCK_SYNC, 100));
    CHECK(!fmp_heap_is_held(heap, off, life, FMP_BLOCK_RING, 100));
    CHECK(!fmp_heap_is_held(heap, off, life, FMP_BLOCK_SYNC, 4096));
    CHECK(!fmp_heap_is_held(heap, off + 64, life, FMP_BLOCK_SYNC, 1));
    CHECK(!fmp_heap_is_held(heap, off + 1, life, FMP_BLOCK_SYNC, 1));
    CHECK(!fmp_heap_is_held(heap, UINT64_MAX, life, FMP_BLOCK_SYNC, 1));
    fmp_heap_drop(heap, off, region.me);
    CHECK(!fmp_heap_is_held(heap, off, life, FMP_BLOCK_SYNC, 100));
    CHECK_EQ(fmp_heap_life(heap, off), 0);
    CHECK_EQ(alloc_shared(100), off); /* the next life at the same place */
    CHECK(fmp_heap_life(heap, off) != life);
    CHECK(!fmp_heap_is_held(heap, off, life, FMP_BLOCK_SYNC, 100));
    close_heap();
}

static void
test_all_that_one_holds(void)
{
    open_heap(0);
    uint32_t child = fmp_participant_reserve(&region);
    fmp_off offs[20];
    for (unsigned i = 0; i < 20; i++) {
        offs[i] = alloc_shared(100 + 1000 * i);
        if (i % 2 == 0) {
            fmp_heap_hold(heap, offs[i], child);
        }
        if (i % 4 == 0) {
            fmp_heap_drop(heap, offs[i], region.me);
        }
    }
    CHECK_EQ(count().shared, 20);
    fmp_heap_drop_all(heap, child, region.me); /* to an heir */
    for (unsigned i = 0; i < 20; i++) {
        CHECK_EQ(fmp_heap_holders(heap, offs[i]), 1);
    }
    fmp_heap_hold(heap, offs[3], child);
    fmp_heap_drop_all(heap, region.me, 0);
    CHECK_EQ(count().shared, 1);
    fmp_heap_drop_all(heap, child, 0);
    CHECK_EQ(count().shared, 0);
    fmp_participant_unreserve(&region, child);
    close_heap();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_sizes);
    RUN(test_waste_is_bounded);
    RUN(test_free_blocks_are_used_again);
    RUN(test_transit);
    RUN(test_dropped_ring_frees_what_it_carried);
    RUN(test_holders);
    RUN(test_share);
    RUN(test_the_reciprocal_of_a_stride);
    RUN(test_bad_offsets);
    RUN(test_a_named_block_is_held_in_one_life);
    RUN(test_all_that_one_holds);
    RUN(test_full_region);
    RUN(test_larger_class_helps);
    RUN(test_more_than_the_machine_has);
    RUN(test_pages_are_given_back);
    RUN(test_nothing_is_kept_warm);
    RUN(test_few_page_faults);
    RUN(test_full_region_gives_pages_back);
    RUN(test_nobody_cannot_allocate);
    RUN(test_second_handle_sees_the_same);
    return check_done();
}

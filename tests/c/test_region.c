/* Regions: made, attached, refused. */
#include <sys/resource.h>

#include "check.h"
#include "shm/region.h"
#include "sys/memory.h"

static void
test_create_is_zeroed_and_as_large_as_asked(void)
{
    struct fmp_region r;
    CHECK_OK(fmp_region_create(&r, UINT64_C(1) << 26));
    CHECK_EQ(r.size, UINT64_C(1) << 26);
    CHECK_EQ(r.me, 0);
    CHECK_EQ(fmp_region_header(&r)->size, r.size);
    CHECK_EQ(*(char *)fmp_at(&r, r.size - 1), 0);
    CHECK_EQ(fmp_off_of(&r, fmp_at(&r, 4711)), 4711);
    fmp_region_close(&r);
    CHECK_EQ(r.fd, -1);
}

static void
test_default_size(void)
{
    struct fmp_region r;
    CHECK_OK(fmp_region_create(&r, 0));
    CHECK(r.size <= FMP_REGION_SIZE_DEFAULT);
    CHECK(r.size >= FMP_REGION_SIZE_MIN);
    fmp_region_close(&r);
}

static void
test_too_small_or_too_large(void)
{
    struct fmp_region r;
    CHECK_EQ(fmp_region_create(&r, 4096), -EINVAL);
    CHECK_EQ(fmp_region_create(&r, FMP_REGION_SIZE_MIN - 1), -EINVAL);
    CHECK(fmp_region_create(&r, UINT64_C(1) << 60) < 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* these need their terabytes themselves */
static void
test_limited_address_space(void)
{
    struct rlimit limit = {.rlim_cur = UINT64_C(3) << 30, .rlim_max = UINT64_C(3) << 30};
    struct fmp_region r;
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_OK(fmp_region_create(&r, 0));
    CHECK_EQ(r.size, UINT64_C(3) << 29); /* half is left to the program */
    fmp_region_close(&r);
    CHECK_EQ(fmp_region_create(&r, UINT64_C(1) << 33), -ENOMEM); /* asked for in so many words: not halved */
}
#endif

static void
test_attach_sees_the_same_memory(void)
{
    struct fmp_region a, b;
    CHECK_OK(fmp_region_create(&a, FMP_REGION_SIZE_MIN));
    CHECK_OK(fmp_region_attach(&b, dup(a.fd), NULL));
    CHECK(a.base != b.base);
    CHECK_EQ(b.size, a.size);
    strcpy(fmp_at(&a, 1 << 20), "here");
    CHECK_EQ(strcmp(fmp_at(&b, 1 << 20), "here"), 0);
    fmp_region_close(&a);
    CHECK_EQ(strcmp(fmp_at(&b, 1 << 20), "here"), 0);
    fmp_region_close(&b);
}

/* What is behind `fd` is no region; the descriptor stays ours. */
static void
check_refused(int fd)
{
    struct fmp_region r = {.fd = 77};
    CHECK(fd >= 0);
    CHECK_EQ(fmp_region_attach(&r, fd, NULL), -EPROTO);
    CHECK_EQ(r.fd, 77);
    CHECK_EQ(close(fd), 0);
}

static void
test_attach_refuses_what_is_no_region(void)
{
    struct fmp_region r;
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    check_refused(ends[0]);
    check_refused(ends[1]);
    check_refused(sys_memfd("test", 0));
    check_refused(sys_memfd("test", 4096));
    check_refused(sys_memfd("test", FMP_REGION_SIZE_MIN));
    CHECK_EQ(fmp_region_attach(&r, -1, NULL), -EBADF);
}

static void
test_a_region_is_told_by_its_token(void)
{
    struct fmp_region a, b, again;
    CHECK_OK(fmp_region_create(&a, FMP_REGION_SIZE_MIN));
    CHECK_OK(fmp_region_create(&b, FMP_REGION_SIZE_MIN));
    unsigned char token[FMP_TOKEN_BYTES];
    memcpy(token, fmp_region_header(&a)->token, sizeof token);
    CHECK(fmp_region_is(&a, token) && !fmp_region_is(&b, token));
    CHECK_EQ(fmp_region_attach(&again, b.fd, token), -EPROTO);
    CHECK_OK(fmp_region_attach(&again, dup(a.fd), token));
    fmp_region_close(&again);
    fmp_region_close(&a);
    fmp_region_close(&b);
}

/* Else whoever has the descriptor could take the memory away under those who use it. */
static void
test_a_region_cannot_be_cut(void)
{
    struct fmp_region r;
    CHECK_OK(fmp_region_create(&r, FMP_REGION_SIZE_MIN));
    CHECK(ftruncate(r.fd, 4096) < 0 && errno == EPERM);
    CHECK(ftruncate(r.fd, 2 * FMP_REGION_SIZE_MIN) < 0 && errno == EPERM);
    CHECK_OK(sys_reserve_pages(r.fd, 0, 8192));
    CHECK_OK(sys_release_pages(r.fd, 4096, 4096)); /* a hole is no cut */
    fmp_region_close(&r);

    int fd = memfd_create("test", 0);
    CHECK_EQ(ftruncate(fd, FMP_REGION_SIZE_MIN), 0);
    CHECK(!sys_cannot_shrink(fd));
    check_refused(fd);
}

/* Each field of the header, damaged in turn. */
static void
test_attach_checks_the_header(void)
{
    for (int field = 0; field < 4; field++) {
        struct fmp_region r;
        CHECK_OK(fmp_region_create(&r, FMP_REGION_SIZE_MIN));
        struct fmp_region_shm *h = fmp_region_header(&r);
        h->magic ^= field == 0;
        h->layout += field == 1;
        h->header_bytes -= field == 2;
        h->size += field == 3 ? 4096 : 0;
        check_refused(dup(r.fd));
        fmp_region_close(&r);
    }
}

static void
test_holds(void)
{
    struct fmp_region r;
    CHECK_OK(fmp_region_create(&r, FMP_REGION_SIZE_MIN));
    CHECK(fmp_region_holds(&r, 4096, 1));
    CHECK(fmp_region_holds(&r, r.size - 8, 8));
    CHECK(fmp_region_holds(&r, r.size, 0));
    CHECK(!fmp_region_holds(&r, 0, 1)); /* the header */
    CHECK(!fmp_region_holds(&r, r.size - 8, 9));
    CHECK(!fmp_region_holds(&r, r.size + 1, 0));
    CHECK(!fmp_region_holds(&r, UINT64_MAX, 2)); /* the sum wraps round */
    CHECK(!fmp_region_holds(&r, 8192, UINT64_MAX));
    fmp_region_close(&r);
}

static bool
is_mapped(void)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        found |= strstr(line, "memfd:fastmp") != NULL;
    }
    fclose(maps);
    return found;
}

static void
test_close_leaves_nothing(void)
{
    struct fmp_region r;
    CHECK(!is_mapped());
    CHECK_OK(fmp_region_create(&r, 0));
    CHECK(is_mapped());
    fmp_region_close(&r);
    CHECK(!is_mapped());
}

static void
test_reserved_pages_hold(void)
{
    struct fmp_region r;
    CHECK_OK(fmp_region_create(&r, FMP_REGION_SIZE_MIN));
    CHECK_OK(sys_reserve_pages(r.fd, 1 << 20, 1 << 20));
    memset(fmp_at(&r, 1 << 20), 1, 1 << 20);
    CHECK_OK(sys_release_pages(r.fd, 1 << 20, 1 << 20));
    CHECK_EQ(*(char *)fmp_at(&r, 1 << 20), 0);
    fmp_region_close(&r);
}

/* What the kernel calls available is less than all there is, and more than nothing. */
static void
test_available_memory(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    CHECK(sys_memory_available().available > 0);
    CHECK(sys_memory_available().available < 2 * all);
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_create_is_zeroed_and_as_large_as_asked);
    RUN(test_default_size);
    RUN(test_too_small_or_too_large);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    RUN(test_limited_address_space);
#endif
    RUN(test_attach_sees_the_same_memory);
    RUN(test_attach_refuses_what_is_no_region);
    RUN(test_attach_checks_the_header);
    RUN(test_a_region_is_told_by_its_token);
    RUN(test_a_region_cannot_be_cut);
    RUN(test_holds);
    RUN(test_close_leaves_nothing);
    RUN(test_reserved_pages_hold);
    RUN(test_available_memory);
    return check_done();
}

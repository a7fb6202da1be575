/* base/copy.c: copies that go past the caches are copies, from anywhere to anywhere, and write nothing beside them. */
#include "base/copy.h"

#include "check.h"

#define AROUND 128u

static void
copy_and_compare(const unsigned char *from, unsigned char *memory, size_t at, size_t bytes)
{
    unsigned char *to = memory + AROUND + at;
    memset(memory, 0xA5, bytes + 3 * (size_t)AROUND);
    fmp_copy_past_caches(to, from, bytes);
    CHECK(memcmp(to, from, bytes) == 0);
    for (size_t i = 1; i <= AROUND; i++) {
        CHECK_EQ(to[-(ptrdiff_t)i], 0xA5);
        CHECK_EQ(to[bytes + i - 1], 0xA5);
    }
}

static void
test_any_place_and_size(void)
{
    static const size_t places[] = {0, 1, 8, 63}, more[] = {0, 1, 63};
    const size_t room = FMP_COPY_PAST_MIN + 4 * (size_t)AROUND;
    unsigned char *from = malloc(room), *memory = malloc(room);
    CHECK(from != NULL && memory != NULL);
    for (size_t i = 0; i < room; i++) {
        from[i] = (unsigned char)(i * 31 + i / 255);
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        for (size_t j = 0; j < sizeof more / sizeof *more; j++) {
            copy_and_compare(from + i % 3, memory, places[i], FMP_COPY_PAST_MIN + more[j]);
        }
        copy_and_compare(from, memory, places[i], 100);
    }
    free(from);
    free(memory);
}

static void
test_past_the_caches_from_a_line_on(void)
{
    unsigned char from[512], memory[1024];
    for (size_t i = 0; i < sizeof from; i++) {
        from[i] = (unsigned char)(i * 31 + 1);
    }
    for (size_t at = 0; at < 64; at++) {
        for (size_t bytes = 64; bytes <= sizeof from; bytes += 7) {
            memset(memory, 0xA5, sizeof memory);
            fmp_copy_past_caches(memory + 64 + at, from, bytes);
            CHECK(memcmp(memory + 64 + at, from, bytes) == 0);
            CHECK_EQ(memory[63 + at], 0xA5);
            CHECK_EQ(memory[64 + at + bytes], 0xA5);
        }
    }
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_any_place_and_size);
    RUN(test_past_the_caches_from_a_line_on);
    return check_done();
}

/* Native calls: types as text, the loops over every kind of argument, and where functions are. */
#include <math.h>

#include "check.h"
#include "native/call.h"
#include "native/symbol.h"

/* ---- types ---- */

struct inner {
    float x;
    double y;
};
struct outer {
    char c;
    struct inner inner[2];
    short n[3];
};

static void
check_type(const char *text, size_t size, size_t alignment)
{
    ffi_type *type;
    CHECK_OK(fmp_native_type_parse(text, &type));
    CHECK_EQ(type->size, size);
    CHECK_EQ(type->alignment, alignment);
    fmp_native_type_free(type);
}

static void
test_types(void)
{
    check_type("b", 1, 1);
    check_type("?", sizeof(bool), 1);
    check_type("q", sizeof(long long), _Alignof(long long));
    check_type("g", sizeof(long double), _Alignof(long double));
    check_type("P", sizeof(void *), _Alignof(void *));
    check_type("{fd}", sizeof(struct inner), _Alignof(struct inner));
    check_type("{c[2{fd}][3h]}", sizeof(struct outer), _Alignof(struct outer));
    check_type("{[4096b]}", 4096, 1);
}

static void
test_texts_that_are_no_types(void)
{
    static const char *const wrong[] = {"",     "x",       "ii",     "{",     "{}",   "{i",        "}",
                                        "[2i]", "{[i]}",   "{[0i]}", "{[2i}", "{[2i", "{[4097b]}", "{[2{[3000b]}",
                                        "{v}",  "{{i}{x}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ffi_type *type;
        CHECK(fmp_native_type_parse(wrong[i], &type) < 0);
    }
    char deep[100] = {0};
    memset(deep, '{', 99);
    ffi_type *type;
    CHECK(fmp_native_type_parse(deep, &type) < 0);
}

static void
test_offsets(void)
{
    ffi_type *type;
    size_t offsets[8], count;
    CHECK_OK(fmp_native_type_parse("{c[2{fd}][3h]}", &type));
    CHECK_OK(fmp_native_type_offsets(type, offsets, 8, &count));
    CHECK_EQ(count, 6);
    CHECK_EQ(offsets[2], offsetof(struct outer, inner[1]));
    CHECK_EQ(offsets[5], offsetof(struct outer, n[2]));
    CHECK(fmp_native_type_offsets(type, offsets, 5, &count) < 0);
    fmp_native_type_free(type);
    CHECK(fmp_native_type_offsets(&ffi_type_double, offsets, 8, &count) < 0);
}

/* ---- calls ---- */

#define ITEMS 100

static struct fmp_native_call
make_call(void (*function)(void), const char *result, const char *const *types, unsigned count)
{
    struct fmp_native_call c = {.function = function, .count = count, .length = ITEMS};
    CHECK_OK(fmp_native_type_parse(result, &c.result));
    for (unsigned i = 0; i < count; i++) {
        CHECK_OK(fmp_native_type_parse(types[i], &c.types[i]));
    }
    return c;
}

static double
add_doubles(double a, double b)
{
    return a + 2 * b;
}

static void
check_add(ptrdiff_t stride, size_t misaligned)
{
    static const char *const types[] = {"d", "d"};
    char memory[ITEMS * 32 + 16];
    double b = 0.5, results[ITEMS] = {0};
    struct fmp_native_call c = make_call((void (*)(void))add_doubles, "d", types, 2);
    for (int i = 0; i < ITEMS; i++) {
        double x = i;
        memcpy(memory + misaligned + i * stride, &x, sizeof x);
    }
    c.params[0] = (struct fmp_native_param){.at = memory + misaligned, .stride = stride};
    c.params[1] = (struct fmp_native_param){.at = (char *)&b};
    c.out = (char *)results;
    c.out_stride = sizeof(double);
    CHECK_OK(fmp_native_call_prepare(&c));
    fmp_native_call_run(&c, 10, 20);
    CHECK(results[9] == 0 && results[10] == 11 && results[19] == 20 && results[20] == 0);
    fmp_native_call_run(&c, 0, ITEMS);
    CHECK(results[ITEMS - 1] == ITEMS);
    fmp_native_call_release(&c);
}

static void
test_numbers(void)
{
    check_add(8, 0);
    check_add(24, 0);
    check_add(8, 1); /* through libffi */
}

static signed char
shorten(const short *x)
{
    return (signed char)-*x;
}

static void
test_narrow_results_and_addresses(void)
{
    static const char *const types[] = {"P"};
    short numbers[ITEMS];
    signed char results[ITEMS + 8];
    memset(results, 77, sizeof results);
    struct fmp_native_call c = make_call((void (*)(void))shorten, "b", types, 1);
    for (short i = 0; i < ITEMS; i++) {
        numbers[i] = i;
    }
    c.params[0] = (struct fmp_native_param){.at = (char *)numbers, .stride = sizeof(short), .by_address = true};
    c.out = (char *)results;
    c.out_stride = 1;
    CHECK_OK(fmp_native_call_prepare(&c));
    fmp_native_call_run(&c, 0, ITEMS);
    CHECK(results[0] == 0 && results[99] == -99 && results[100] == 77);
    c.out = NULL;
    CHECK_OK(fmp_native_call_prepare(&c));
    fmp_native_call_run(&c, 0, ITEMS); /* results are dropped */
    fmp_native_call_release(&c);
}

static struct outer
change(struct outer o)
{
    o.c++;
    o.inner[1].y += 1;
    o.n[2] = 5;
    return o;
}

static void
test_structures(void)
{
    static const char *const types[] = {"{c[2{fd}][3h]}"};
    struct outer before[ITEMS] = {0}, after[ITEMS];
    struct fmp_native_call c = make_call((void (*)(void))change, types[0], types, 1);
    before[3].inner[1].y = 7;
    c.params[0] = (struct fmp_native_param){.at = (char *)before, .stride = sizeof(struct outer)};
    c.out = (char *)after;
    c.out_stride = sizeof(struct outer);
    CHECK_OK(fmp_native_call_prepare(&c));
    fmp_native_call_run(&c, 0, ITEMS);
    CHECK(after[3].c == 1 && after[3].inner[1].y == 8 && after[99].n[2] == 5);
    c.out = NULL;
    CHECK_EQ(fmp_native_call_prepare(&c), sizeof(struct outer) > 64 ? -EINVAL : 0);
    fmp_native_call_release(&c);
}

static double
sum(const double *x, unsigned char n)
{
    double s = 0;
    while (n-- > 0) {
        s += *x++;
    }
    return s;
}

static void
test_blocks(void)
{
    static const char *const types[] = {"P", "B"};
    double numbers[ITEMS], results[4] = {0};
    struct fmp_native_call c = make_call((void (*)(void))sum, "d", types, 2);
    c.count = 1;
    c.block = 30;
    for (int i = 0; i < ITEMS; i++) {
        numbers[i] = 1;
    }
    c.params[0] = (struct fmp_native_param){.at = (char *)numbers, .stride = sizeof(double), .by_address = true};
    c.out = (char *)results;
    c.out_stride = sizeof(double);
    CHECK_OK(fmp_native_call_prepare(&c));
    fmp_native_call_run(&c, 0, 4);
    CHECK(results[0] == 30 && results[2] == 30 && results[3] == 10);
    fmp_native_call_release(&c);
}

/* ---- where functions are ---- */

static void
check_found_again(uintptr_t address)
{
    const char *path, *why;
    uintptr_t offset, found;
    unsigned char code[FMP_NATIVE_CODE_BYTES];
    CHECK(fmp_native_locate(address, &path, &offset));
    CHECK_OK(fmp_native_open(path, offset, &found, &why));
    CHECK_EQ(found, address);
    CHECK(fmp_native_read_code(address, code) > 0);
    CHECK(memcmp(code, (void *)address, 8) == 0);
}

static void
test_functions_are_found_again(void)
{
    double (*volatile function)(double) = sin;
    check_found_again((uintptr_t)function);
    check_found_again((uintptr_t)shorten); /* of this program, without a symbol */
}

static void
test_what_is_no_function(void)
{
    const char *path, *why = NULL;
    uintptr_t offset, found;
    unsigned char code[FMP_NATIVE_CODE_BYTES];
    CHECK(!fmp_native_locate(4096, &path, &offset));
    CHECK(fmp_native_read_code(4096, code) <= 0);
    CHECK_EQ(fmp_native_open("/no/such/library.so", 0, &found, &why), -ENOENT);
    CHECK(why != NULL);
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_types);
    RUN(test_texts_that_are_no_types);
    RUN(test_offsets);
    RUN(test_numbers);
    RUN(test_narrow_results_and_addresses);
    RUN(test_structures);
    RUN(test_blocks);
    RUN(test_functions_are_found_again);
    RUN(test_what_is_no_function);
    return check_done();
}

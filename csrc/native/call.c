/* The loops; see call.h. */
#include "native/call.h"

#include <string.h>

/* ---- through libffi ---- */

/* A result as libffi gives it: an integer of less than a register is widened to one. */
static bool
is_widened(const ffi_type *type)
{
    return type->size < sizeof(ffi_arg) && type->type != FFI_TYPE_FLOAT && type->type != FFI_TYPE_STRUCT &&
           type->type != FFI_TYPE_VOID;
}

static void
store_narrow(char *to, const ffi_arg *wide, size_t size)
{
    switch (size) {
    case 1: {
        uint8_t x = (uint8_t)*wide;
        memcpy(to, &x, sizeof x);
        return;
    }
    case 2: {
        uint16_t x = (uint16_t)*wide;
        memcpy(to, &x, sizeof x);
        return;
    }
    default: {
        uint32_t x = (uint32_t)*wide;
        memcpy(to, &x, sizeof x);
    }
    }
}

/* Room for a result that nobody wants, or that must be narrowed; beyond it the caller gives the place. */
union scratch {
    ffi_arg wide;
    long double aligned;
    char bytes[64];
};

static void
call_one(const struct fmp_native_call *c, void **values, char *out, union scratch *scratch)
{
    bool narrow = is_widened(c->result);
    void *to = narrow || out == NULL ? (void *)scratch : out;
    ffi_call((ffi_cif *)&c->cif, c->function, to, values);
    if (narrow && out != NULL) {
        store_narrow(out, &scratch->wide, c->result->size);
    }
}

static void
loop_items(const struct fmp_native_call *c, size_t start, size_t stop)
{
    void *values[FMP_NATIVE_PARAMS_MAX], *addresses[FMP_NATIVE_PARAMS_MAX];
    union scratch scratch;
    for (size_t i = start; i < stop; i++) {
        for (unsigned p = 0; p < c->count; p++) {
            char *at = c->params[p].at + (ptrdiff_t)i * c->params[p].stride;
            addresses[p] = at;
            values[p] = c->params[p].by_address ? (void *)&addresses[p] : at;
        }
        call_one(c, values, c->out != NULL ? c->out + (ptrdiff_t)i * c->out_stride : NULL, &scratch);
    }
}

/* ---- in blocks ---- */

/* How many, as the type of the last parameter. */
static void
store_count(union scratch *to, const ffi_type *type, size_t n)
{
    uint64_t wide = n;
    uint32_t half = (uint32_t)n;
    uint16_t quarter = (uint16_t)n;
    uint8_t eighth = (uint8_t)n;
    const void *from = type->size == 8   ? (void *)&wide
                       : type->size == 4 ? (void *)&half
                       : type->size == 2 ? (void *)&quarter
                                         : (void *)&eighth;
    memcpy(to, from, type->size);
}

static void
loop_blocks(const struct fmp_native_call *c, size_t start, size_t stop)
{
    void *values[FMP_NATIVE_PARAMS_MAX + 1], *addresses[FMP_NATIVE_PARAMS_MAX];
    union scratch scratch, count;
    for (size_t k = start; k < stop; k++) {
        size_t first = k * c->block;
        for (unsigned p = 0; p < c->count; p++) {
            addresses[p] = c->params[p].at + (ptrdiff_t)first * c->params[p].stride;
            values[p] = c->params[p].by_address ? (void *)&addresses[p] : c->params[p].at;
        }
        size_t left = c->length - first;
        store_count(&count, c->types[c->count], left < c->block ? left : c->block);
        values[c->count] = &count;
        call_one(c, values, c->out != NULL ? c->out + (ptrdiff_t)k * c->out_stride : NULL, &scratch);
    }
}

/* ---- directly ---- */

#define ARGUMENT(type, p, i) (*(const type *)(c->params[p].at + (ptrdiff_t)(i)*c->params[p].stride))
#define RESULT(type, i) (*(type *)(c->out + (ptrdiff_t)(i)*c->out_stride))

#define FMP_DIRECT(name, type)                                                                     \
    static void name##_1(const struct fmp_native_call *c, size_t start, size_t stop)               \
    {                                                                                              \
        type (*f)(type) = (type(*)(type))c->function;                                              \
        for (size_t i = start; i < stop; i++) {                                                    \
            RESULT(type, i) = f(ARGUMENT(type, 0, i));                                             \
        }                                                                                          \
    }                                                                                              \
    static void name##_2(const struct fmp_native_call *c, size_t start, size_t stop)               \
    {                                                                                              \
        type (*f)(type, type) = (type(*)(type, type))c->function;                                  \
        for (size_t i = start; i < stop; i++) {                                                    \
            RESULT(type, i) = f(ARGUMENT(type, 0, i), ARGUMENT(type, 1, i));                       \
        }                                                                                          \
    }                                                                                              \
    static void name##_3(const struct fmp_native_call *c, size_t start, size_t stop)               \
    {                                                                                              \
        type (*f)(type, type, type) = (type(*)(type, type, type))c->function;                      \
        for (size_t i = start; i < stop; i++) {                                                    \
            RESULT(type, i) = f(ARGUMENT(type, 0, i), ARGUMENT(type, 1, i), ARGUMENT(type, 2, i)); \
        }                                                                                          \
    }

FMP_DIRECT(doubles, double)
FMP_DIRECT(floats, float)
FMP_DIRECT(ints, int32_t)
FMP_DIRECT(longs, int64_t)

typedef void (*loop_fn)(const struct fmp_native_call *, size_t, size_t);

static const struct {
    unsigned short type;
    loop_fn loops[3];
} direct[] = {
    {FFI_TYPE_DOUBLE, {doubles_1, doubles_2, doubles_3}},
    {FFI_TYPE_FLOAT, {floats_1, floats_2, floats_3}},
    {FFI_TYPE_SINT32, {ints_1, ints_2, ints_3}},
    {FFI_TYPE_SINT64, {longs_1, longs_2, longs_3}},
};

/* The direct loop for functions like this one; NULL if there is none. Arrays may have any stride, but items that a
 * compiler takes for granted to be aligned are left to libffi where they are not. */
static loop_fn
find_direct(const struct fmp_native_call *c)
{
    if (c->count < 1 || c->count > 3 || c->out == NULL) {
        return NULL;
    }
    size_t align = c->result->alignment;
    bool fits = ((uintptr_t)c->out | (uintptr_t)c->out_stride) % align == 0;
    for (unsigned p = 0; p < c->count; p++) {
        const struct fmp_native_param *param = &c->params[p];
        fits = fits && c->types[p]->type == c->result->type && !param->by_address &&
               ((uintptr_t)param->at | (uintptr_t)param->stride) % align == 0;
    }
    for (size_t i = 0; fits && i < sizeof direct / sizeof *direct; i++) {
        if (direct[i].type == c->result->type) {
            return direct[i].loops[c->count - 1];
        }
    }
    return NULL;
}

int
fmp_native_call_prepare(struct fmp_native_call *c)
{
    unsigned types = c->count + (c->block != 0);
    if (ffi_prep_cif(&c->cif, FFI_DEFAULT_ABI, types, c->result, c->types) != FFI_OK) {
        return -EINVAL;
    }
    if (c->out == NULL && c->result->size > sizeof(union scratch)) {
        return -EINVAL; /* a large structure needs a place to go to */
    }
    loop_fn loop = c->block != 0 ? loop_blocks : find_direct(c);
    c->loop = loop != NULL ? loop : loop_items;
    return 0;
}

void
fmp_native_call_release(struct fmp_native_call *c)
{
    fmp_native_type_free(c->result);
    for (unsigned i = 0; i <= FMP_NATIVE_PARAMS_MAX; i++) {
        fmp_native_type_free(c->types[i]);
    }
}

void
fmp_native_call_run(const struct fmp_native_call *c, size_t start, size_t stop)
{
    c->loop(c, start, stop);
}

/*
 * One C function called many times over arrays, through libffi. Called by: py/native.c, without the GIL.
 *
 * A parameter is an array (the call for item i gets the item, or its address), or one value for all calls (a stride of
 * 0). The items are passed where they lie: nothing is copied but results of less than a register. Functions of one to
 * three numbers of one type are called directly, which is what libffi would do, in a third of the time.
 *
 * In blocks, the call for block k gets the addresses of the first items of the block, and as its last argument how many
 * items there are.
 */
#ifndef FMP_NATIVE_CALL_H
#define FMP_NATIVE_CALL_H

#include "native/types.h"

#define FMP_NATIVE_PARAMS_MAX 64u

/* Where the arguments for one parameter lie: those of call i at `at + i * stride`. */
struct fmp_native_param {
    char *at;
    ptrdiff_t stride;
    bool by_address; /* the parameter is a pointer to the item */
};

struct fmp_native_call {
    void (*function)(void);
    unsigned count; /* of parameters, without the number of items in a block */
    struct fmp_native_param params[FMP_NATIVE_PARAMS_MAX];
    char *out; /* the result of call i goes to out + i * stride; NULL: results are dropped */
    ptrdiff_t out_stride;
    size_t length; /* items in all */
    size_t block;  /* items per call; 0: not in blocks */
    ffi_type *result;
    ffi_type *types[FMP_NATIVE_PARAMS_MAX + 1];
    ffi_cif cif;
    void (*loop)(const struct fmp_native_call *, size_t start, size_t stop);
};

/* All types are in place, and `count`, `block`; the rest may follow. 0 or -EINVAL. */
int fmp_native_call_prepare(struct fmp_native_call *c);
/* Frees the types. */
void fmp_native_call_release(struct fmp_native_call *c);

/* Calls [start, stop): items, or blocks if `block` is not 0. */
void fmp_native_call_run(const struct fmp_native_call *c, size_t start, size_t stop);

#endif

/* Compiler attributes, result codes and constants that every unit uses. Called by: everybody. */
#ifndef FMP_BASE_ATTR_H
#define FMP_BASE_ATTR_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FMP_LIKELY(x) __builtin_expect(!!(x), 1)
#define FMP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FMP_INLINE static inline __attribute__((always_inline))
#define FMP_COLD __attribute__((cold, noinline))
/* Not seldom, but so long that it would cost its caller registers. */
#define FMP_APART __attribute__((noinline))

/* The number in the local `x` is the one that was read. Of memory that another process may be changing the compiler
 * could otherwise read it again at each use, and find another one than was checked. */
#ifdef __clang_analyzer__ /* it takes what an asm writes for undefined */
#define FMP_READ_ONCE(x) ((void)0)
#else
#define FMP_READ_ONCE(x) __asm__("" : "+r"(x))
#endif

/* Destructive interference size: 64 bytes on x86-64 and on the AArch64 servers that matter. */
#define FMP_CACHELINE 64
#define FMP_ALIGNED __attribute__((aligned(FMP_CACHELINE)))

/* Codes beyond errno, positive so that they never meet a -errno. */
enum {
    FMP_OWNER_DIED = 1, /* the lock is yours; its owner was killed while holding it */
};

/* An offset from the region's base; 0 is nobody's address (the region header lies there). */
typedef uint64_t fmp_off;

#define FMP_NS_PER_S UINT64_C(1000000000)
#define FMP_NS_PER_MS UINT64_C(1000000)

/* A deadline on CLOCK_MONOTONIC, in ns; FMP_NEVER waits for ever, 0 does not wait at all. */
#define FMP_NEVER UINT64_MAX

#endif

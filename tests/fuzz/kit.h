/*
 * What the fuzz targets share: numbers out of the fuzzer's bytes, and damage to words of shared memory. Called by:
 * tests/fuzz/fuzz_*.c.
 *
 * An input is a program for one object: operations on it, and in between words of its memory that are overwritten, as
 * by a process that dies or goes wild. A target fails by a crash, by what a sanitizer sees, by taking too long, or by
 * FUZZ_CHECK. Everything is made anew for each input, so an input shows the same again.
 */
#ifndef FMP_TESTS_FUZZ_KIT_H
#define FMP_TESTS_FUZZ_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_UNUSED __attribute__((unused))

#define FUZZ_CHECK(condition)                                                         \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
    const uint8_t *next;
    size_t left;
};

/* The next `n` bytes as a number; zeros when the input is at its end. */
FUZZ_UNUSED static uint64_t
fuzz_take(struct fuzz_input *in, size_t n)
{
    uint64_t value = 0;
    size_t have = n < in->left ? n : in->left;
    memcpy(&value, in->next, have);
    in->next += have;
    in->left -= have;
    return value;
}

/* A word that somebody might have left: a number of any size, or what was there with a bit or a few turned over. */
FUZZ_UNUSED static uint64_t
fuzz_word(struct fuzz_input *in, uint64_t old)
{
    switch (fuzz_take(in, 1) % 8) {
    case 0:
        return old ^ UINT64_C(1) << (fuzz_take(in, 1) & 63);
    case 1:
        return old + fuzz_take(in, 1);
    case 2:
        return old - fuzz_take(in, 1);
    case 3:
        return fuzz_take(in, 2);
    case 4:
        return fuzz_take(in, 8);
    case 5:
        return UINT64_MAX - fuzz_take(in, 1);
    case 6:
        return (old & UINT32_MAX) | fuzz_take(in, 4) << 32;
    default:
        return (old & ~(uint64_t)UINT32_MAX) | fuzz_take(in, 4);
    }
}

/* Overwrites one of the `words` words at `memory`. */
FUZZ_UNUSED static void
fuzz_damage(struct fuzz_input *in, void *memory, size_t words)
{
    volatile uint64_t *word = (volatile uint64_t *)memory + fuzz_take(in, words > 256 ? 2 : 1) % words;
    *word = fuzz_word(in, *word);
}

/* Runs the input as a program: one operation after the other, `most` of them, until it is at its end. */
FUZZ_UNUSED static void
fuzz_run(const uint8_t *data, size_t size, int most, void (*operate)(struct fuzz_input *in))
{
    struct fuzz_input in = {.next = data, .left = size};
    for (int i = 0; i < most && in.left > 0; i++) {
        operate(&in);
    }
}

#endif

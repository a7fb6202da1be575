/*
 * Keys of dicts that came before. Called by: wire/decode.c, with the GIL.
 *
 * Records repeat their keys from message to message, so a short ASCII key is not made anew, hashed and freed for each:
 * the str made last time serves again, as an interned one does. Within one message it serves once: what stands there
 * twice was two objects and arrives as two, as by pickle; one that occurs again is referred to. The table is bounded: a
 * key takes the place of the one before it. It is private memory, and a key is given only for exactly its bytes.
 */
#ifndef FMP_WIRE_KEYS_H
#define FMP_WIRE_KEYS_H

#include "pyrt/runtime.h"

/* Shorter ones CPython has already; longer ones are seldom keys. */
#define FMP_KEY_MIN 2
#define FMP_KEY_MAX 32

struct fmp_key {
    PyObject *str;
    uint64_t message; /* the last one that it was given to */
};

/* Where the `bytes` at `data` belong, FMP_KEY_MIN to FMP_KEY_MAX of them. */
struct fmp_key *fmp_key_slot(const unsigned char *data, size_t bytes);
/* The str of these bytes, as a new reference; NULL, without an exception, if it is not there or `message` has it. */
PyObject *fmp_key_find(struct fmp_key *slot, uint64_t message, const unsigned char *data, size_t bytes);
/* The ASCII str that `message` was given instead is kept. */
void fmp_key_keep(struct fmp_key *slot, uint64_t message, PyObject *str);

#endif

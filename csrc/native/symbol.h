/*
 * Where a function is, in words that another process understands: a file and an offset in it. Called by: py/native.c.
 *
 * An offset from the library's load address names every function of it, also those that have no symbol (libm's variants
 * for each processor). Code that lies in no file (compiled at run time) has its address only, which is good in
 * processes forked since. In either case the first bytes of the code go with it: they must be the same over there.
 */
#ifndef FMP_NATIVE_SYMBOL_H
#define FMP_NATIVE_SYMBOL_H

#include "base/attr.h"

#define FMP_NATIVE_CODE_BYTES 32u

/* The library that `address` lies in: its path (valid as long as it is loaded; "" for the program itself) and the
 * offset. False if it lies in none. */
bool fmp_native_locate(uintptr_t address, const char **path, uintptr_t *offset);
/* Opens the library and keeps it for ever: the address of its `offset`. 0, or -ENOENT with the loader's words in
 * *why. */
int fmp_native_open(const char *path, uintptr_t offset, uintptr_t *address, const char **why);
/* Copies up to FMP_NATIVE_CODE_BYTES from `address`, wherever that leads: how many could be read, or -errno. */
int fmp_native_read_code(uintptr_t address, unsigned char *code);

#endif

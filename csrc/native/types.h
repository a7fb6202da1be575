/*
 * C types as text, and as libffi knows them. Called by: native/call.c, py/native.c.
 *
 *   b B h H i I l L q Q    integers, signed and unsigned: char, short, int, long, long long
 *   f d g  ?  c  u         float, double, long double; bool; char; wchar_t
 *   P                      any pointer
 *   v                      nothing, for a result
 *   {...}                  a structure by value, of the types inside
 *   [n t]                  inside a structure: n of type t
 *
 * libffi has no arrays: they become so many members, which is the same to every calling convention. Unions and bit
 * fields have no text, as libffi cannot pass them.
 */
#ifndef FMP_NATIVE_TYPES_H
#define FMP_NATIVE_TYPES_H

#include <ffi.h>

#include "base/attr.h"

/* A type of which the text is `text`, all of it. 0, -EINVAL (no such type), -E2BIG (too large a structure), -ENOMEM. */
int fmp_native_type_parse(const char *text, ffi_type **type);
/* Structures are made by the parser; the others are libffi's own. NULL is fine. */
void fmp_native_type_free(ffi_type *type);

/* Offsets of the members of a structure, arrays spread out; -EINVAL if it is none. At most `room` are written; *count
 * is how many there are. Size and alignment of any type are in `type` itself. */
int fmp_native_type_offsets(ffi_type *type, size_t *offsets, size_t room, size_t *count);

#endif

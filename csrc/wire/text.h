/*
 * Texts out of bytes that nobody vouches for, and that may change meanwhile: each is copied, and then looked through
 * before it is believed to be of its kind. Called by: wire/decode.c, conn/message.c through fmp_wire_leaf.
 */
#ifndef FMP_WIRE_TEXT_H
#define FMP_WIRE_TEXT_H

#include "wire/encode.h"

/* The str of these ASCII characters; NULL with the exception of a damaged message if they are none. */
PyObject *fmp_wire_ascii(const unsigned char *p, size_t n);
/* The str of n characters of `kind` bytes each, of which the widest needs as many, and is no ASCII; or NULL as above.
 */
PyObject *fmp_wire_wide(const unsigned char *p, size_t n, size_t kind);

#endif

/*
 * Which objects a message has met: a set of pointers. Called by: wire/encode.c.
 *
 * Most messages hold a handful of objects, so the first ones are compared one by one; from the next on there is a hash
 * table.
 */
#ifndef FMP_WIRE_SEEN_H
#define FMP_WIRE_SEEN_H

#include "base/attr.h"

#define FMP_SEEN_FEW 16

struct fmp_seen {
    size_t count;
    const void **table; /* NULL while `few` is enough */
    size_t slots;       /* a power of two, more than twice `count` */
    const void *few[FMP_SEEN_FEW];
};

/* Adds `p`, which is not NULL: 0 if it is new, 1 if it was there, -ENOMEM. */
int fmp_seen_add(struct fmp_seen *seen, const void *p);
/* Empties the set and gives its memory back. */
void fmp_seen_clear(struct fmp_seen *seen);

#endif

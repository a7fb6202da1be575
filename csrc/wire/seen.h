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
    const void **table; /* NULL while `few` is enough, which is while `count` <= FMP_SEEN_FEW */
    size_t slots;       /* a power of two, more than twice `count` */
    const void *few[FMP_SEEN_FEW];
};

/* Where the few are full, or a table is there already. */
int fmp_seen_add_to_table(struct fmp_seen *seen, const void *p);
/* Adds `p`, which is not NULL: 0 if it is new, 1 if it was there, -ENOMEM. */
FMP_INLINE int
fmp_seen_add(struct fmp_seen *seen, const void *p)
{
    size_t count = seen->count;
    if (FMP_UNLIKELY(count >= FMP_SEEN_FEW)) {
        return fmp_seen_add_to_table(seen, p);
    }
    for (size_t i = 0; i < count; i++) {
        if (seen->few[i] == p) {
            return 1;
        }
    }
    seen->few[count] = p;
    seen->count = count + 1;
    return 0;
}
/* Empties the set and gives its memory back. */
void fmp_seen_clear(struct fmp_seen *seen);

#endif

/*
 * Which objects a message has met: a set of pointers. Called by: wire/encode.c.
 *
 * Most messages hold a handful of objects, so the first ones are compared one by one; from the next on there is a hash
 * table. A set may also number leaves, in the order in which it meets them: see fmp_seen_number.
 */
#ifndef FMP_WIRE_SEEN_H
#define FMP_WIRE_SEEN_H

#include "base/attr.h"

#define FMP_SEEN_FEW 16

struct fmp_seen_slot {
    const void *p;
    size_t number; /* of a leaf, where leaves are numbered */
};

struct fmp_seen {
    size_t count;
    size_t few_room; /* FMP_SEEN_FEW; 0 while leaves are numbered, so that who adds one always comes to seen.c */
    struct fmp_seen_slot *table; /* NULL while `few` is enough, which is while `count` <= FMP_SEEN_FEW */
    size_t slots;                /* a power of two, more than twice `count` */
    size_t numbers;              /* given so far */
    size_t again;                /* the number of the leaf that was there, after FMP_SEEN_AGAIN */
    const void *few[FMP_SEEN_FEW];
    size_t few_numbers[FMP_SEEN_FEW];
};

enum {
    FMP_SEEN_NEW,
    FMP_SEEN_BEFORE,
    FMP_SEEN_NUMBERED, /* new: a leaf that got the next number */
    FMP_SEEN_AGAIN,    /* there before: a leaf that has a number */
};

/* Of an empty set: whether it numbers leaves from now on. */
void fmp_seen_number(struct fmp_seen *seen, bool leaves);
/* Where there is no more room among the few, or leaves are numbered. */
int fmp_seen_add_far(struct fmp_seen *seen, const void *p);
int fmp_seen_add_leaf_far(struct fmp_seen *seen, const void *p);

FMP_INLINE int
fmp_seen_add_few(struct fmp_seen *seen, const void *p, int (*far)(struct fmp_seen *, const void *))
{
    size_t count = seen->count;
    if (FMP_UNLIKELY(count >= seen->few_room)) {
        return far(seen, p);
    }
    for (size_t i = 0; i < count; i++) {
        if (seen->few[i] == p) {
            return FMP_SEEN_BEFORE;
        }
    }
    seen->few[count] = p;
    seen->count = count + 1;
    return FMP_SEEN_NEW;
}

/* Adds `p`, which is not NULL: FMP_SEEN_NEW, FMP_SEEN_BEFORE, or -ENOMEM. */
FMP_INLINE int
fmp_seen_add(struct fmp_seen *seen, const void *p)
{
    return fmp_seen_add_few(seen, p, fmp_seen_add_far);
}

/* The same for a leaf: where leaves are numbered, FMP_SEEN_NUMBERED, FMP_SEEN_AGAIN, or -ENOMEM. */
FMP_INLINE int
fmp_seen_add_leaf(struct fmp_seen *seen, const void *p)
{
    return fmp_seen_add_few(seen, p, fmp_seen_add_leaf_far);
}

void fmp_seen_free_table(struct fmp_seen *seen);
/* Empties the set and gives its memory back. */
FMP_INLINE void
fmp_seen_clear(struct fmp_seen *seen)
{
    seen->count = 0;
    if (FMP_UNLIKELY(seen->table != NULL)) {
        fmp_seen_free_table(seen);
    }
}

#endif

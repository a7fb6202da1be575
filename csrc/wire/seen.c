/* The set of pointers; see seen.h. */
#include "wire/seen.h"

#include <stdlib.h>

#define SLOTS_FIRST 128

/* Fibonacci hashing: the multiplication spreads the low bits of an address, of which malloc leaves the last four
 * unused, over the high ones. */
FMP_INLINE size_t
slot_of(const struct fmp_seen *seen, const void *p)
{
    return (size_t)(((uintptr_t)p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (seen->slots - 1);
}

/* Where `p` is, or the free slot where it belongs. */
static const void **
find(const struct fmp_seen *seen, const void *p)
{
    size_t i = slot_of(seen, p);
    while (seen->table[i] != NULL && seen->table[i] != p) {
        i = (i + 1) & (seen->slots - 1);
    }
    return &seen->table[i];
}

static int
rehash(struct fmp_seen *seen, size_t slots)
{
    const void **from = seen->table ? seen->table : seen->few;
    size_t n = seen->table ? seen->slots : seen->count;
    struct fmp_seen bigger = {.table = calloc(slots, sizeof(void *)), .slots = slots};
    if (bigger.table == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        if (from[i] != NULL) {
            *find(&bigger, from[i]) = from[i];
        }
    }
    free(seen->table);
    seen->table = bigger.table;
    seen->slots = slots;
    return 0;
}

static int
add_to_table(struct fmp_seen *seen, const void *p)
{
    if (seen->count * 2 >= seen->slots && rehash(seen, seen->slots * 4) < 0) {
        return -ENOMEM;
    }
    const void **slot = find(seen, p);
    if (*slot != NULL) {
        return 1;
    }
    *slot = p;
    seen->count++;
    return 0;
}

static bool
is_among_few(const struct fmp_seen *seen, const void *p)
{
    for (size_t i = 0; i < FMP_SEEN_FEW; i++) {
        if (seen->few[i] == p) {
            return true;
        }
    }
    return false;
}

int
fmp_seen_add_to_table(struct fmp_seen *seen, const void *p)
{
    if (seen->table == NULL) {
        if (is_among_few(seen, p)) {
            return 1;
        }
        if (rehash(seen, SLOTS_FIRST) < 0) {
            return -ENOMEM;
        }
    }
    return add_to_table(seen, p);
}

void
fmp_seen_clear(struct fmp_seen *seen)
{
    free(seen->table);
    seen->table = NULL;
    seen->slots = 0;
    seen->count = 0;
}

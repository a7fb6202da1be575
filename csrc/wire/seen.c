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
static struct fmp_seen_slot *
find(const struct fmp_seen *seen, const void *p)
{
    size_t i = slot_of(seen, p);
    while (seen->table[i].p != NULL && seen->table[i].p != p) {
        i = (i + 1) & (seen->slots - 1);
    }
    return &seen->table[i];
}

static int
rehash(struct fmp_seen *seen, size_t slots)
{
    struct fmp_seen bigger = {.table = calloc(slots, sizeof *bigger.table), .slots = slots};
    if (bigger.table == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < seen->slots; i++) {
        if (seen->table[i].p != NULL) {
            *find(&bigger, seen->table[i].p) = seen->table[i];
        }
    }
    for (size_t i = 0; seen->table == NULL && i < seen->count; i++) {
        *find(&bigger, seen->few[i]) = (struct fmp_seen_slot){seen->few[i], seen->few_numbers[i]};
    }
    free(seen->table);
    seen->table = bigger.table;
    seen->slots = slots;
    return 0;
}

/* The three that follow add `p` and say where its number belongs. */
static int
add_to_few(struct fmp_seen *seen, const void *p, size_t **number)
{
    size_t i = 0;
    while (i < seen->count && seen->few[i] != p) {
        i++;
    }
    *number = &seen->few_numbers[i];
    if (i < seen->count) {
        return FMP_SEEN_BEFORE;
    }
    seen->few[i] = p;
    seen->count++;
    return FMP_SEEN_NEW;
}

static int
add_to_table(struct fmp_seen *seen, const void *p, size_t **number)
{
    if (seen->count * 2 >= seen->slots && rehash(seen, seen->slots ? seen->slots * 4 : SLOTS_FIRST) < 0) {
        return -ENOMEM;
    }
    struct fmp_seen_slot *slot = find(seen, p);
    *number = &slot->number;
    if (slot->p != NULL) {
        return FMP_SEEN_BEFORE;
    }
    slot->p = p;
    seen->count++;
    return FMP_SEEN_NEW;
}

static int
add(struct fmp_seen *seen, const void *p, size_t **number)
{
    return seen->count < FMP_SEEN_FEW ? add_to_few(seen, p, number) : add_to_table(seen, p, number);
}

int
fmp_seen_add_far(struct fmp_seen *seen, const void *p)
{
    size_t *number;
    return add(seen, p, &number);
}

int
fmp_seen_add_leaf_far(struct fmp_seen *seen, const void *p)
{
    size_t *number;
    int rc = add(seen, p, &number);
    if (rc < 0 || seen->few_room != 0) {
        return rc;
    }
    if (rc == FMP_SEEN_BEFORE) {
        seen->again = *number;
        return FMP_SEEN_AGAIN;
    }
    *number = seen->numbers++;
    return FMP_SEEN_NUMBERED;
}

void
fmp_seen_number(struct fmp_seen *seen, bool leaves)
{
    seen->few_room = leaves ? 0 : FMP_SEEN_FEW;
    seen->numbers = 0;
}

void
fmp_seen_free_table(struct fmp_seen *seen)
{
    free(seen->table);
    seen->table = NULL;
    seen->slots = 0;
}

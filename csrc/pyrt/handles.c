/* The table of handles; see handles.h. Chains by the hash of (space, offset), at most one handle a chain on average. */
#include "pyrt/handles.h"

#include <stdlib.h>

#define FIRST_CHAINS 64u

static struct fmp_handle *first_chains[FIRST_CHAINS];
/* `count` is a power of two. */
static struct {
    struct fmp_handle **chains;
    size_t count, used;
} table = {.chains = first_chains, .count = FIRST_CHAINS};

static struct fmp_handle **
chain_of(const struct fmp_space *space, fmp_off off)
{
    /* Blocks lie at multiples of 64; the multiplier is 2^64 divided by the golden ratio. */
    uint64_t hash = (off / 64 ^ (uintptr_t)space) * UINT64_C(0x9E3779B97F4A7C15);
    return &table.chains[(hash >> 32) & (table.count - 1)];
}

static void
push(struct fmp_handle *h)
{
    struct fmp_handle **chain = chain_of(h->space, h->off);
    h->prev = NULL;
    h->next = *chain;
    if (h->next != NULL) {
        h->next->prev = h;
    }
    *chain = h;
}

/* Without memory the chains get longer. */
static void
grow(void)
{
    struct fmp_handle **old = table.chains;
    size_t old_count = table.count;
    struct fmp_handle **chains = calloc(old_count * 2, sizeof *chains);
    if (chains == NULL) {
        return;
    }
    table.chains = chains;
    table.count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        for (struct fmp_handle *h = old[i], *next; h != NULL; h = next) {
            next = h->next;
            push(h);
        }
    }
    if (old != first_chains) {
        free(old);
    }
}

void
fmp_handles_add(struct fmp_handle *h)
{
    if (++table.used > table.count) {
        grow();
    }
    push(h);
}

void
fmp_handles_remove(struct fmp_handle *h)
{
    table.used--;
    if (h->next != NULL) {
        h->next->prev = h->prev;
    }
    if (h->prev != NULL) {
        h->prev->next = h->next;
    } else {
        *chain_of(h->space, h->off) = h->next;
    }
}

struct fmp_handle *
fmp_handles_find(const struct fmp_space *space, fmp_off off)
{
    struct fmp_handle *h = *chain_of(space, off);
    while (h != NULL && (h->space != space || h->off != off)) {
        h = h->next;
    }
    return h;
}

void
fmp_handles_each(void (*fn)(struct fmp_handle *h))
{
    for (size_t i = 0; i < table.count; i++) {
        for (struct fmp_handle *h = table.chains[i]; h != NULL; h = h->next) {
            fn(h);
        }
    }
}

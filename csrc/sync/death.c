/* The dead; see death.h. */
#include "sync/death.h"

#include <limits.h>

#include "base/fault.h"
#include "sys/clock.h"
#include "sys/futex.h"
#include "sys/process.h"
#include "sys/robust.h"

/* From a death to the first look. */
#define SOON_NS FMP_NS_PER_MS
/* A death that comes so soon after another is told to nobody else: all look for that one still, in less time than has
 * gone by since. Programs that fork and _exit all the time would keep every sleeper awake. */
#define BRIEF_NS (64 * FMP_NS_PER_MS)

/* The region in which this process's end is told. */
static struct {
    char *base;
    uint64_t size;
    unsigned generation; /* counts the calls, and so the forks */
} watched;

/* What this thread has found out in which generation. */
static _Thread_local struct {
    unsigned generation;
    bool is_main;
} me;

static _Atomic bool cannot_wait; /* relaxed: whoever finds out finds the same */

void
fmp_death_watch(struct fmp_region *r)
{
    struct fmp_death_shm *d = &fmp_region_header(r)->death;
    watched.generation++;
    if (watched.base == NULL || watched.base == r->base) {
        if (sys_tell_of_end(&d->word) == 0) {
            watched.base = r->base;
            watched.size = r->size;
            return;
        }
        watched.base = NULL;
    }
    (void)fmp_fetch_add_relaxed(&d->untold, 1); /* relaxed: who sleeps already does not learn of it in any order */
}

void
fmp_death_forget(void)
{
    (void)sys_tell_of_end(NULL);
    watched.base = NULL;
}

/* Of the region that `word` lies in, if this process's own end and all others' are told there. */
static struct fmp_death_shm *
told_at(const void *word)
{
    char *base = watched.base;
    if (base == NULL || (uint64_t)((const char *)word - base) >= watched.size || fmp_load_relaxed(&cannot_wait)) {
        return NULL;
    }
    struct fmp_death_shm *d = &((struct fmp_region_shm *)base)->death;
    return fmp_load_relaxed(&d->untold) == 0 ? d : NULL; /* relaxed: as above */
}

bool
fmp_death_in_main_thread(void)
{
    if (me.generation != watched.generation) {
        me.generation = watched.generation;
        me.is_main = sys_is_main_thread();
    }
    return me.is_main;
}

bool
fmp_death_is_told(const void *word)
{
    return told_at(word) != NULL;
}

uint32_t
fmp_death_count(const void *word)
{
    struct fmp_death_shm *d = told_at(word);
    return d != NULL ? fmp_load_acquire(&d->told) : 0; /* K2: pairs with K1 */
}

uint64_t
fmp_death_period_ns(const void *word, uint64_t now_ns, uint64_t untold_ns)
{
    struct fmp_death_shm *d = told_at(word);
    if (d == NULL) {
        return untold_ns;
    }
    uint64_t last_ns = fmp_load_relaxed(&d->last_ns), since_ns = now_ns - last_ns; /* relaxed: the time alone counts */
    if (last_ns - now_ns < FMP_NS_PER_S || since_ns < SOON_NS) {                   /* it may have come since `now_ns` */
        return SOON_NS;
    }
    return since_ns < FMP_LONGEST_RECHECK_NS ? since_ns : FMP_LONGEST_RECHECK_NS;
}

uint64_t
fmp_death_slice_ns(const void *word, uint64_t now_ns, uint64_t vain_ns, uint64_t first_ns, uint64_t untold_ns)
{
    uint64_t longest_ns = fmp_death_period_ns(word, now_ns, untold_ns);
    uint64_t slice_ns = vain_ns == 0 ? first_ns : 2 * vain_ns;
    return slice_ns < longest_ns ? slice_ns : longest_ns;
}

/* This sleeper has heard of a death. `alone`: the kernel has woken him, and no other, so he tells. It is written down
 * last, and by all: should he be killed before, another is to tell. */
static void
hear(struct fmp_death_shm *d, bool alone)
{
    uint64_t now_ns = sys_now_ns();
    if (alone) {
        FMP_FAULT("death:heard");
    }
    if (now_ns - fmp_load_relaxed(&d->last_ns) < BRIEF_NS) { /* relaxed: the time alone counts */
        return;
    }
    if (alone) {
        (void)fmp_fetch_add_release(&d->told, 1); /* K1: pairs with K2, and with the kernel's look */
        FMP_FAULT("death:counted");
        (void)sys_futex_wake(&d->told, INT_MAX);
    }
    fmp_store_relaxed(&d->last_ns, now_ns); /* relaxed: as above */
}

/* Somebody has written over the word: nobody could sleep on it any more. */
static void
mend(struct fmp_death_shm *d)
{
    if (fmp_load_relaxed(&d->word) != 0) { /* relaxed, both: it says nothing */
        fmp_store_relaxed(&d->word, 0);
    }
}

int
fmp_death_wait(_Atomic uint32_t *word, uint32_t expected, uint32_t told, uint64_t deadline_ns)
{
    struct fmp_death_shm *d = told_at(word);
    if (d == NULL) {
        return sys_futex_wait(word, expected, deadline_ns);
    }
    if (fmp_death_in_main_thread()) {
        sys_tell_of_end_still();
    }
    struct sys_futex futexes[] = {{word, expected}, {&d->told, told}, {&d->word, 0}};
    int rc = sys_futex_wait_any(futexes, 3, deadline_ns);
    if (rc == -ENOSYS) {
        fmp_store_relaxed(&cannot_wait, true);
        return sys_futex_wait(word, expected, deadline_ns);
    }
    if (rc == -EAGAIN) {
        mend(d);
    }
    bool has_heard = rc > 0 || (rc == -EAGAIN && fmp_load_relaxed(&d->told) != told); /* relaxed: as above */
    if (!has_heard) {
        return rc;
    }
    hear(d, rc == 2);
    return FMP_DEATH_TOLD;
}

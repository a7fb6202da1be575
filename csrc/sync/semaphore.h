/*
 * The counting semaphore: a value and an event count. Called by: py/semaphore.c.
 *
 * Nobody owns a unit: what a killed process had acquired stays acquired, as in the standard library. A process killed
 * inside acquire or release leaves the value whole, as each is one CAS; the wake-up it may take with it is made good by
 * the next look of the event count, which the kernel calls for (sync/death.h).
 *
 *   order  what                                    pairs with
 *   S1     acquire: CAS v -> v-1, acquire          S2: sees what was done before the unit was released
 *   S2     release: CAS v -> v+1, seq_cst          S1; and E2 of the event count: the waiter sees the unit or is seen
 */
#ifndef FMP_SYNC_SEMAPHORE_H
#define FMP_SYNC_SEMAPHORE_H

#include "base/fault.h"
#include "sync/eventcount.h"

struct fmp_semaphore_shm {
    _Atomic uint32_t value;
    uint32_t max;
    struct fmp_ec_shm released;
};

FMP_INLINE void
fmp_semaphore_init(struct fmp_semaphore_shm *s, uint32_t value, uint32_t max)
{
    fmp_store_relaxed(&s->value, value); /* relaxed: nobody else knows the semaphore yet */
    s->max = max;
}

/* Takes a unit if there is one. */
FMP_INLINE bool
fmp_semaphore_try(struct fmp_semaphore_shm *s)
{
    uint32_t value = fmp_load_relaxed(&s->value); /* relaxed: the CAS checks it */
    while (value != 0) {
        if (FMP_LIKELY(
                fmp_cas_acquire(&s->value, &value, value - 1))) { /* S1: pairs with S2 in fmp_semaphore_release */
            FMP_FAULT("semaphore:taken");
            return true;
        }
    }
    return false;
}

/* Takes a unit: spins, sleeps at most once. 0; -ETIMEDOUT; -EINTR look at your signals and call again. */
int fmp_semaphore_acquire(struct fmp_semaphore_shm *s, uint64_t deadline_ns, struct fmp_spin *spin);

/* 0, or -EOVERFLOW if the value is at its maximum. */
FMP_INLINE int
fmp_semaphore_release(struct fmp_semaphore_shm *s)
{
    uint32_t value = fmp_load_relaxed(&s->value); /* relaxed: the CAS checks it */
    do {
        if (FMP_UNLIKELY(value >= s->max)) {
            return -EOVERFLOW;
        }
    } while (FMP_UNLIKELY(!fmp_cas_seq_cst(&s->value, &value, value + 1))); /* S2: pairs with S1, and with E2 */
    FMP_FAULT("semaphore:released");
    fmp_ec_notify_seq_cst(&s->released, 1);
    return 0;
}

FMP_INLINE uint32_t
fmp_semaphore_value(struct fmp_semaphore_shm *s)
{
    return fmp_load_relaxed(&s->value); /* relaxed: outdated at once anyway */
}

#endif

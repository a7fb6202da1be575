/* The event; see event.h. */
#include "sync/event.h"

#include <limits.h>

#include "base/fault.h"

void
fmp_event_set(struct fmp_event_shm *e)
{
    uint64_t word = fmp_load_relaxed(&e->word); /* relaxed: the CAS checks it */
    uint64_t set;
    do {
        set = (word & 1) != 0 ? word
                              : word + 3; /* a set flag is written again: that orders the caller before its readers */
    } while (!fmp_cas_seq_cst(&e->word, &word, set)); /* V1: pairs with V2, and with E2 */
    FMP_FAULT("event:set");
    fmp_ec_notify_seq_cst(&e->changed, INT_MAX);
}

void
fmp_event_clear(struct fmp_event_shm *e)
{
    fmp_fetch_and_acq_rel(&e->word, ~UINT64_C(1)); /* V3: pairs with V2 */
    FMP_FAULT("event:cleared");
}

struct fmp_event_waiter
fmp_event_begin(struct fmp_event_shm *e)
{
    uint64_t word = fmp_load_acquire(&e->word); /* V2: pairs with V1 */
    /* A flag that is set now has passed for this waiter, even if it is cleared before he looks again. */
    return (struct fmp_event_waiter){.event = e, .generation = (word >> 1) - (word & 1)};
}

bool
fmp_event_passed(void *waiter)
{
    struct fmp_event_waiter *w = waiter;
    uint64_t word = fmp_load_acquire(&w->event->word); /* V2: pairs with V1 */
    return (word & 1) != 0 || word >> 1 != w->generation;
}

/* Waiting for any word; see parking.h. */
#include "sync/parking.h"

#include <limits.h>

#include "base/fault.h"

#define SEVERAL UINT64_MAX
#define PLACE_BITS 8

static_assert(FMP_PARKING_PLACES == 1u << PLACE_BITS, "the hash has as many values as there are places");

static struct fmp_parking_shm *
place_of(struct fmp_region *r, fmp_off off)
{
    struct fmp_parking_shm *places = fmp_at(r, FMP_PARKING_OFF);
    return &places[(off * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - PLACE_BITS)]; /* Fibonacci hashing */
}

struct fmp_ec_shm *
fmp_parking_enter(struct fmp_region *r, fmp_off off)
{
    struct fmp_parking_shm *place = place_of(r, off);
    uint64_t whose = 0;
    if (!fmp_cas_release(&place->whose, &whose, off) && whose != off) { /* G1: pairs with G2 */
        fmp_store_release(&place->whose, SEVERAL);                      /* G1: pairs with G2 */
    }
    FMP_FAULT("parking:entered");
    return &place->changed;
}

/* Has anybody waited here for another word than the one at `off`? */
static bool
is_shared(struct fmp_parking_shm *place, fmp_off off)
{
    return fmp_load_acquire(&place->whose) != off; /* G2: pairs with G1 */
}

void
fmp_parking_notify(struct fmp_region *r, fmp_off off, int n)
{
    struct fmp_parking_shm *place = place_of(r, off);
    if ((fmp_ec_look(&place->changed) & FMP_EC_WAITERS) == 0) {
        return;
    }
    uint64_t word = fmp_load_acquire(&place->changed.word); /* G2: pairs with the registration, which comes after G1 */
    if (is_shared(place, off)) {
        n = INT_MAX;
    }
    fmp_ec_notify_slow(&place->changed, word, n);
    FMP_FAULT("parking:notified");
    if (n != INT_MAX && is_shared(place, off)) { /* one who came for another word may have had the wake-up */
        fmp_ec_notify(&place->changed, INT_MAX);
    }
}

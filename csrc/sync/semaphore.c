/* The counting semaphore; see semaphore.h. */
#include "sync/semaphore.h"

/* The look takes the unit: so who was woken and leaves has looked once more, and no wake-up is swallowed. */
static bool
take(void *ctx)
{
    return fmp_semaphore_try(ctx);
}

int
fmp_semaphore_acquire(struct fmp_semaphore_shm *s, uint64_t deadline_ns, struct fmp_spin *spin)
{
    return fmp_ec_await(&s->released, take, s, deadline_ns, spin);
}

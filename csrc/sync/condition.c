/* The condition; see condition.h. */
#include "sync/condition.h"

#include "base/fault.h"
#include "sys/clock.h"

enum { FREE = 0, WAITING = 1, NOTIFIED = 2, SLEEPING = 3 };

#define PHASE_SHIFT FMP_ID_BITS
#define TICKET_SHIFT (FMP_ID_BITS + 2)
#define TICKET_MASK ((UINT64_C(1) << (64 - TICKET_SHIFT)) - 1)
#define NOBODY UINT32_MAX

FMP_INLINE uint64_t
word_of(uint64_t ticket, unsigned phase, uint32_t owner)
{
    return ticket << TICKET_SHIFT | (uint64_t)phase << PHASE_SHIFT | owner;
}

FMP_INLINE unsigned
phase_of(uint64_t word)
{
    return word >> PHASE_SHIFT & 3;
}

FMP_INLINE bool
is_waiting(uint64_t word)
{
    return phase_of(word) == WAITING || phase_of(word) == SLEEPING;
}

FMP_INLINE uint32_t
owner_of(uint64_t word)
{
    return word & FMP_ID_MASK;
}

/* Is ticket a older than b? Tickets wrap; half the range is far more than can wait at one time. */
FMP_INLINE bool
is_older(uint64_t a, uint64_t b)
{
    return ((b - a - 1) & TICKET_MASK) < TICKET_MASK / 2;
}

/* The half of a record that holds phase and owner. */
static _Atomic uint32_t *
low_half(_Atomic uint64_t *record)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (_Atomic uint32_t *)record;
#else
    return (_Atomic uint32_t *)record + 1;
#endif
}

static uint32_t
used_records(struct fmp_condition *c)
{
    uint32_t used =
        fmp_load_acquire(&c->shm->used); /* C3: pairs with C1 in enlist_at; never believed beyond the block */
    return used < c->records ? used : c->records;
}

static _Atomic uint64_t *
record_of(struct fmp_condition_waiter *w)
{
    return &w->condition->shm->record[w->index];
}

static bool
owner_is_gone(struct fmp_condition *c, uint64_t word)
{
    return fmp_participant_fate(c->region, owner_of(word)) != FMP_ALIVE;
}

/* ---- notify ---- */

/* The index of the oldest waiter with a ticket before `stamp`, and its word; NOBODY if there is none. */
static uint32_t
oldest_waiter(struct fmp_condition *c, uint64_t stamp, uint64_t *found)
{
    uint32_t oldest = NOBODY, used = used_records(c);
    for (uint32_t i = 0; i < used; i++) {
        uint64_t word = fmp_load_acquire(&c->shm->record[i]); /* C3: pairs with C1 */
        if (!is_waiting(word) || !is_older(word >> TICKET_SHIFT, stamp)) {
            continue;
        }
        if (oldest == NOBODY || is_older(word >> TICKET_SHIFT, *found >> TICKET_SHIFT)) {
            oldest = i;
            *found = word;
        }
    }
    return oldest;
}

/* Marks the waiter whose record was seen as `word`; false if the record has changed. */
static bool
give(struct fmp_condition *c, uint32_t index, uint64_t word, uint64_t stamp)
{
    _Atomic uint64_t *record = &c->shm->record[index];
    bool sleeps = phase_of(word) == SLEEPING;
    if (!fmp_cas_acq_rel(record, &word,
                         word_of(stamp, NOTIFIED, owner_of(word)))) { /* C2: pairs with C3 in is_notified */
        return false;
    }
    FMP_FAULT("condition:notified");
    if (sleeps) {
        (void)fmp_ec_os.wake(low_half(record), 1); /* fails only for a bad address */
    }
    return true;
}

static bool
give_to_oldest(struct fmp_condition *c, uint64_t stamp)
{
    for (;;) {
        uint64_t word = 0;
        uint32_t index = oldest_waiter(c, stamp, &word);
        if (index == NOBODY) {
            return false;
        }
        if (give(c, index, word, stamp)) {
            return true;
        }
    }
}

static unsigned
give_to_all(struct fmp_condition *c, uint64_t stamp)
{
    unsigned given = 0;
    uint32_t used = used_records(c);
    for (uint32_t i = 0; i < used; i++) {
        uint64_t word = fmp_load_acquire(&c->shm->record[i]); /* C3: pairs with C1 */
        while (is_waiting(word) && is_older(word >> TICKET_SHIFT, stamp)) {
            if (give(c, i, word, stamp)) {
                given++;
                break;
            }
            word = fmp_load_acquire(&c->shm->record[i]); /* C3 */
        }
    }
    return given;
}

unsigned
fmp_condition_notify(struct fmp_condition *c, unsigned n)
{
    uint64_t stamp =
        fmp_load_relaxed(&c->shm->next_ticket) & TICKET_MASK; /* relaxed: ordered by the condition's lock */
    unsigned given = 0;
    if (n >= used_records(c)) {
        return give_to_all(c, stamp);
    }
    while (given < n && give_to_oldest(c, stamp)) {
        given++;
    }
    return given;
}

/* ---- what the dead leave behind ---- */

/* A notification for a process that has ended: claimed first, so that it is given to one only; then it can only be
 * given twice, never lost. */
static void
redeliver(struct fmp_condition *c, uint32_t index, uint64_t word)
{
    uint64_t stamp = word >> TICKET_SHIFT, mine = word_of(stamp, NOTIFIED, c->region->me);
    if (!fmp_cas_acq_rel(&c->shm->record[index], &word, mine)) { /* C4: the claim. Pairs with C2 */
        return;
    }
    FMP_FAULT("condition:claimed");
    (void)give_to_oldest(c, stamp);
    FMP_FAULT("condition:redelivered");
    fmp_store_release(&c->shm->record[index], 0); /* C4: pairs with C1 */
}

static void
redeliver_all(struct fmp_condition *c)
{
    uint32_t used = used_records(c);
    for (uint32_t i = 0; i < used; i++) {
        uint64_t word = fmp_load_acquire(&c->shm->record[i]); /* C3: pairs with C2 */
        if (phase_of(word) == NOTIFIED && owner_is_gone(c, word)) {
            redeliver(c, i, word);
        }
    }
}

/* No record is free: those of the dead are. */
static void
sweep(struct fmp_condition *c)
{
    redeliver_all(c);
    for (uint32_t i = 0; i < c->records; i++) {
        uint64_t word = fmp_load_acquire(&c->shm->record[i]); /* C3: pairs with C1 */
        if (is_waiting(word) && owner_is_gone(c, word)) {
            fmp_cas_acq_rel(&c->shm->record[i], &word, 0); /* C4: pairs with C1 */
        }
    }
}

/* ---- wait ---- */

static bool
enlist_at(struct fmp_condition *c, uint32_t index, uint64_t ticket)
{
    uint64_t word = 0;
    if (fmp_load_relaxed(&c->shm->record[index]) != 0) { /* relaxed: a look before the CAS */
        return false;
    }
    uint32_t used = fmp_load_relaxed(&c->shm->used); /* relaxed: the CAS checks it */
    while (used <= index &&
           !fmp_cas_acq_rel(&c->shm->used, &used, index + 1)) { /* C1: before the record can be taken */
    }
    return fmp_cas_acq_rel(&c->shm->record[index], &word,
                           word_of(ticket, WAITING, c->region->me)); /* C1: pairs with C2 */
}

static int
enlist(struct fmp_condition_waiter *w, uint64_t ticket)
{
    for (uint32_t i = 0; i < w->condition->records; i++) {
        if (enlist_at(w->condition, i, ticket)) {
            w->index = i;
            FMP_FAULT("condition:enlisted");
            return 0;
        }
    }
    return -ENOSPC;
}

int
fmp_condition_enlist(struct fmp_condition_waiter *w)
{
    struct fmp_condition *c = w->condition;
    w->told = fmp_death_count(c->shm);
    uint64_t ticket =
        fmp_fetch_add_relaxed(&c->shm->next_ticket, 1) & TICKET_MASK; /* relaxed: ordered by the condition's lock */
    int rc = enlist(w, ticket);
    if (rc == -ENOSPC) {
        sweep(c);
        rc = enlist(w, ticket);
    }
    return rc;
}

static bool
is_notified(void *ctx)
{
    return phase_of(fmp_load_acquire(record_of(ctx))) == NOTIFIED; /* C3: pairs with C2 in give */
}

/* Gives the record back unless it has been notified: then false. */
static bool
give_up(struct fmp_condition_waiter *w)
{
    uint64_t word = fmp_load_relaxed(record_of(w)); /* relaxed: the CAS checks it */
    while (is_waiting(word)) {
        if (fmp_cas_acq_rel(record_of(w), &word, 0)) { /* C4: pairs with C1 */
            return true;
        }
    }
    return false;
}

/* From here on a notifier makes the system call. False if it has come already; else the word to sleep on. */
static bool
announce_sleep(struct fmp_condition_waiter *w, uint32_t *seen)
{
    uint64_t word = fmp_load_relaxed(record_of(w)); /* relaxed: the CAS checks it */
    uint64_t sleeping = word | (uint64_t)SLEEPING << PHASE_SHIFT;
    if (phase_of(word) == NOTIFIED || (word != sleeping && !fmp_cas_relaxed(record_of(w), &word, sleeping))) {
        return false;
    }
    *seen = (uint32_t)sleeping;
    FMP_FAULT("condition:sleeping");
    return true;
}

static int
end_of_slice(struct fmp_condition_waiter *w, bool last)
{
    w->told = fmp_death_count(w->condition->shm); /* K2: a death after this look ends the next sleep */
    redeliver_all(w->condition);
    if (last) {
        return give_up(w) ? -ETIMEDOUT : 0;
    }
    return is_notified(w) ? 0 : -EINTR;
}

int
fmp_condition_sleep(struct fmp_condition_waiter *w, uint64_t deadline_ns)
{
    uint32_t seen;
    if (deadline_ns == 0) {
        return give_up(w) ? -ETIMEDOUT : 0;
    }
    if (fmp_spin_until(is_notified, w, &w->spin) || !announce_sleep(w, &seen)) {
        return 0;
    }
    uint64_t now = sys_now_ns();
    w->slice_ns = fmp_death_slice_ns(w->condition->shm, now, w->slice_ns, FMP_RECHECK_NS, FMP_RECHECK_NS);
    uint64_t slice_end = sys_slice_end_ns(now, deadline_ns, w->slice_ns);
    int rc = fmp_ec_os.wait(low_half(record_of(w)), seen, w->told, slice_end);
    FMP_FAULT("condition:woken");
    fmp_spin_slept(&w->spin, rc == -ETIMEDOUT ? FMP_NEVER : sys_now_ns() - now);
    if (is_notified(w)) {
        return 0;
    }
    bool is_to_look = rc == -ETIMEDOUT || rc == FMP_DEATH_TOLD;
    return is_to_look ? end_of_slice(w, rc == -ETIMEDOUT && slice_end == deadline_ns) : -EINTR;
}

void
fmp_condition_leave(struct fmp_condition_waiter *w)
{
    fmp_store_release(record_of(w), 0); /* C4: pairs with C1 */
}

void
fmp_condition_cancel(struct fmp_condition_waiter *w)
{
    if (!give_up(w)) {
        (void)give_to_oldest(w->condition, fmp_load_relaxed(record_of(w)) >> TICKET_SHIFT); /* relaxed: it is ours */
        fmp_condition_leave(w);
    }
}

/* ---- looks ---- */

static unsigned
count_phases(struct fmp_condition *c, bool waiting)
{
    unsigned count = 0;
    uint32_t used = used_records(c);
    for (uint32_t i = 0; i < used; i++) {
        uint64_t word = fmp_load_relaxed(&c->shm->record[i]); /* relaxed: outdated at once anyway */
        count += waiting ? is_waiting(word) : phase_of(word) == NOTIFIED;
    }
    return count;
}

unsigned
fmp_condition_waiting(struct fmp_condition *c)
{
    return count_phases(c, true);
}

unsigned
fmp_condition_notified(struct fmp_condition *c)
{
    return count_phases(c, false);
}

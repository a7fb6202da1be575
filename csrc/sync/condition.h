/*
 * The condition: a record per waiter, so that a notification names its receiver. Called by: py/condition.c, which owns
 * the lock's part.
 *
 * A record is one word {ticket:38 | phase:2 | owner:24}, 0 is free; the futex is its low half. The lock that belongs to
 * the condition is held by who enlists and who notifies, and no order is lost if it is not.
 *
 *   FREE --enlist--> WAITING(ticket) --before the futex--> SLEEPING(ticket) --notify--> NOTIFIED(stamp) --leave--> FREE
 *                    WAITING or SLEEPING --timeout or cancel--> FREE
 *
 * - notify gives to the oldest tickets. The stamp is the next ticket at that moment: only who waited then may have this
 * notification.
 * - A waiter that gives up and finds itself notified was notified; one that is interrupted passes the notification on.
 * - A NOTIFIED record of a process that has ended is claimed by any waiter when a death is told, or at its re-check
 * (FMP_RECHECK_NS, then twice as long each time), and goes to the oldest waiter of that time. The receiver frees the
 * record only when it has the lock again. So no notification is lost to the dead.
 * - Records are freed by their owners; those of the dead when a notification meets them, or when no record is free.
 *
 *   order  what                                                    pairs with
 *   C1     enlist: CAS free -> WAITING, acq_rel                    C2: the notifier sees the waiter; C4: the record's
 * last use is over C2     notify: CAS WAITING/SLEEPING -> NOTIFIED, acq_rel       C3: the waiter sees what the notifier
 * did C3     look: load, acquire                                     C2 C4     leave, give up, claim: CAS away from a
 * record's word    C1, C2
 */
#ifndef FMP_SYNC_CONDITION_H
#define FMP_SYNC_CONDITION_H

#include "shm/participants.h"
#include "sync/eventcount.h"

struct fmp_condition_shm {
    _Atomic uint64_t next_ticket;
    _Atomic uint32_t used; /* no record at or above this index was ever used */
    FMP_ALIGNED _Atomic uint64_t record[];
};

#define FMP_CONDITION_BYTES(records) (sizeof(struct fmp_condition_shm) + (records) * sizeof(uint64_t))

/* A process's handle. */
struct fmp_condition {
    struct fmp_condition_shm *shm;
    struct fmp_region *region;
    uint32_t records; /* as many as waiters at one time */
};

/* One wait: enlist, release the lock, sleep until it ends, take the lock, leave. */
struct fmp_condition_waiter {
    struct fmp_condition *condition;
    struct fmp_spin spin;
    uint32_t index;    /* of the record */
    uint32_t told;     /* deaths, before the last look for what the dead have left */
    uint64_t slice_ns; /* the length of the last sleep */
};

/* Takes a record. 0, or -ENOSPC if `records` living threads wait already. */
int fmp_condition_enlist(struct fmp_condition_waiter *w);
/* Spins, sleeps at most once. 0 notified; -ETIMEDOUT, and the record is given back; -EINTR look at your signals and
 * call again. */
int fmp_condition_sleep(struct fmp_condition_waiter *w, uint64_t deadline_ns);
/* After sleep has returned 0, with the lock held again. */
void fmp_condition_leave(struct fmp_condition_waiter *w);
/* Instead of sleeping on: gives the record back; a notification that has come goes to another waiter. */
void fmp_condition_cancel(struct fmp_condition_waiter *w);

/* Notifies up to `n` waiters, oldest first; how many. */
unsigned fmp_condition_notify(struct fmp_condition *c, unsigned n);

/* How many wait without having been notified, the dead among them included; and how many notifications wait for their
 * receiver. */
unsigned fmp_condition_waiting(struct fmp_condition *c);
unsigned fmp_condition_notified(struct fmp_condition *c);

#endif

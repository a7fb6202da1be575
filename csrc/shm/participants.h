/*
 * Participants: who uses a region, and who of them is alive. Called by: sync/, heap/, ring/ (is the owner dead?), pyrt/
 * (join, fork, leave).
 *
 * A slot's life: FREE -> RESERVED (by the parent, before fork) -> LIVE -> CLEAN (left in order) or DEAD (found killed,
 * being reclaimed) -> KILLED (reclaimed); CLEAN and KILLED slots are given out again, with the next generation. The
 * kernel says who is alive, never a heartbeat. On any doubt the answer is "alive".
 */
#ifndef FMP_SHM_PARTICIPANTS_H
#define FMP_SHM_PARTICIPANTS_H

#include <sys/types.h>

#include "shm/region.h"

#define FMP_PARTICIPANTS_MAX 4096u
#define FMP_ID_BITS 24
#define FMP_ID_MASK ((1u << FMP_ID_BITS) - 1)
#define FMP_ID_SLOT(id) ((id)&0xfffu)
#define FMP_ID_GENERATION(id) (((id) >> 12) & 0xfffu)

/* What became of an identity. */
enum fmp_fate {
    FMP_ALIVE,  /* or not known to be otherwise */
    FMP_CLEAN,  /* left in order */
    FMP_KILLED, /* ended without leaving */
};

struct fmp_participant_shm {
    _Atomic uint32_t word;    /* {generation:12 | state:8} */
    _Atomic uint32_t pid;     /* 0 until known */
    _Atomic uint64_t start;   /* clock ticks since boot, 0 until known */
    _Atomic uint64_t history; /* {generation:12 | killed bits of the 52 generations before it} */
    _Atomic uint32_t reserver;
    uint32_t unused[9];
};

/* Reserves a slot for a process to come, in the name of `r->me` (0 for oneself). The identity, 0 if there is no slot to
 * be had. */
uint32_t fmp_participant_reserve(struct fmp_region *r);
/* This process takes the reserved identity; `r->me` is set. 0 or -errno. */
int fmp_participant_adopt(struct fmp_region *r, uint32_t id);
/* The same, but the pid alone tells who it is, until fmp_participant_tell_start: for a child that its parent has just
 * forked and may need no more. */
int fmp_participant_adopt_early(struct fmp_region *r, uint32_t id);
void fmp_participant_tell_start(struct fmp_region *r);
/* Gives a reservation back, when the fork failed. */
void fmp_participant_unreserve(struct fmp_region *r, uint32_t id);
/* Reserve and adopt. 0, or -EAGAIN if FMP_PARTICIPANTS_MAX processes use the region. */
int fmp_participant_join(struct fmp_region *r);
/* Leaves in order; `r->me` becomes 0. */
void fmp_participant_leave(struct fmp_region *r);
/* The parent writes its new child's pid and start time (0: not known) down, for the time before the child does so
 * itself. */
void fmp_participant_name_child(struct fmp_region *r, uint32_t id, pid_t pid, uint64_t start);

/* Asks the kernel (some system calls). Never robs the living: doubt is FMP_ALIVE. */
enum fmp_fate fmp_participant_fate(struct fmp_region *r, uint32_t id);
FMP_INLINE bool
fmp_participant_is_killed(struct fmp_region *r, uint32_t id)
{
    return fmp_participant_fate(r, id) == FMP_KILLED;
}
/* Has `id` ended, by what its slot says: left, buried, or followed by another user? The kernel is not asked, so a
 * killed process counts only once it is buried. */
bool fmp_participant_has_ended(struct fmp_region *r, uint32_t id);
/* The pid of an identity, 0 if its slot has another generation by now. */
pid_t fmp_participant_pid(struct fmp_region *r, uint32_t id);

/* Reclamation (heap/reclaim.c): a killed slot is marked DEAD, all that it held is given back, then it is buried and may
 * be given out again. `mark_dead` says whether it is DEAD now. Both are idempotent, and any process may take over from
 * one that died in between. */
bool fmp_participant_mark_dead(struct fmp_region *r, uint32_t id);
void fmp_participant_bury(struct fmp_region *r, uint32_t id);
/* The identity in slot `slot` if it is marked dead and not yet buried, else 0. */
uint32_t fmp_participant_dead_in_slot(struct fmp_region *r, uint32_t slot);
/* The identity in slot `slot` if it is LIVE, RESERVED or DEAD, else 0: for a sweep over all slots. */
uint32_t fmp_participant_in_slot(struct fmp_region *r, uint32_t slot);
/* The same, but only if it has come by itself, or if the process that reserved the slot for it has ended, by what its
 * own slot says: nobody may be left to notice how this one ends. */
uint32_t fmp_participant_orphan_in_slot(struct fmp_region *r, uint32_t slot);

#endif

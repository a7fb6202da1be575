/*
 * Processes that come into the family by another way than fork: spawned ones, and children of a fork server. Called
 * by: py/newcomer.c, pyrt/travel.c.
 *
 *   parent                                             child
 *   reserve -> an identity
 *   hold_for(identity): pickle the child's arguments   (every block that they name is held for the child)
 *   start it, give it descriptor, token, identity
 *   started(identity, pid), or failed(identity)        enter(descriptor, token, identity), then unpickle
 *
 * From hold on the blocks cannot be freed before the child is there. If the parent dies before the child has a pid, or
 * the child at any time, the identity is dead and the usual reclamation clears its bits. A child that leaves in order
 * gives back what was held for it, whether it has come to unpickle it or not (fmp_heap_drop_all).
 *
 * The identity is one of the parent's default space. In the parent's other spaces, if it has any, the child gets one as
 * soon as a block of them is held for it; the travel record tells it (pyrt/travel.h).
 */
#ifndef FMP_PYRT_NEWCOMERS_H
#define FMP_PYRT_NEWCOMERS_H

#include "pyrt/runtime.h"

/* An identity for a process to come; 0 with OSError set. */
uint32_t fmp_newcomer_reserve(void);
/* It has been started: its pid. -1 with ValueError if no child to come has this identity. */
int fmp_newcomer_started(uint32_t identity, pid_t pid);
/* It will never be. -1 with ValueError. */
int fmp_newcomer_failed(uint32_t identity);
/* In the child: this region is the one for new objects from now on. -1 with OSError set. */
int fmp_newcomer_enter(int fd, const unsigned char *token, uint32_t identity);

/* This thread pickles for the child `identity` from now on, or for no child (0): *previous is what was so far. -1 with
 * ValueError if it is none. */
int fmp_newcomer_hold_for(uint32_t identity, uint32_t *previous);
uint32_t fmp_newcomer_held_for(void);
/* Makes the child for whom this thread pickles a holder of a SHARED block that this process holds: its identity in the
 * block's space, or 0 with an exception set. */
uint32_t fmp_newcomer_hold(const struct fmp_handle *h);

/* In a forked child: the children to come are its parent's. */
void fmp_newcomers_after_fork(void);

#endif

/*
 * The identities that this process has given out: to each of its children in each of its spaces, until the child is
 * reaped. Called by: pyrt/fork.c and pyrt/newcomers.c, under the GIL or in a fresh child.
 *
 * A child made by fork is written down with its pid. One that comes by another way (spawn, a fork server) is written
 * down before it exists, under the identity that fmp_child_reserve has given out for it in the default space; its pid
 * follows.
 */
#ifndef FMP_PYRT_CHILDREN_H
#define FMP_PYRT_CHILDREN_H

#include <sys/types.h>

#include "pyrt/spaces.h"

struct fmp_child {
    pid_t pid;         /* 0: not started yet */
    uint32_t reserved; /* what it is known by before it has a pid; 0: made by fork */
    struct fmp_space *space;
    uint32_t id; /* in this space */
};

/* 0, or -ENOMEM: then what the child leaves behind if it is killed is found by the sweep. */
int fmp_children_add(const struct fmp_child *child);
/* Hands out one entry of a process, and forgets it; false if there is none (left). */
bool fmp_children_take(pid_t pid, struct fmp_child *child);
bool fmp_children_take_reserved(uint32_t reserved, struct fmp_child *child);
/* The i-th entry of a child that is not started yet, or NULL. Valid until the next change. */
struct fmp_child *fmp_children_reserved(uint32_t reserved, unsigned i);
void fmp_children_forget(void);

#endif

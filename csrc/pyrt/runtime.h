/*
 * The runtime under every Python type: the default space, handles on shared blocks, fork and exit. Called by: wire/,
 * conn/, pool/, py/.
 *
 * - There is one default space per process family, made when the first object needs it; fork inherits it, other
 * children enter it (pyrt/newcomers.h). No thread is started.
 * - Every Python object that lives in shared memory embeds a `struct fmp_handle`. All live handles are in a table, so
 * that fork can make the child a holder of each block before the child exists, and an orderly exit can drop them.
 * Several handles of a process on one block share its holder bit.
 * - Functions here need the GIL, but the fork handlers, which run wherever fork is called.
 */
#ifndef FMP_PYRT_RUNTIME_H
#define FMP_PYRT_RUNTIME_H

#include <Python.h>

#include "pyrt/spaces.h"

/* Changes in every forked child: an object that remembers it knows whether it was made in this process. */
extern unsigned fmp_fork_generation;

/* The space for new objects, made at the first call; NULL with an exception (OSError) set. */
struct fmp_space *fmp_space_default(void);
/* The default space if it has been made, else NULL. No exception. */
struct fmp_space *fmp_space_if_any(void);
/* The space that [at, at + bytes) lies in, behind its header; NULL if it is none. No exception. */
struct fmp_space *fmp_space_around(const void *at, uint64_t bytes);
/* From now on new objects lie in `space`. */
void fmp_space_set_default(struct fmp_space *space);
/* This process's identity in the space; 0 if a fork that we did not see has lost it (then fmp_space_use joins anew). */
FMP_INLINE uint32_t
fmp_space_me(const struct fmp_space *space)
{
    return space->region.me;
}
/* Makes sure that this process has an identity in the space: it, or 0 with an exception set. */
uint32_t fmp_space_use(struct fmp_space *space);

struct fmp_handle {
    struct fmp_handle *prev, *next;
    struct fmp_space *space;
    fmp_off off;    /* 0: an empty handle */
    uint64_t bytes; /* usable */
    bool shared;    /* SHARED with this process as a holder; otherwise OWNED by this process */
};

/* A new zeroed SHARED block for this handle. 0, or -1 with OSError(ENOSPC) or another set. */
int fmp_handle_new(struct fmp_handle *h, uint64_t bytes, enum fmp_block_kind kind);
/* Takes over a block that this process OWNS (a received message). */
void fmp_handle_take(struct fmp_handle *h, struct fmp_space *space, fmp_off off);
/* One more handle on a SHARED block that this process holds. */
void fmp_handle_open(struct fmp_handle *h, struct fmp_space *space, fmp_off off);
/* Makes an OWNED block SHARED, so that others can be given it. 0 or -errno. */
int fmp_handle_share(struct fmp_handle *h);
/* Lets go; an empty handle is fine. Called by tp_dealloc. */
void fmp_handle_release(struct fmp_handle *h);
FMP_INLINE void *
fmp_handle_at(const struct fmp_handle *h)
{
    return fmp_at(&h->space->region, h->off);
}

/* fork(2) bracketed by PyOS_BeforeFork and PyOS_AfterFork_*. The child's pid, 0 in the child, -1 with an exception set:
 * OSError (EAGAIN) also if no identity is left for it. */
pid_t fmp_runtime_fork(void);
/* From now on `look` is called, with true, before each fork of the functions here that is made with the GIL: nothing of
 * Python runs from there to the child. And with false in the parent, before anything of Python runs there. */
void fmp_runtime_look_before_forks(void (*look)(bool is_before));
/* The same, but the new process is a child of this one's parent, and not audited: sys_fork_sibling says where. The pid,
 * 0, or -errno. */
pid_t fmp_runtime_fork_sibling(pid_t *told);
/* A child that is forked before it is known whether it will be needed. `wakes` runs in it first, without Python: as
 * what it begins, or below 0 if it does not: then it leaves the shared memory and ends, with exit code 0. */
struct fmp_dormant {
    int (*wakes)(void *ctx);
    void *ctx;
};
/*
 * Forks all of them, within one pair of PyOS_BeforeFork and PyOS_AfterFork_Parent: nothing of Python runs in between,
 * so the parent's pages need not be copied again for each. In a child that begins, PyOS_AfterFork_Child runs then, and
 * `me` says what it is. How many were made, with their pids: fewer than `count` if there can be no more. -1 with an
 * exception set. 0 in the child. Called by the main thread, with all signals blocked, which is the caller's business in
 * the child, too; no other thread of this process may hold the GIL or want it.
 */
int fmp_runtime_fork_dormant(const struct fmp_dormant *children, int count, pid_t *pids, int *me);
/* In `wakes` of such a child: a sibling, in which `wakes` goes on as well. As fmp_runtime_fork_sibling. */
pid_t fmp_runtime_fork_dormant_sibling(pid_t *told);
/* A child of this process that a sibling of it has forked is written down. */
void fmp_runtime_adopt(pid_t pid);
/* A child that was written down (pyrt/children.h) has ended: if it was killed, what it held is given back. */
void fmp_runtime_reaped(pid_t pid);
/* An orderly exit: drops all handles and leaves the spaces. Also runs at exit(3). After it no object of this process
 * may be used. */
void fmp_runtime_leave(void);
/* Registers the fork handlers; called once per process by the module. Names a kernel feature that is missing: -1 with
 * ImportError set. */
int fmp_runtime_start(void);

#endif

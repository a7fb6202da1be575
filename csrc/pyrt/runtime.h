/*
 * The runtime under every Python type: the process's space (region + heap), handles on shared blocks, fork and exit.
 * Called by: wire/, conn/, pool/, py/.
 *
 * - There is one default space per process tree, made when the first object needs it and inherited by fork. No thread
 * is started.
 * - Every Python object that lives in shared memory embeds a `struct fmp_handle`. All live handles are in a list, so
 * that fork can make the child a holder of each block before the child exists, and an orderly exit can drop them.
 * - Functions here need the GIL, but the fork handlers, which run wherever fork is called.
 */
#ifndef FMP_PYRT_RUNTIME_H
#define FMP_PYRT_RUNTIME_H

#include <Python.h>

#include "heap/heap.h"

/* Changes in every forked child: an object that remembers it knows whether it was made in this process. */
extern unsigned fmp_fork_generation;

struct fmp_space {
    struct fmp_region region;
    struct fmp_heap *heap;
};

/* The default space, made at the first call; NULL with an exception (OSError) set. */
struct fmp_space *fmp_space_default(void);
/* The default space if it has been made, else NULL. No exception. */
struct fmp_space *fmp_space_if_any(void);
/* The space that [at, at + bytes) lies in, behind its header; NULL if it is none. No exception. */
struct fmp_space *fmp_space_around(const void *at, uint64_t bytes);
/* This process's identity in the space, joining it anew if a foreign fork has lost it. */
FMP_INLINE uint32_t
fmp_space_me(const struct fmp_space *space)
{
    return space->region.me;
}
/* `id` is known to be dead: gives back what it held. */
void fmp_space_bury(struct fmp_space *space, uint32_t id);

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
/* Lets go; an empty handle is fine. Called by tp_dealloc. */
void fmp_handle_release(struct fmp_handle *h);
FMP_INLINE void *
fmp_handle_at(const struct fmp_handle *h)
{
    return fmp_at(&h->space->region, h->off);
}

/* fork(2) bracketed by PyOS_BeforeFork and PyOS_AfterFork_*. The child's pid, 0 in the child, -1 with an exception set.
 */
pid_t fmp_runtime_fork(void);
/* A child made by fmp_runtime_fork was waited for: if it was killed, what it held is given back. */
void fmp_runtime_reaped(pid_t pid);
/* An orderly exit: drops all handles and leaves the region. Also runs at exit(3). After it no object of this process
 * may be used. */
void fmp_runtime_leave(void);
/* Registers the fork handlers; called once per process by the module. Names a kernel feature that is missing: -1 with
 * ImportError set. */
int fmp_runtime_start(void);

#endif

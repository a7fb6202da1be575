/*
 * The spaces of this process: each a region that it has mapped and is a participant of, with its heap. Called by: the
 * files of pyrt/; the struct by all above.
 *
 * A process has one as a rule, that of its whole family. It has more if it was given a family's region while it had
 * made another one itself (a fork server that has preloaded modules), or has received an object of a process of another
 * family. A space is kept for good. The functions return 0 or -errno, and need the GIL.
 */
#ifndef FMP_PYRT_SPACES_H
#define FMP_PYRT_SPACES_H

#include "heap/heap.h"

struct fmp_space {
    struct fmp_region region;
    struct fmp_heap *heap;
    struct fmp_space *next;
    uint32_t child;        /* reserved by the fork that is under way */
    bool was_awaited;      /* others have held blocks for this process before it came: it may have no handle on some */
    uint32_t noticed_slot; /* where fmp_space_notice_one has got to */
    uint64_t orphans_next_ns; /* not looked for before */
};

/* All of them, newest first. */
extern struct fmp_space *fmp_spaces;

struct fmp_space *fmp_space_of_token(const unsigned char *token);
/* A new region. */
int fmp_space_make(struct fmp_space **space);
/* Maps the region behind `fd` (which stays the caller's) and takes the identity that was reserved for this process; if
 * `reserved` is 0, one of its own. -EPROTO if it is not the region of this token, -EOWNERDEAD if who has reserved the
 * identity is dead and it was given back. */
int fmp_space_attach(struct fmp_space **space, int fd, const unsigned char *token, uint32_t reserved);
/* This process takes the identity that was reserved for it, or if `reserved` is 0 one of its own: in a new space, or
 * as a fork that we did not see has lost it its own. */
int fmp_space_join(struct fmp_space *space, uint32_t reserved);

/* `id` is known to be dead: gives back what it held. */
void fmp_space_bury(struct fmp_space *space, uint32_t id);
/* Buries every participant that was killed and that nobody has noticed. */
void fmp_space_sweep_dead(struct fmp_space *space);
/* Looks at the next slot in use: children of a plain fork that were killed, or left by _exit, are noticed in the course
 * of things. */
void fmp_space_notice_one(struct fmp_space *space);
/* Those whom nobody reaps here: who came by themselves, and those whose parent was killed, and who were killed in turn
 * or never born. So they are looked after when a process is started or has ended, but not too often, unless `at_once`.
 */
void fmp_space_bury_orphans(struct fmp_space *space, bool at_once);

#endif

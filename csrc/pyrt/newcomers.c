/* Processes that come by another way than fork; see newcomers.h. */
#include "pyrt/newcomers.h"

#include <unistd.h>

#include "base/fault.h"
#include "pyrt/children.h"
#include "pyrt/wait.h"
#include "sys/process.h"

static _Thread_local uint32_t held_for;

/* ---- the parent's side ---- */

/* An identity in `space` for the child that is known as `reserved` (0: by this one). 0 with an exception set. */
static uint32_t
reserve_in(struct fmp_space *space, uint32_t reserved)
{
    if (fmp_space_use(space) == 0) {
        return 0;
    }
    uint32_t id = fmp_participant_reserve(&space->region);
    if (id == 0) {
        fmp_space_sweep_dead(space);
        id = fmp_participant_reserve(&space->region);
    }
    if (id == 0) {
        fmp_py_raise(-EAGAIN, "too many processes use one fastmp region");
        return 0;
    }
    struct fmp_child child = {.reserved = reserved != 0 ? reserved : id, .space = space, .id = id};
    if (fmp_children_add(&child) != 0) {
        fmp_participant_unreserve(&space->region, id); /* nothing has been held for it */
        PyErr_NoMemory();
        return 0;
    }
    FMP_FAULT("newcomers:reserved");
    return id;
}

uint32_t
fmp_newcomer_reserve(void)
{
    struct fmp_space *space = fmp_space_default();
    return space != NULL ? reserve_in(space, 0) : 0;
}

/* -1 with ValueError set if no child to come has this identity. */
static int
check_reserved(uint32_t identity)
{
    if (fmp_children_reserved(identity, 0) == NULL) {
        PyErr_Format(PyExc_ValueError, "no child to come has the identity %u", (unsigned)identity);
        return -1;
    }
    return 0;
}

int
fmp_newcomer_started(uint32_t identity, pid_t pid)
{
    if (check_reserved(identity) < 0) {
        return -1;
    }
    if (pid <= 0) {
        PyErr_Format(PyExc_ValueError, "%d is no process", (int)pid);
        return -1;
    }
    uint64_t start = 0;
    (void)sys_process_start_time(pid, &start); /* 0 if it cannot be known: then the pid alone must do */
    struct fmp_child *child;
    while ((child = fmp_children_reserved(identity, 0)) != NULL) {
        fmp_participant_name_child(&child->space->region, child->id, pid, start);
        child->pid = pid;
        fmp_space_bury_orphans(child->space, false);
    }
    return 0;
}

int
fmp_newcomer_failed(uint32_t identity)
{
    struct fmp_child child;
    if (check_reserved(identity) < 0) {
        return -1;
    }
    while (fmp_children_take_reserved(identity, &child)) {
        (void)fmp_participant_mark_dead(&child.space->region, child.id);
        fmp_space_bury(child.space, child.id);
    }
    return 0;
}

int
fmp_newcomer_hold_for(uint32_t identity, uint32_t *previous)
{
    if (identity != 0 && check_reserved(identity) < 0) {
        return -1;
    }
    *previous = held_for;
    held_for = identity;
    return 0;
}

uint32_t
fmp_newcomer_held_for(void)
{
    return held_for;
}

static uint32_t
identity_in(struct fmp_space *space)
{
    struct fmp_child *child;
    for (unsigned i = 0; (child = fmp_children_reserved(held_for, i)) != NULL; i++) {
        if (child->space == space) {
            return child->id;
        }
    }
    return check_reserved(held_for) < 0 ? 0 : reserve_in(space, held_for);
}

uint32_t
fmp_newcomer_hold(const struct fmp_handle *h)
{
    uint32_t id = identity_in(h->space);
    if (id != 0) {
        fmp_heap_hold(h->space->heap, h->off, id);
        FMP_FAULT("newcomers:held");
    }
    return id;
}

void
fmp_newcomers_after_fork(void)
{
    held_for = 0;
}

/* ---- the child's side ---- */

/* The process has the region already, by fork of one that had it: what was held for the identity is its own now. 0 or
 * -errno. */
static int
take_over(struct fmp_space *space, uint32_t identity)
{
    uint32_t me = fmp_space_me(space);
    pid_t named = fmp_participant_pid(&space->region, identity);
    if (identity == me) {
        return 0;
    }
    if ((named != 0 && named != getpid()) || fmp_participant_has_ended(&space->region, identity)) {
        return -EOWNERDEAD;
    }
    fmp_heap_drop_all(space->heap, identity, me);
    fmp_participant_unreserve(&space->region, identity);
    space->was_awaited = true;
    return 0;
}

static void
raise_no_entry(int rc)
{
    fmp_py_raise(rc, rc == -EPROTO ? "this descriptor is not that of the shared memory that was announced"
                     : rc == -EOWNERDEAD
                         ? "this identity was given back: the process that has started this one has ended"
                         : NULL);
}

int
fmp_newcomer_enter(int fd, const unsigned char *token, uint32_t identity)
{
    struct fmp_space *space = fmp_space_of_token(token);
    if (identity == 0 || identity > FMP_ID_MASK || FMP_ID_GENERATION(identity) == 0) {
        PyErr_Format(PyExc_ValueError, "%u is no identity", (unsigned)identity);
        return -1;
    }
    if (space != NULL && fmp_space_use(space) == 0) {
        return -1;
    }
    int rc = space == NULL ? fmp_space_attach(&space, fd, token, identity) : take_over(space, identity);
    if (rc != 0) {
        raise_no_entry(rc);
        return -1;
    }
    fmp_space_set_default(space);
    return 0;
}

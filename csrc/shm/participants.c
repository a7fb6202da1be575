/* Participants; see participants.h. */
#include "shm/participants.h"

#include <unistd.h>

#include "base/fault.h"
#include "sys/memory.h"
#include "sys/process.h"

enum { FREE, RESERVED, LIVE, CLEAN, DEAD, KILLED };

#define HISTORY_BITS 52
#define HISTORY_MASK ((UINT64_C(1) << HISTORY_BITS) - 1)

static_assert(sizeof(struct fmp_participant_shm) == FMP_CACHELINE, "one line each");
static_assert(FMP_PARTICIPANTS_OFF + FMP_PARTICIPANTS_MAX * FMP_CACHELINE <= FMP_HEAP_OFF,
              "the table ends before the heap");

FMP_INLINE uint32_t
word_of(uint32_t generation, uint32_t state)
{
    return generation << 8 | state;
}

FMP_INLINE uint32_t
state_of(uint32_t word)
{
    return word & 0xff;
}

FMP_INLINE uint32_t
generation_of(uint32_t word)
{
    return word >> 8 & 0xfff;
}

static struct fmp_participant_shm *
slot_at(const struct fmp_region *r, uint32_t slot)
{
    return (struct fmp_participant_shm *)fmp_at(r, FMP_PARTICIPANTS_OFF) + slot;
}

static struct fmp_participant_shm *
slot_of(const struct fmp_region *r, uint32_t id)
{
    return slot_at(r, FMP_ID_SLOT(id));
}

/* Generation 0 is left out, so that no identity is 0. */
static uint32_t
next_generation(uint32_t generation)
{
    return generation == 0xfff ? 1 : generation + 1;
}

/* Writes down how the generation before `generation` ended. Only the reserver of the slot comes here. */
static void
record_history(struct fmp_participant_shm *p, uint32_t generation, bool killed)
{
    uint64_t bits = fmp_load_relaxed(&p->history) & HISTORY_MASK;
    bits = (bits << 1 | killed) & HISTORY_MASK;
    /* P1: release, so that who sees the new generation in `word` (P2) finds its history. Pairs with P3 in past_fate. */
    fmp_store_release(&p->history, (uint64_t)generation << HISTORY_BITS | bits);
}

static uint32_t
try_reserve(struct fmp_region *r, uint32_t slot)
{
    struct fmp_participant_shm *p = slot_at(r, slot);
    uint32_t word = fmp_load_relaxed(&p->word), state = state_of(word);
    if (state != FREE && state != CLEAN && state != KILLED) {
        return 0;
    }
    uint32_t generation = next_generation(generation_of(word));
    /* P2: acquire what the former user and its reclaimer wrote. Pairs with P4 (leave) and P5 (bury). */
    if (!fmp_cas_acq_rel(&p->word, &word, word_of(generation, RESERVED))) {
        return 0;
    }
    record_history(p, generation, state == KILLED);
    fmp_store_relaxed(&p->pid, 0);
    fmp_store_relaxed(&p->start, 0);
    fmp_store_relaxed(&p->reserver, r->me);
    return generation << 12 | slot;
}

uint32_t
fmp_participant_reserve(struct fmp_region *r)
{
    struct fmp_region_shm *h = fmp_region_header(r);
    for (uint32_t i = 0; i < FMP_PARTICIPANTS_MAX; i++) {
        /* relaxed: a hint where to look, nothing hangs on it */
        uint32_t slot = fmp_fetch_add_relaxed(&h->next_slot, 1) % FMP_PARTICIPANTS_MAX;
        uint64_t off = FMP_PARTICIPANTS_OFF + slot * sizeof(struct fmp_participant_shm);
        /* Always: who had this page's first slot may have failed here, or be slower than we are. */
        if (sys_reserve_pages(r->fd, off, sizeof(struct fmp_participant_shm)) != 0) {
            return 0;
        }
        uint32_t id = try_reserve(r, slot);
        if (id != 0) {
            return id;
        }
    }
    return 0;
}

/* 0 without /proc or descriptors: the pid alone must do; doubt means alive. */
static uint64_t
my_start_time(void)
{
    uint64_t start = 0;
    int rc = sys_process_start_time(getpid(), &start);
    return rc == 0 || rc == -ENOENT ? start : 0;
}

int
fmp_participant_adopt(struct fmp_region *r, uint32_t id)
{
    fmp_store_relaxed(&slot_of(r, id)->start, my_start_time()); /* relaxed: P6 publishes it */
    return fmp_participant_adopt_early(r, id);
}

void
fmp_participant_tell_start(struct fmp_region *r)
{
    if (r->me != 0) {
        /* relaxed: who does not see it yet goes by the pid */
        fmp_store_relaxed(&slot_of(r, r->me)->start, my_start_time());
    }
}

int
fmp_participant_adopt_early(struct fmp_region *r, uint32_t id)
{
    struct fmp_participant_shm *p = slot_of(r, id);
    fmp_store_relaxed(&p->pid, (uint32_t)getpid());
    uint32_t word = word_of(FMP_ID_GENERATION(id), RESERVED);
    /* P6: publish pid and start. Pairs with P7 in fate_of_live. */
    if (!fmp_cas_release(&p->word, &word, word_of(FMP_ID_GENERATION(id), LIVE))) {
        return -EOWNERDEAD; /* the reserver died and the slot was swept before we came to life */
    }
    r->me = id;
    return 0;
}

void
fmp_participant_unreserve(struct fmp_region *r, uint32_t id)
{
    uint32_t word = word_of(FMP_ID_GENERATION(id), RESERVED);
    fmp_cas_release(&slot_of(r, id)->word, &word, word_of(FMP_ID_GENERATION(id), CLEAN)); /* P4 */
}

int
fmp_participant_join(struct fmp_region *r)
{
    uint32_t id = fmp_participant_reserve(r);
    return id != 0 ? fmp_participant_adopt(r, id) : -EAGAIN;
}

void
fmp_participant_leave(struct fmp_region *r)
{
    if (r->me == 0) {
        return;
    }
    /* P4: release all that this process did before the slot is given out again. Pairs with P2 in try_reserve. */
    fmp_store_release(&slot_of(r, r->me)->word, word_of(FMP_ID_GENERATION(r->me), CLEAN));
    r->me = 0;
}

void
fmp_participant_name_child(struct fmp_region *r, uint32_t id, pid_t pid, uint64_t start)
{
    struct fmp_participant_shm *p = slot_of(r, id);
    uint64_t unknown = 0;
    uint32_t none = 0;
    if (generation_of(fmp_load_relaxed(&p->word)) == FMP_ID_GENERATION(id)) {
        /* relaxed, both: the kernel is asked about whatever is read, and the child writes the same */
        fmp_cas_relaxed(&p->start, &unknown, start);
        fmp_cas_relaxed(&p->pid, &none, (uint32_t)pid);
    }
}

/* How did `generation` end, which is not the slot's present one? Too long ago to know counts as killed: nobody waits
 * for ever. */
static enum fmp_fate
past_fate(struct fmp_participant_shm *p, uint32_t generation)
{
    uint64_t history = fmp_load_acquire(&p->history); /* P3: pairs with P1 */
    uint32_t newest = (uint32_t)(history >> HISTORY_BITS);
    uint32_t age = (newest - generation - (newest < generation)) & 0xfff; /* generation 0 is left out */
    if (age == 0 || age > HISTORY_BITS) {
        return FMP_KILLED;
    }
    return history >> (age - 1) & 1 ? FMP_KILLED : FMP_CLEAN;
}

/* Does the process behind `pid` run, and is it the one that started at `start`? */
static bool
kernel_says_gone(pid_t pid, uint64_t start)
{
    int pidfd = sys_pidfd_open(pid);
    if (pidfd < 0) {
        return pidfd == -ESRCH;
    }
    int ended = sys_pidfd_ended(pidfd);
    uint64_t now_start;
    if (ended == 0 && start != 0 && sys_process_start_time(pid, &now_start) == 0) {
        ended = now_start != start; /* the pid belongs to somebody else by now */
    }
    close(pidfd);
    return ended == 1;
}

static bool
reserver_is_gone(struct fmp_region *r, struct fmp_participant_shm *p, uint32_t id)
{
    uint32_t reserver = fmp_load_relaxed(&p->reserver);
    return reserver != 0 && reserver != id && fmp_participant_fate(r, reserver) != FMP_ALIVE;
}

static enum fmp_fate
fate_of_live(struct fmp_region *r, struct fmp_participant_shm *p, uint32_t id)
{
    pid_t pid = (pid_t)fmp_load_relaxed(&p->pid);
    if (pid == 0) {
        return reserver_is_gone(r, p, id) ? FMP_KILLED : FMP_ALIVE;
    }
    return kernel_says_gone(pid, fmp_load_relaxed(&p->start)) ? FMP_KILLED : FMP_ALIVE;
}

enum fmp_fate
fmp_participant_fate(struct fmp_region *r, uint32_t id)
{
    if (id == 0 || id == r->me) {
        return FMP_ALIVE;
    }
    struct fmp_participant_shm *p = slot_of(r, id);
    uint32_t word = fmp_load_acquire(&p->word); /* P7: pairs with P6 */
    if (generation_of(word) != FMP_ID_GENERATION(id)) {
        return past_fate(p, FMP_ID_GENERATION(id));
    }
    enum fmp_fate fate = FMP_ALIVE;
    switch (state_of(word)) {
    case CLEAN:
        return FMP_CLEAN;
    case DEAD:
    case KILLED:
        return FMP_KILLED;
    case LIVE:
    case RESERVED:
        fate = fate_of_live(r, p, id);
    }
    if (fate == FMP_KILLED) {
        /* It may have left in order, or been swept, while we asked. */
        word = fmp_load_acquire(&p->word); /* P7 */
        if (generation_of(word) != FMP_ID_GENERATION(id)) {
            return past_fate(p, FMP_ID_GENERATION(id));
        }
        return state_of(word) == CLEAN ? FMP_CLEAN : FMP_KILLED;
    }
    return fate;
}

bool
fmp_participant_has_ended(struct fmp_region *r, uint32_t id)
{
    uint32_t word = fmp_load_acquire(&slot_of(r, id)->word); /* P7: pairs with P6; also with P4 and P5 */
    uint32_t state = state_of(word);
    return generation_of(word) != FMP_ID_GENERATION(id) || state == CLEAN || state == KILLED;
}

pid_t
fmp_participant_pid(struct fmp_region *r, uint32_t id)
{
    struct fmp_participant_shm *p = slot_of(r, id);
    bool same = generation_of(fmp_load_acquire(&p->word)) == FMP_ID_GENERATION(id); /* P7 */
    return same ? (pid_t)fmp_load_relaxed(&p->pid) : 0;
}

bool
fmp_participant_mark_dead(struct fmp_region *r, uint32_t id)
{
    struct fmp_participant_shm *p = slot_of(r, id);
    uint32_t word = fmp_load_relaxed(&p->word);
    while (generation_of(word) == FMP_ID_GENERATION(id) && (state_of(word) == LIVE || state_of(word) == RESERVED)) {
        if (fmp_cas_acq_rel(&p->word, &word, word_of(FMP_ID_GENERATION(id), DEAD))) { /* P8: pairs with itself and P5 */
            return true;
        }
    }
    return word == word_of(FMP_ID_GENERATION(id), DEAD);
}

void
fmp_participant_bury(struct fmp_region *r, uint32_t id)
{
    uint32_t word = word_of(FMP_ID_GENERATION(id), DEAD);
    FMP_FAULT("participants:bury");
    /* P5: release what the reclaimer gave back. Pairs with P2 in try_reserve. */
    fmp_cas_release(&slot_of(r, id)->word, &word, word_of(FMP_ID_GENERATION(id), KILLED));
}

/* Slots from this number on were never reserved: their pages need not exist. */
static uint32_t
slots_in_use(struct fmp_region *r)
{
    uint32_t next = fmp_load_relaxed(&fmp_region_header(r)->next_slot); /* relaxed: who is in a slot says its word */
    return next < FMP_PARTICIPANTS_MAX ? next : FMP_PARTICIPANTS_MAX;
}

uint32_t
fmp_participant_in_slot(struct fmp_region *r, uint32_t slot)
{
    if (slot >= slots_in_use(r)) {
        return 0;
    }
    uint32_t word = fmp_load_relaxed(&slot_at(r, slot)->word), state = state_of(word);
    return state == LIVE || state == RESERVED || state == DEAD ? generation_of(word) << 12 | slot : 0;
}

uint32_t
fmp_participant_orphan_in_slot(struct fmp_region *r, uint32_t slot)
{
    uint32_t id = fmp_participant_in_slot(r, slot);
    /* relaxed: should the slot change hands meanwhile, a vain question is asked about its new user */
    uint32_t reserver = id != 0 ? fmp_load_relaxed(&slot_at(r, slot)->reserver) : 0;
    return id != 0 && (reserver == 0 || fmp_participant_has_ended(r, reserver)) ? id : 0;
}

uint32_t
fmp_participant_dead_in_slot(struct fmp_region *r, uint32_t slot)
{
    if (slot >= slots_in_use(r)) {
        return 0;
    }
    uint32_t word = fmp_load_acquire(&slot_at(r, slot)->word); /* P8: pairs with mark_dead */
    return state_of(word) == DEAD ? generation_of(word) << 12 | slot : 0;
}

/*
 * The doorbell; see bell.h.
 *
 * Order table
 *   B1  sender   fence seq_cst (E1 of fmp_ec_notify) between its publication and its look at the word, with B2
 *   B2  hush     fence seq_cst between RUNG -> TAKING and its look at the ring, with B1
 *   B4  sender   fence seq_cst between -> RINGING and its look at the ring, with B5
 *   B5  reader   fence seq_cst (E1 of fmp_ec_notify) between its pop and a hush, with B4: if the sender still sees its
 *                message, the hush sees RINGING, and waits for the byte
 *   B7  renew    fence seq_cst between the new generation's QUIET and its look at the ring, with B1
 *   B6  sender   fence seq_cst between RINGING -> QUIET and another look at the ring, with B1
 *   B3  all      CAS acq_rel on the word: whoever sees a state sees the byte that goes with it, with B3
 */
#include "sync/bell.h"

#include <sched.h>

#include "base/fault.h"
#include "sys/io.h"

enum state { RUNG = 0, TAKING = 1, QUIET = 2, RINGING = 3 };

/* Looks at a bell that a living process is about to change, each with a yield: he needs one system call. Then the byte
 * may stay, as after a kill. */
#define HUSH_LOOKS 200u

static enum state
state_of(uint64_t word)
{
    return (enum state)((word >> 24) & 3);
}

static uint32_t
generation_of(uint64_t word)
{
    return (uint32_t)(word >> 26) % FMP_BELL_GENERATIONS;
}

/* The bell has another descriptor than ours. */
static bool
is_stale(const struct fmp_bell *bell, uint64_t word)
{
    return FMP_UNLIKELY(generation_of(word) != bell->generation);
}

static uint32_t
owner_of(uint64_t word)
{
    return (uint32_t)(word & FMP_ID_MASK);
}

/* The word after `word`, in this process's name. */
static uint64_t
next_word(const struct fmp_bell *bell, uint64_t word, enum state state)
{
    uint64_t version = (word >> 32) + 1;
    return version << 32 | (uint64_t)bell->generation << 26 | (uint64_t)state << 24 | (bell->region->me & FMP_ID_MASK);
}

/* Moves the bell from exactly *word to `state`; *word is the word it has then. */
static bool
move(const struct fmp_bell *bell, uint64_t *word, enum state state)
{
    uint64_t next = next_word(bell, *word, state);
    if (!fmp_cas_acq_rel(&bell->shm->word, word, next)) { /* B3 */
        return false;
    }
    *word = next;
    return true;
}

static bool
owner_is_dead(const struct fmp_bell *bell, uint64_t word)
{
    return owner_of(word) != bell->region->me && fmp_participant_fate(bell->region, owner_of(word)) != FMP_ALIVE;
}

static bool
is_readable(const struct fmp_bell *bell)
{
    struct pollfd p = {.fd = bell->fd, .events = POLLIN};
    return sys_poll_until(&p, 1, 0) > 0 && (p.revents & POLLIN) != 0;
}

/* Takes a byte if there is one; a hung-up descriptor has none, and nobody misses it. */
static void
take_byte(const struct fmp_bell *bell)
{
    if (bell->is_socket || is_readable(bell)) {
        (void)sys_take_byte(bell->fd, bell->is_socket);
    }
}

/* ---- the sender ---- */

/* Makes the bell RINGING in our name, as *word: 1; 0 if a byte is there already, or on its way; -ESTALE. */
static int
begin_ringing(const struct fmp_bell *bell, uint64_t *word)
{
    *word = fmp_load_acquire(&bell->shm->word); /* B3 */
    do {
        if (state_of(*word) == RUNG || (state_of(*word) == RINGING && !owner_is_dead(bell, *word))) {
            return 0;
        }
        if (is_stale(bell, *word)) {
            return -ESTALE;
        }
    } while (!move(bell, word, RINGING));
    return 1;
}

int
fmp_bell_ring_slow(const struct fmp_bell *bell, fmp_ec_ready_fn pending, void *ctx)
{
    uint64_t word;
    do {
        int begun = begin_ringing(bell, &word);
        if (begun <= 0) {
            return begun;
        }
        FMP_FAULT("bell:ringing");
        fmp_fence_seq_cst(); /* B4: RINGING before the look at the ring. Pairs with B5. */
        if (pending(ctx)) {
            int rc = sys_put_byte(bell->fd, bell->is_socket);
            FMP_FAULT("bell:put");
            (void)move(bell, &word, RUNG);
            return rc == -EAGAIN ? 0 : rc; /* no room: it is readable already, by something that is not ours */
        }
        (void)move(bell, &word, QUIET); /* our message has been taken already: do not ring for nothing */
        fmp_fence_seq_cst();            /* B6: QUIET before another look. Pairs with B1. */
    } while (pending(ctx));             /* another sender may have seen RINGING, and relied on us */
    return 0;
}

/* ---- the reader ---- */

/*
 * The bell is TAKING in our name, as `word`. `certain`: a byte of ours is in the descriptor, which nobody else will
 * take. True if a message is pending.
 */
static bool
finish_taking(const struct fmp_bell *bell, uint64_t word, bool certain, fmp_ec_ready_fn pending, void *ctx)
{
    fmp_fence_seq_cst(); /* B2: not RUNG before the look at the ring. Pairs with B1. */
    FMP_FAULT("bell:taking");
    if (pending(ctx)) {
        if (!move(bell, &word, certain ? RUNG : QUIET) && certain) {
            take_byte(bell); /* a sender has put in another one meanwhile */
        }
        return true;
    }
    if (certain) {
        take_byte(bell);
    }
    FMP_FAULT("bell:taken");
    (void)move(bell, &word, QUIET); /* if it fails: a sender has taken over, and has put a byte in of his own */
    return false;
}

/* The bell is TAKING in our name after somebody died over it. Is his byte in the descriptor? Yes, if it is readable
 * while the bell is still ours: nobody else has put one in. */
static bool
has_orphaned_byte(const struct fmp_bell *bell, uint64_t word)
{
    return is_readable(bell) && fmp_load_acquire(&bell->shm->word) == word; /* B3 */
}

/* How a hush goes on. */
enum turn { DONE, AGAIN, OURS, OURS_FOR_CERTAIN };

/* One look of a hush. OURS: the bell is TAKING in our name, as *word. */
static enum turn
look(const struct fmp_bell *bell, uint64_t *word, bool is_pending)
{
    *word = fmp_load_acquire(&bell->shm->word); /* B3 */
    enum state state = state_of(*word);
    if (state == QUIET || is_stale(bell, *word) || (is_pending && state != TAKING)) {
        return DONE; /* if a message is there: the byte is, too, or on its way */
    }
    if (state == RUNG) {
        return move(bell, word, TAKING) ? OURS_FOR_CERTAIN : AGAIN;
    }
    /* The ringer is often overtaken here: his byte has woken us, and he has not come to say RUNG. */
    if (state == RINGING && is_readable(bell)) {
        return move(bell, word, TAKING) ? OURS_FOR_CERTAIN : AGAIN;
    }
    if (owner_is_dead(bell, *word)) {
        return move(bell, word, TAKING) ? OURS : AGAIN;
    }
    return state == TAKING ? DONE : AGAIN; /* another reader is about to take it; a ringer will put it in */
}

bool
fmp_bell_hush(const struct fmp_bell *bell, fmp_ec_ready_fn pending, void *ctx)
{
    uint64_t word;
    for (unsigned i = 0; i < HUSH_LOOKS; i++) {
        enum turn turn = look(bell, &word, pending(ctx));
        if (turn == DONE) {
            break;
        }
        if (turn == AGAIN) {
            sched_yield();
            continue;
        }
        bool certain = turn == OURS_FOR_CERTAIN || has_orphaned_byte(bell, word);
        if (!finish_taking(bell, word, certain, pending, ctx)) {
            break;
        }
        /* Once more: a message seen while TAKING may have been taken by another reader since. */
    }
    return pending(ctx);
}

static bool
nothing_pending(void *ctx)
{
    (void)ctx;
    return false;
}

void
fmp_bell_heal(const struct fmp_bell *bell)
{
    uint64_t word = fmp_load_acquire(&bell->shm->word); /* B3 */
    /* QUIET before we saw the descriptor readable, and still the same QUIET: the byte belongs to nobody. */
    if (state_of(word) == QUIET && !is_stale(bell, word) && is_readable(bell) && move(bell, &word, TAKING)) {
        (void)finish_taking(bell, word, true, nothing_pending, NULL);
    }
}

/* Is the word of a generation before ours? */
static bool
is_behind(const struct fmp_bell *bell, uint64_t word)
{
    uint32_t ahead = (bell->generation - generation_of(word)) % FMP_BELL_GENERATIONS;
    return ahead != 0 && ahead < FMP_BELL_GENERATIONS / 2;
}

int
fmp_bell_renew(const struct fmp_bell *bell, fmp_ec_ready_fn pending, void *ctx)
{
    uint64_t word = fmp_load_acquire(&bell->shm->word); /* B3 */
    while (is_behind(bell, word) && !move(bell, &word, QUIET)) {
    }
    if (is_stale(bell, word)) {
        return -ESTALE;
    }
    FMP_FAULT("bell:renewed");
    fmp_fence_seq_cst(); /* B7: the new descriptor, and who has it, before the look at the ring. Pairs with B1. */
    return pending(ctx) ? fmp_bell_ring(bell, pending, ctx) : 0;
}

void
fmp_bell_remove(const struct fmp_bell *bell)
{
    for (;;) {
        uint64_t word = fmp_load_acquire(&bell->shm->word); /* B3 */
        if (state_of(word) == RUNG && move(bell, &word, TAKING)) {
            (void)finish_taking(bell, word, true, nothing_pending, NULL);
        } else if (state_of(word) != TAKING || owner_is_dead(bell, word)) {
            return;
        } else {
            sched_yield(); /* another reader of this end is about to take it: one system call of his */
        }
    }
}

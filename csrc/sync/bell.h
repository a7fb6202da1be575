/*
 * The doorbell: makes a descriptor readable while a ring holds messages, for those who sleep in poll(2) or look at the
 * descriptor from outside (select, asyncio). Called by: conn/, py/queue*. Knows nothing of Python; none of it blocks.
 *
 * The ringing side can put a byte into the descriptor, the hearing side can only take one out. So the hearing side
 * keeps a byte in it (RUNG, the state of a new bell) as long as nobody looks at the descriptor: a message then costs
 * its sender one load. Whoever wants to sleep, or has given the descriptor away, hushes the bell: takes the byte out,
 * if there is no message. The next sender finds a bell that is not RUNG and puts a byte in.
 *
 * One word {version:32 | generation:6 | state:2 | owner:24}, changed only by CAS, each change with a new version:
 *   RUNG     a byte is in the descriptor
 *   TAKING   `owner` hushes: he looks once more for messages, then takes one byte out, or leaves it in
 *   QUIET    no byte is in the descriptor
 *   RINGING  `owner` looks whether there is a message, then puts a byte in
 *
 *   RUNG --hush--> TAKING --no message: take a byte--> QUIET --ring--> RINGING --put a byte--> RUNG
 *                  TAKING --a message: leave the byte--> RUNG
 *                  TAKING --ring: a second byte, the hushing side takes one of the two--> RINGING
 *
 * Why nobody sleeps beside a message: a sender publishes, then looks at the bell (fence B1 between); a hushing reader
 * leaves RUNG, then looks at the ring (fence B2 between). So either the sender sees a bell that is not RUNG, and rings,
 * or the reader sees the message, and leaves the byte where it is.
 * Why the descriptor of a reader who hushes after each message is readable only beside one: a sender that has made the
 * bell RINGING looks at the ring (fence B4 between) and rings only if a message is there; a reader takes the message,
 * then looks at the bell (fence B5 between). So either the sender sees that there is no message any more, or the
 * hushing reader sees RINGING, waits for the byte and takes it. Bytes that were put in and not yet taken out: one while
 * RUNG, none while QUIET, but for those that a reader in TAKING or a sender in RINGING is about to move. Modelled in
 * tests/model/bell.pml.
 *
 * Another descriptor: if no process can be asked for the descriptor any more, a reader makes a new one, the next
 * generation. Who moves the word has a descriptor of the generation that it names; `renew` moves it to QUIET in the new
 * one, then looks at the ring. So a sender that was about to put a byte into the old descriptor has published before,
 * and its message is seen; one that comes later finds the generation changed.
 *
 * Kills: the owner of TAKING or RINGING may be dead; whoever meets him takes his place. It is not known then whether
 * the byte is there, so a byte too many may stay: a sleeper wakes in vain and takes it out (`heal`). A byte is never
 * missing while the word says RUNG.
 */
#ifndef FMP_SYNC_BELL_H
#define FMP_SYNC_BELL_H

#include "shm/participants.h"
#include "sync/eventcount.h"

struct fmp_bell_shm {
    _Atomic uint64_t word; /* 0 is RUNG: put a byte in (sys_put_byte) when you make one */
};

/* One side's handle: the descriptor is the side's own end of the socket pair or pipe. */
struct fmp_bell {
    struct fmp_bell_shm *shm;
    struct fmp_region *region;
    int fd;
    bool is_socket;
    uint32_t generation; /* of the descriptor, below FMP_BELL_GENERATIONS; 0 where there is only one */
};

#define FMP_BELL_GENERATIONS 64u
#define FMP_BELL_IS_RUNG(word) (((word) & (UINT64_C(3) << 24)) == 0)

/* Sender: a message has just been published by fmp_ring_end_push. `pending` tells whether one is there to be read. 0,
 * -ESTALE if the bell has another descriptor by now, or -errno of the descriptor (-EPIPE: nobody hears any more). */
int fmp_bell_ring_slow(const struct fmp_bell *bell, fmp_ec_ready_fn pending, void *ctx);
FMP_INLINE int
fmp_bell_ring(const struct fmp_bell *bell, fmp_ec_ready_fn pending, void *ctx)
{
    /* Relaxed: the fence B1, which is E1 in fmp_ring_end_push's fmp_ec_notify, orders it behind the publication. */
    uint64_t word = fmp_load_relaxed(&bell->shm->word);
    return FMP_LIKELY(FMP_BELL_IS_RUNG(word)) ? 0 : fmp_bell_ring_slow(bell, pending, ctx);
}

/* Reader: if `pending(ctx)` is false, the descriptor is made unreadable until the next message; returns the last answer
 * of `pending`. */
bool fmp_bell_hush(const struct fmp_bell *bell, fmp_ec_ready_fn pending, void *ctx);
/* Takes out a byte that a killed process left too many, if there is one: for a reader that was woken in vain. */
void fmp_bell_heal(const struct fmp_bell *bell);
/* The bell has a new descriptor, which is empty: `bell`'s, of the generation after those there were. 0, also if
 * somebody was faster, -ESTALE if it is old already, or -errno of the descriptor. */
int fmp_bell_renew(const struct fmp_bell *bell, fmp_ec_ready_fn pending, void *ctx);
/* Takes the first byte of a bell that is not used at all: the descriptor is to carry another protocol. */
void fmp_bell_remove(const struct fmp_bell *bell);

#endif

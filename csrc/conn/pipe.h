/*
 * A pipe: a ring for each direction, and a kernel pair as its lifeline. Called by: py/connection.c.
 *
 * Messages go through the rings. The kernel's socket pair (one direction: its pipe) carries none: it tells when the
 * last copy of an end is closed, in whichever process and however it ended, and it is what a sleeping reader polls
 * (bell.h).
 *
 *   sender: push -> bell (one load while it is RUNG)        reader: pop; or spin, hush the bell, poll(2), pop
 *
 * A new pipe is UNDECIDED. The first message makes it a pipe of rings; but if its descriptor is asked for before that,
 * it becomes STANDARD for good: the kernel pair then carries the standard library's own protocol, so that a descriptor
 * given to another program works. A pipe of rings whose descriptor is asked for later is `watched`: the descriptor is
 * readable exactly while messages are there.
 *
 * A pipe blocks its sender when as many messages are under way as its limit says, or when so many of the size of the
 * one to be sent would exceed FMP_PIPE_BYTES. (With messages of one size, that is the bound on the bytes under way; a
 * series of ever smaller ones can reach 8 times as much.) Who sends a message above FMP_PIPE_BYTES waits until it is
 * being read, as with the kernel's pipe.
 *
 * All functions need the GIL; those that wait give it up meanwhile.
 */
#ifndef FMP_CONN_PIPE_H
#define FMP_CONN_PIPE_H

#include "sync/bell.h"
#include "conn/message.h"

/* Messages: more than the kernel's socket pair takes (278 small ones), and a good part of what its pipe does. */
#define FMP_PIPE_LIMIT_DUPLEX (512u - FMP_RING_SPARE_CELLS)
#define FMP_PIPE_LIMIT_ONE_WAY (1024u - FMP_RING_SPARE_CELLS)
#define FMP_PIPE_BYTES (UINT64_C(16) << 20)

/* What lies behind the ring of one direction. Seldom written, so it stays in the cache of whoever sends. */
struct fmp_pipe_shm {
    FMP_ALIGNED struct fmp_bell_shm bell;
    _Atomic uint32_t reader_closes; /* how many copies of the reading end have been closed in order */
    _Atomic uint32_t watched;       /* the reading descriptor has been given away */
    _Atomic uint32_t mode;          /* of the whole pipe; that of its first direction counts */
};

/* This process's share of a pipe; its two ends share one, as a process holds a block once. */
struct fmp_pipe;

/* One direction, as one process sees it. */
struct fmp_pipe_way {
    struct fmp_handle block;
    struct fmp_channel channel;
    struct fmp_pipe_shm *shm;
};

struct fmp_pipe_end {
    struct fmp_pipe *pipe;         /* NULL: closed, or not an end of ours */
    struct fmp_pipe_way *in, *out; /* NULL if this end does not read, or write */
    struct fmp_space *space;       /* where its messages lie; also once it is closed */
    _Atomic uint32_t *mode;
    _Atomic int fd; /* -1 once closed: a thread that waits without the GIL looks */
    bool is_socket;
    bool is_decided;              /* this process knows that it is a pipe of rings */
    uint32_t closes_seen;         /* of the peer, when the kernel was last asked */
    uint64_t peer_lives_until_ns; /* until then its last answer is believed */
    struct fmp_spin recv_spin, send_spin;
};

/* Results beside FMP_PY_READY, _TIMEOUT and _ERROR. */
enum { FMP_PIPE_EOF = 2, FMP_PIPE_STANDARD = 3 };

/* Makes a pipe: both ends read and write if `duplex`, otherwise a reads and b writes. 0, or -1 with OSError set. */
int fmp_pipe_new(struct fmp_pipe_end *a, struct fmp_pipe_end *b, bool duplex);
/* On the way to another process: the travel records of its directions, as a tuple; None if it cannot travel now; NULL
 * with an exception set. */
PyObject *fmp_pipe_end_travel(const struct fmp_pipe_end *end);
/* Is it the first end that fmp_pipe_new made? */
bool fmp_pipe_end_is_first(const struct fmp_pipe_end *end);
/* An end out of its records and its descriptor, which is the end's from then on. 0, or -1 with an exception set. */
int fmp_pipe_end_arrive(struct fmp_pipe_end *end, PyObject *records, bool is_first, int fd);
/* Closes this process's copy of the end. A closed end is fine. */
void fmp_pipe_end_close(struct fmp_pipe_end *end);
/* The same, but the descriptor stays open, as the caller's. */
void fmp_pipe_end_detach(struct fmp_pipe_end *end);

/* From before a function that may wait until after it, so that a close() by another thread cannot take the memory away.
 */
void fmp_pipe_hold(struct fmp_pipe *pipe);
void fmp_pipe_drop(struct fmp_pipe *pipe);

/* Is it a pipe of rings? The first call decides, if nobody has asked for the descriptor: true. False: STANDARD, and
 * this end has been made ready for the standard protocol. */
bool fmp_pipe_end_decide(struct fmp_pipe_end *end);
/* The descriptor is being given away. True if the pipe is (or becomes) STANDARD, false if it is a pipe of rings,
 * watched from now on. */
bool fmp_pipe_end_watch(struct fmp_pipe_end *end);
/* If nothing is to be read, makes the descriptor unreadable until there is. True if something is, or if only the
 * descriptor can tell (STANDARD). */
bool fmp_pipe_end_arm(struct fmp_pipe_end *end);

/* Sends what `w` holds, or the prepared message `m`, waiting for room. FMP_PY_READY, or FMP_PY_ERROR with an exception
 * set (BrokenPipeError if the peer is gone); then `w` and `m` stay the caller's. The end must have been decided. */
int fmp_pipe_send(struct fmp_pipe_end *end, uint32_t tag, struct fmp_wire_writer *w);
int fmp_pipe_send_message(struct fmp_pipe_end *end, const struct fmp_message *m);
/* Takes the next message, waiting for it: FMP_PY_READY, FMP_PIPE_EOF, FMP_PIPE_STANDARD, FMP_PY_ERROR. */
int fmp_pipe_recv(struct fmp_pipe_end *end, struct fmp_message *m);
/* Waits for a message: FMP_PY_READY, FMP_PY_TIMEOUT, FMP_PIPE_EOF, FMP_PIPE_STANDARD, FMP_PY_ERROR. */
int fmp_pipe_poll(struct fmp_pipe_end *end, uint64_t deadline_ns);

#endif

/*
 * What the three files of the pipe share. Called by: pipe.c, pipe_send.c, pipe_recv.c.
 *
 * Order table
 *   P1  close   fetch_add acq_rel on reader_closes, after close(2), with P2: who sees the count finds it closed
 *   P2  send    load acquire of reader_closes, with P1
 *   P3  watch   store seq_cst of `watched` and a fence, then the look at the ring (hush), with P4
 *   P4  recv    load of `watched`, after the fence E1 in fmp_ring_end_pop, with P3: one of the two hushes
 *   P5  decide  CAS acq_rel and loads acquire of `mode`, with P5
 */
#ifndef FMP_CONN_PIPE_INTERNAL_H
#define FMP_CONN_PIPE_INTERNAL_H

#include "conn/pipe.h"

enum fmp_pipe_mode { FMP_PIPE_IS_UNDECIDED = 0, FMP_PIPE_IS_RINGS = 1, FMP_PIPE_IS_STANDARD = 2 };

FMP_INLINE struct fmp_ring *
fmp_pipe_ring(struct fmp_pipe_way *way)
{
    return &way->channel.ring;
}

FMP_INLINE struct fmp_bell
fmp_pipe_bell(const struct fmp_pipe_end *end, struct fmp_pipe_way *way)
{
    return (struct fmp_bell){
        .shm = &way->shm->bell,
        .region = fmp_pipe_ring(way)->region,
        .fd = fmp_load_relaxed(&end->fd), /* relaxed: -1 is found out by the system call */
        .is_socket = end->is_socket,
    };
}

/* Takes out a byte too many; but while it is not known whose the bytes are, none is touched. */
void fmp_pipe_heal(struct fmp_pipe_end *end, const struct fmp_bell *bell);
/* The kernel pair carries the standard protocol from now on: our bell's byte goes out, and the end is no longer ours.
 */
void fmp_pipe_become_standard(struct fmp_pipe_end *end);

#endif

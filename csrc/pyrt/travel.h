/*
 * Handles on their way to another process: what a pickle says about a block, and the way back to a handle. Called by:
 * py/ (through fmp_travel_pack and fmp_travel_unpack), conn/pipe.c.
 *
 * A travel record names the region by its token, and the block by its offset and life. That the block is still there
 * when the record arrives is somebody's care:
 *
 * - of the sender, who pickles for a child to come and has made it a holder (pyrt/newcomers.h);
 * - of a parcel, in the message that the sender is pickling, or lent by it (heap/parcels.h, pyrt/carrier.h).
 *
 * Whoever has not the region opens it through the sender's descriptor, /proc/PID/fd/N, and keeps it for good. Nothing
 * in a record is believed: an offset, life, kind or size that do not go together are an error, never a memory fault.
 */
#ifndef FMP_PYRT_TRAVEL_H
#define FMP_PYRT_TRAVEL_H

#include "pyrt/runtime.h"

struct fmp_travel {
    unsigned char token[FMP_TOKEN_BYTES];
    fmp_off off;
    uint64_t life;
    int32_t pid, fd;   /* of the sender: where the region can be had */
    uint32_t identity; /* that the sender has reserved for the receiver in this region, and has made a holder */
    uint32_t unused;
    fmp_off parcel; /* or 0: held for `identity` */
    uint64_t ticket;
};

/* 0, or -1 with an exception set. */
int fmp_travel_out(struct fmp_handle *h, struct fmp_travel *t);
/* A new handle on the block, which must be of `kind` and have `bytes` usable. 0; -1 with FileNotFoundError (the object
 * is gone, or was never sent to this process), ConnectionRefusedError (its memory cannot be had) or another OSError. */
int fmp_travel_in(struct fmp_handle *h, const struct fmp_travel *t, enum fmp_block_kind kind, uint64_t bytes);

/* The same in Python's terms: a bytes object, or NULL. */
PyObject *fmp_travel_pack(struct fmp_handle *h);
/* -1 also with TypeError or ValueError: it is no travel record. */
int fmp_travel_unpack(struct fmp_handle *h, PyObject *record, enum fmp_block_kind kind, uint64_t bytes);

#endif

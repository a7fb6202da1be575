/*
 * The message that a thread is pickling, and the parcels (heap/parcels.h) that were made for it. Called by:
 * pyrt/travel.c, which makes them deep inside of a pickle, and wire/, which pickles.
 *
 * While a carrier is entered, each parcel that this thread makes is written down there, and goes with the message. A
 * pickle without a carrier (pickle.dumps, a connection on a descriptor) goes by bytes: its parcels are loans. All
 * functions need the GIL.
 */
#ifndef FMP_PYRT_CARRIER_H
#define FMP_PYRT_CARRIER_H

#include "pyrt/runtime.h"

struct fmp_carried {
    struct fmp_space *space;
    fmp_off parcel;
};

/* All zero is an empty one. */
struct fmp_carrier {
    struct fmp_carried *list;
    size_t count, room;
};

/* From now on this thread pickles for `carrier` (NULL: by bytes); what it did so far, for the way back. */
struct fmp_carrier *fmp_carrier_enter(struct fmp_carrier *carrier);
/* Makes a parcel for a SHARED block that this process holds: 0, or -1 with an exception set. */
int fmp_carrier_pack(struct fmp_space *space, fmp_off target, fmp_off *parcel, uint64_t *ticket);
/* How many parcels the message has that this thread is pickling; 0 if it pickles by bytes. */
size_t fmp_carrier_count(void);
/* The message is to go through `space`. Parcels of other spaces cannot go with it: they become loans. How many go. */
size_t fmp_carrier_settle(struct fmp_carrier *carrier, const struct fmp_space *space);
/* The parcels are somebody else's now: the message's, or those of whoever takes them as loans. */
void fmp_carrier_forget(struct fmp_carrier *carrier);
/* The message will not be: its parcels end. */
void fmp_carrier_drop(struct fmp_carrier *carrier);
/* Also gives the list's memory back. */
void fmp_carrier_close(struct fmp_carrier *carrier);

#endif

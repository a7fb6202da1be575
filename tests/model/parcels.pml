/*
 * References in messages: a SHARED block that is named by parcels, csrc/heap/parcels.h, whose head comment is the text that this file checks.
 * Stands for: csrc/heap/parcels.c: fmp_parcel_make fmp_parcel_open fmp_parcel_end fmp_parcels_name; csrc/heap/holders.c: fmp_holders_join fmp_holders_settle
 *
 * Process 0 is the first holder. A process that holds the block makes parcels that name it, and sends them or leaves them lying (a loan).
 * Anybody takes a parcel that is in transit, or a loan of somebody else, and opens it (and is a holder then) or not (the message is lost, or its
 * decoding fails), and frees it. Everybody drops in the end, and frees his parcels. Before every step a process may be killed, at
 * most CRASHES times. Bitmap and parcels are scanned one after the other. Reclaimers (one at a time: the next one comes when the one before is dead)
 * free the parcels of the dead, clear their bits and bury them; when nobody is left to receive, they free what is in transit.
 *
 * Shown: the block is never freed while a living process holds it or has a parcel that names it, and never twice; when all is quiet, it is free.
 */
#ifndef NPROC
#define NPROC 2
#endif
#ifndef PARCELS
#define PARCELS 2
#endif
#ifndef SENDS
#define SENDS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef RECLAIMERS
#define RECLAIMERS 1
#endif

#define FREE 100
#define TRANSIT 101
#define LOAN(p) (50 + (p)) /* as its owner has left it; otherwise the owner's number */
#define TAKEABLE(i) (state_of[(i) % PARCELS] == TRANSIT || (state_of[(i) % PARCELS] >= LOAN(0) && state_of[(i) % PARCELS] < FREE))
#define RECLAIMER(i) (NPROC + (i))

bool shared = true;
byte version;
bool bit_of[NPROC];
byte made, returned;

byte state_of[PARCELS] = FREE;
bool names[PARCELS]; /* the parcel's target is the block */

byte sends;
bool dead[NPROC + RECLAIMERS], buried[NPROC + RECLAIMERS];
byte ended, crashes;

bool holds[NPROC]; /* ghost: it may use the block */
bool counts[PARCELS]; /* ghost: the parcel must keep the block alive */

#define IN_USE(p) ((p) < NPROC && holds[(p) % NPROC] && !dead[(p) % NPROC])
/* A parcel of a dead process keeps nothing alive that anybody could miss. */
#define KEPT(i) ((i) < PARCELS && counts[(i) % PARCELS] && (state_of[(i) % PARCELS] == TRANSIT || !dead[state_of[(i) % PARCELS] % 50]))

#define STEP(action) if :: atomic { action } :: CRASH fi
#define CRASH atomic { crashes < CRASHES -> crashes++; dead[me] = true; ended++; FORGET; goto gone }
#define FORGET v = 0; i = 0; p = 0; found = false; again = false; r = 0

/* Needs v, the version that was read before. `again`: to be scanned (again). */
inline free_if_unheld() {
  atomic { again = true };
  do
  :: !again -> break
  :: else ->
     atomic { again = false; found = false; i = 0 };
     do
     :: i == NPROC || found -> break
     :: else -> STEP(found = bit_of[i]; i++)
     od;
     if
     :: found
     :: else ->
        STEP(r = returned; i = 0);
        STEP(if :: r == made -> i = PARCELS :: else fi);
        do
        :: i == PARCELS || found -> break
        :: else -> STEP(found = names[i]; i++)
        od
     fi;
     if
     :: found
     :: else ->
        STEP(
          if
          :: !shared
          :: shared && version != v -> v = version; again = true
          :: else ->
             assert(!IN_USE(0) && !IN_USE(1) && !IN_USE(2) && !KEPT(0) && !KEPT(1) && !KEPT(2));
             shared = false;
             version++
          fi
        )
     fi
  od;
  atomic { found = false; i = 0; r = 0 }
}

#define BUMP if :: shared -> version++ :: else fi; v = version

#ifdef BROKEN_FREE_WITHOUT_TAKING
#define TAKE skip
#else
#define TAKE state_of[p] = me
#endif

/* The owner of parcel p frees it, opened or not. */
inline free_parcel() {
#ifdef BROKEN_RETURNED_EARLY
  STEP(returned++);
#endif
  STEP(found = names[p]; names[p] = false; counts[p] = false);
  STEP(state_of[p] = FREE);
#ifndef BROKEN_RETURNED_EARLY
  STEP(if :: found -> returned++ :: else fi);
#endif
#ifndef BROKEN_NO_LOOK_AFTER
  if
  :: found ->
     STEP(found = shared; v = version);
     if
     :: found -> free_if_unheld()
     :: else
     fi
  :: else
  fi;
#endif
  atomic { FORGET }
}

proctype process(byte me) {
  byte v, i, p, r;
  bool found, again;

again_:
  do
  :: atomic { holds[me] && sends < SENDS -> sends++; p = 0 };
     /* make */
     do
     :: p == PARCELS -> break
     :: p < PARCELS && state_of[p] == FREE -> STEP(if :: state_of[p] == FREE -> state_of[p] = me; found = true :: else fi);
        if :: found -> break :: else fi
     :: p < PARCELS && state_of[p] != FREE -> p++
     od;
     if
     :: found ->
        STEP(found = false);
#ifndef BROKEN_MADE_LATE
        STEP(made++);
#endif
        STEP(names[p] = true);
#ifdef BROKEN_MADE_LATE
        STEP(counts[p] = true; state_of[p] = TRANSIT);
        STEP(made++);
#else
        if
        :: STEP(counts[p] = true; state_of[p] = TRANSIT) /* with the message */
        :: STEP(counts[p] = true; state_of[p] = LOAN(me))
        fi;
#endif
     :: else
     fi;
     atomic { FORGET }
  :: atomic { TAKEABLE(0) -> p = 0 }; goto take
  :: atomic { PARCELS > 1 && TAKEABLE(1) -> p = 1 }; goto take
  :: atomic { PARCELS > 2 && TAKEABLE(2) -> p = 2 }; goto take
  :: holds[me] ->
     STEP(assert(shared && bit_of[me]); holds[me] = false);
     STEP(BUMP);
     STEP(bit_of[me] = false);
     free_if_unheld();
     atomic { FORGET }
  :: !holds[me] -> break
  od;
  goto leave;
take:
#ifdef BROKEN_OPEN_BEFORE_TAKING
  STEP(found = (counts[p] && shared));
#else
  STEP(if :: TAKEABLE(p) -> state_of[p] = me; found = true :: else fi);
#endif
  if
  :: !found -> atomic { FORGET }; goto again_
  :: else -> found = false
  fi;
  if
  :: /* open */
#ifdef BROKEN_FREE_BEFORE_HOLD
     STEP(names[p] = false);
#endif
     STEP(bit_of[me] = true);
#ifndef BROKEN_OPEN_WITHOUT_BUMP
     STEP(assert(shared); version++);
#endif
     STEP(assert(shared); holds[me] = true)
#ifndef BROKEN_OPEN_BEFORE_TAKING
  :: skip /* lost, or not decoded */
#endif
  fi;
#ifdef BROKEN_OPEN_BEFORE_TAKING
  STEP(if :: TAKEABLE(p) -> state_of[p] = me; found = true :: else fi);
  if
  :: !found -> atomic { FORGET }; goto again_
  :: else -> found = false
  fi;
#endif
  free_parcel();
  goto again_;
leave:
  do
  :: atomic { state_of[0] == LOAN(me) -> p = 0; TAKE }; free_parcel()
  :: atomic { PARCELS > 1 && state_of[1 % PARCELS] == LOAN(me) -> p = 1; TAKE }; free_parcel()
  :: atomic { PARCELS > 2 && state_of[2 % PARCELS] == LOAN(me) -> p = 2; TAKE }; free_parcel()
  :: else -> break
  od;
  atomic { ended++ };
gone:
  skip
}

#define TO_BURY(d) ((d) < NPROC + RECLAIMERS && dead[(d) % (NPROC + RECLAIMERS)] && !buried[(d) % (NPROC + RECLAIMERS)] && (d) != me)
#define LEFT(i) ((i) < PARCELS && (state_of[(i) % PARCELS] == d || state_of[(i) % PARCELS] == LOAN(d) || (state_of[(i) % PARCELS] == TRANSIT && ended >= NPROC)))

proctype reclaimer(byte me) {
  byte v, i, p, r, d = 255;
  bool found, again;

  (me == NPROC || dead[me - 1]);
  if
  :: me == NPROC
  :: else -> ended-- /* the one before was no receiver */
  fi;
again_:
  d = 255;
  if
  :: atomic { TO_BURY(0) -> d = 0 }
  :: atomic { TO_BURY(1) -> d = 1 }
  :: atomic { TO_BURY(2) -> d = 2 }
  :: atomic { TO_BURY(3) -> d = 3 }
  :: atomic { ended >= NPROC && (LEFT(0) || LEFT(1) || LEFT(2)) }
  :: CRASH
  fi;
  do
  :: atomic { LEFT(0) -> p = 0; state_of[0] = me }; free_parcel()
  :: atomic { LEFT(1) -> p = 1; state_of[1 % PARCELS] = me }; free_parcel()
  :: atomic { LEFT(2) -> p = 2; state_of[2 % PARCELS] = me }; free_parcel()
  :: else -> break
  od;
  STEP(v = version; found = shared);
  if
  :: found ->
     atomic { found = (d < NPROC && bit_of[d % NPROC]) };
     if
     :: found ->
        STEP(BUMP);
        STEP(bit_of[d % NPROC] = false)
     :: else
     fi;
#ifndef BROKEN_NO_LOOK_AT_DEATH
     free_if_unheld()
#endif
  :: else
  fi;
  if
  :: d != 255 -> STEP(buried[d] = true)
  :: else
  fi;
  atomic { FORGET };
  goto again_;
gone:
  skip
}

init {
  byte n;
  atomic {
    bit_of[0] = true; holds[0] = true;
    for (n : 0 .. NPROC - 1) { run process(n) };
    for (n : 0 .. RECLAIMERS - 1) { run reclaimer(RECLAIMER(n)) };
    n = 0
  };
  atomic {
    timeout -> /* all have ended, or were killed; the reclaimers have nothing to do */
    if
    :: !dead[NPROC + RECLAIMERS - 1] -> assert(!shared && state_of[0] == FREE)
    :: else
    fi
  }
}

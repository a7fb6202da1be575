/*
 * The holders of a SHARED block: the bitmap and the version of csrc/heap/holders.c, whose head comment is the text that this file checks.
 * Stands for: csrc/heap/holders.c: fmp_heap_hold fmp_holders_clear free_if_unheld bump; csrc/heap/reclaim.c: sweep_block enter leave
 *
 * Process 0 is the first holder. A holder makes others holders (the children it is about to fork), starts them, and drops. The bitmap
 * is scanned bit by bit: words that are read one after the other. Before every step a process may be killed, exactly CRASHES times before all is quiet; a
 * child that was reserved and not yet started dies with its parent. Reclaimers (one at a time: the next one comes when the one before is
 * dead) clear the bits of the dead and bury them.
 *
 * Shown: the block is never freed while a living process holds it, and never twice; when all is quiet, it is free.
 */
#ifndef NPROC
#define NPROC 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef RECLAIMERS
#define RECLAIMERS 1
#endif

#define NOBODY 255

bool shared = true;
byte version;
bool bit_of[NPROC];

byte reserver[NPROC] = NOBODY; /* who made it a holder */
bool started[NPROC], buried[NPROC];
bool dead[NPROC + RECLAIMERS];
byte crashes;

bool holds[NPROC]; /* ghost: it may use the block */

#define IN_USE(p) ((p) < NPROC && holds[(p) % NPROC] && !dead[(p) % NPROC])

#define STEP(action) if :: atomic { action } :: CRASH fi
#define CRASH atomic { crashes < CRASHES -> crashes++; dead[me] = true; FORGET; goto gone }
#define FORGET v = 0; i = 0; other = 0; found = false; seen = false

/* Needs v, the version that was read before. `seen`: to be scanned (again). */
inline free_if_unheld() {
  seen = true;
  do
  :: !seen -> break
  :: else ->
     atomic { seen = false; found = false; i = 0 };
     do
     :: i == NPROC || found -> break
     :: else -> STEP(found = bit_of[i]; i++)
     od;
     if
     :: found
     :: else ->
        STEP(
          if
          :: !shared
          :: shared && version != v -> v = version; seen = true
          :: else ->
             assert(!IN_USE(0) && !IN_USE(1) && !IN_USE(2) && !IN_USE(3));
             shared = false;
             version++
          fi
        )
     fi
  od
}

#if defined(BROKEN_NO_BUMP) || defined(BROKEN_BUMP_BEFORE_HOLD)
#define BUMP v = version
#else
#define BUMP if :: shared -> version++ :: else fi; v = version
#endif

#ifdef BROKEN_RECLAIM_WITHOUT_BUMP
#define RECLAIM_BUMP v = version
#else
#define RECLAIM_BUMP BUMP
#endif

proctype process(byte me) {
  byte v, i, other;
  bool found, seen;

  do
  :: other < NPROC && !started[other] && reserver[other] == NOBODY && other != me ->
     STEP(if :: reserver[other] == NOBODY -> reserver[other] = me; seen = true :: else fi);
     if
     :: seen ->
        seen = false;
#ifdef BROKEN_BUMP_BEFORE_HOLD
        STEP(assert(shared); version++);
#endif
        STEP(assert(shared); bit_of[other] = true);
        STEP(holds[other] = true; started[other] = true; run process(other))
     :: else
     fi;
     other++
  :: other < NPROC -> other++
  :: break
  od;
  STEP(other = 0; assert(shared && bit_of[me]); holds[me] = false);
#ifdef BROKEN_SCAN_BEFORE_CLEAR
  STEP(BUMP);
  free_if_unheld();
  STEP(bit_of[me] = false);
#else
  STEP(BUMP);
  STEP(bit_of[me] = false);
  free_if_unheld();
#endif
  atomic { FORGET };
gone:
  skip
}

#define IS_DEAD(p) (dead[p] || (reserver[p] != NOBODY && !started[p] && dead[reserver[p]]))
#define TO_BURY(p) ((p) < NPROC && IS_DEAD((p) % NPROC) && !buried[(p) % NPROC])

proctype reclaimer(byte me) {
  byte v, i, other;
  bool found, seen;

  (me == NPROC || dead[me - 1]);
again:
  if
  :: atomic { TO_BURY(0) -> other = 0 }
  :: atomic { TO_BURY(1) -> other = 1 }
  :: atomic { TO_BURY(2) -> other = 2 }
  :: atomic { TO_BURY(3) -> other = 3 }
  :: CRASH
  fi;
  STEP(v = version; seen = shared);
  if
  :: seen ->
     seen = false;
     STEP(found = bit_of[other]);
     if
     :: found ->
        STEP(RECLAIM_BUMP);
        STEP(bit_of[other] = false);
        free_if_unheld()
     :: else ->
#ifndef BROKEN_ONLY_IF_HELD
        free_if_unheld()
#else
        skip
#endif
     fi
  :: else
  fi;
  STEP(buried[other] = true);
  atomic { FORGET };
  goto again;
gone:
  skip
}

init {
  byte i;
  atomic {
    bit_of[0] = true; holds[0] = true; started[0] = true; reserver[0] = 0;
    run process(0);
    for (i : 0 .. RECLAIMERS - 1) { run reclaimer(NPROC + i) };
    i = 0
  };
  atomic {
    timeout -> /* all have ended, or were killed; the reclaimers have nothing to do */
    if
    :: !dead[NPROC + RECLAIMERS - 1] -> assert(!shared)
    :: else
    fi
  }
}

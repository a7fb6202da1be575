/*
 * The condition of csrc/sync/condition: a record per waiter, so that a notification names its receiver. The comment of condition.h is the
 * text that this file checks.
 * Stands for: csrc/sync/condition.c: fmp_condition_enlist announce_sleep give give_to_oldest give_up redeliver fmp_condition_cancel
 *
 * WAITERS processes enlist, sleep, and leave when notified; with GIVE_UPS some give up (a deadline) or cancel (a signal) instead. A
 * notifier notifies one, NOTIFIES times, when at least as many wait. Before every step a process may be killed, exactly CRASHES times before
 * all is quiet. The lock is left out: nothing here may depend on it.
 *
 * The re-check period is a time-out that fires only when nothing else can happen, only after a crash, and only where it changes
 * something: so a wake-up that is lost without a crash is seen. Whoever times out redelivers what was given to the dead.
 *
 * Shown: without a crash as many return as were notified, and none sleeps beside his notification; what a killed waiter was given
 * goes to one who waited when it was made, if there is one; it is never lost, and is given twice only if its redeliverer was killed.
 */
#ifndef WAITERS
#define WAITERS 3
#endif
#ifndef NOTIFIES
#define NOTIFIES 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef GIVE_UPS
#define GIVE_UPS 0
#endif

#define NPROC (WAITERS + 1) /* the last one notifies */

#define FREE 0
#define WAITING 1
#define NOTIFIED 2
#define SLEEPING 3

typedef record_t {
  byte ticket; /* of a waiter; the stamp of a notification */
  byte phase;
  byte owner
};

record_t record[WAITERS];
byte next_ticket;
bool asleep[WAITERS]; /* in the kernel's queue, of the record that is one's own */
bool dead[NPROC];
byte crashes, given_up;

/* Ghosts: notifications made; waiters that returned with one; those that found nobody to go to. */
byte made, returned, dropped;

/* May a time-out fire? When nothing else can happen; and at any time between two crashes, so that the second may come after it. */
#define TIME_IS_OVER (timeout || (crashes > 0 && crashes < CRASHES))

#define STEP(action) if :: atomic { action } :: CRASH fi
#define CRASH atomic { crashes < CRASHES -> crashes++; dead[me] = true; if :: me < WAITERS -> asleep[me % WAITERS] = false :: else fi; goto gone }

#define IS_WAITING(r) (record[r].phase == WAITING || record[r].phase == SLEEPING)
#define IS(r, t, p, o) (record[r].ticket == t && record[r].phase == p && record[r].owner == o)
#define SET(r, t, p, o) record[r].ticket = t; record[r].phase = p; record[r].owner = o

/* Gives to the oldest waiter with a ticket before `stamp`: a scan record by record, then a CAS on what was seen. `fresh`: from the notifier. */
inline give_to_oldest(stamp, fresh) {
  gave = false;
  do
  :: gave -> break
  :: else ->
     i = 0; best = WAITERS; t = 255;
     do
     :: i == WAITERS -> break
     :: else ->
        STEP(
          if
          :: IS_WAITING(i) && record[i].ticket < stamp && record[i].ticket < t ->
             best = i; t = record[i].ticket; p = record[i].phase; o = record[i].owner
          :: else
          fi;
          i++
        )
     od;
     if
     :: best == WAITERS -> dropped = dropped + 1 - fresh; break
     :: else ->
        STEP(
          gave = IS(best, t, p, o);
          if :: gave -> SET(best, stamp, NOTIFIED, o); made = made + fresh :: else fi
        );
        if
        :: gave && p == SLEEPING -> STEP(asleep[o] = false)
        :: else
        fi
     fi
  od;
  atomic { i = 0; best = 0; t = 0; p = 0; o = 0 }
}

#define RECORD(r) record[(r) % WAITERS]
#define ORPHANED(r) (r < WAITERS && RECORD(r).phase == NOTIFIED && dead[RECORD(r).owner])
#define WAITS_SINCE(r, before) (IS_WAITING((r) % WAITERS) && !dead[RECORD(r).owner] && RECORD(r).ticket < before)
#define HAS_HEIR(r) (WAITS_SINCE(0, RECORD(r).ticket) || WAITS_SINCE(1, RECORD(r).ticket) || WAITS_SINCE(2, RECORD(r).ticket))
#define TO_REDELIVER (ORPHANED(0) && HAS_HEIR(0) || ORPHANED(1) && HAS_HEIR(1) || ORPHANED(2) && HAS_HEIR(2))

#define OVERSLEPT(r) (r < WAITERS && RECORD(r).phase == NOTIFIED && !dead[RECORD(r).owner] && asleep[RECORD(r).owner])
#define SLEEPER (asleep[0] || asleep[1] || asleep[2 % WAITERS])

proctype waiter(byte me) {
  byte mine, ticket, stamp, victim, i, best, t, p, o;
  bool gave;

  STEP(ticket = next_ticket; next_ticket++);
  do
  :: STEP(
       gave = (record[mine].phase == FREE);
       if :: gave -> SET(mine, ticket, WAITING, me) :: else -> mine = (mine + 1) % WAITERS fi
     );
     if :: gave -> break :: else fi
  od;
sleep:
  STEP(if :: record[mine].phase == NOTIFIED -> goto notified :: else fi);
#ifndef BROKEN_NO_ANNOUNCEMENT
  STEP(if :: record[mine].phase == NOTIFIED -> goto notified :: else -> record[mine].phase = SLEEPING fi);
#endif
  STEP(asleep[me] = IS_WAITING(mine)); /* futex_wait compares and queues in one step */
  if
  :: atomic { !asleep[me] -> skip }
  :: atomic { given_up < GIVE_UPS -> given_up++; asleep[me] = false; goto give_up }
  :: atomic { TIME_IS_OVER && asleep[me] && crashes > 0 && (record[mine].phase == NOTIFIED || TO_REDELIVER) ->
       asleep[me] = false;
       goto slice_over
     }
  :: CRASH
  fi;
  STEP(if :: record[mine].phase == NOTIFIED -> goto notified :: else -> goto sleep fi);

slice_over: /* give what the dead were given to others */
  victim = 0;
  do
  :: victim == WAITERS -> break
  :: else ->
     STEP(stamp = record[victim].ticket; o = record[victim].owner; gave = (record[victim].phase == NOTIFIED && dead[o]));
     if
     :: gave ->
        STEP(
          gave = IS(victim, stamp, NOTIFIED, o);
          if :: gave -> record[victim].owner = me :: else fi
        );
        if
        :: gave ->
#ifdef BROKEN_FREE_BEFORE_REDELIVERY
           STEP(SET(victim, 0, FREE, 0));
           give_to_oldest(stamp, 0)
#else
           give_to_oldest(stamp, 0);
           STEP(SET(victim, 0, FREE, 0))
#endif
        :: else
        fi
     :: else
     fi;
     victim++
  od;
  atomic { victim = 0; stamp = 0; o = 0; gave = false };
  STEP(if :: record[mine].phase == NOTIFIED -> goto notified :: else fi);
  goto sleep;

give_up:
  STEP(
    gave = IS_WAITING(mine);
    if :: gave -> SET(mine, 0, FREE, 0) :: else stamp = record[mine].ticket fi
  );
  if
  :: gave -> goto gone /* not in time */
  :: else -> /* notified, and interrupted: to another one */
#ifndef BROKEN_CANCEL_KEEPS
     give_to_oldest(stamp, 0);
#endif
     STEP(SET(mine, 0, FREE, 0));
     goto gone
  fi;
notified:
  STEP(assert(record[mine].phase == NOTIFIED && record[mine].owner == me); SET(mine, 0, FREE, 0); returned++);
gone:
  skip
}

proctype notifier(byte me) {
  byte stamp, i, best, t, p, o, n;
  bool gave;

  do
  :: n == NOTIFIES -> break
  :: else ->
     STEP(n < next_ticket -> stamp = next_ticket);
     give_to_oldest(stamp, 1);
     atomic { stamp = 0; gave = false; n++ }
  od;
gone:
  skip
}

init {
  byte i, orphans;
  atomic {
    for (i : 0 .. WAITERS - 1) { run waiter(i) };
    run notifier(WAITERS);
    i = 0
  };
  atomic {
    timeout && !(crashes > 0 && (OVERSLEPT(0) || OVERSLEPT(1) || OVERSLEPT(2) || TO_REDELIVER && SLEEPER)) -> /* else a time-out comes */
    for (i : 0 .. WAITERS - 1) {
      if
      :: record[i].phase == NOTIFIED -> assert(dead[record[i].owner]); orphans++
      :: else
      fi
    };
    assert(!TO_REDELIVER);
    assert(made <= returned + dropped + orphans);
    assert(returned + dropped + orphans <= made + crashes)
  }
}

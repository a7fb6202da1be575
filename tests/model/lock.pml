/*
 * The lock of csrc/sync/lock: one futex word {waiters, held, owner}. docs/architecture.md, section Lock, is the text that this file checks.
 * Stands for: csrc/sync/lock.c: fmp_lock_acquire; csrc/sync/lock.h: fmp_lock_try fmp_lock_release
 *
 * NPROC processes acquire and release ROUNDS times. Before every step a process may be killed, exactly CRASHES times before all
 * is quiet (run it for 0, 1, 2). With CLEAN, process 0 may exit in order while it holds the lock; a parent releases it for him later. A
 * waiter may give up (its deadline, a signal) at most GIVE_UPS times in a run, and wake for no reason as often.
 *
 * The slices of the waiters are time-outs that fire only when nothing else can happen: so a wake-up that is lost without a crash is
 * seen as the use of a slice, which is an error. A waiter may ask at any time whether the owner is alive.
 *
 * Shown: mutual exclusion among the living; nobody waits for ever; the lock of a killed owner goes to one other, who alone is told
 * OWNER_DIED, before anybody else gets it; the lock of an owner that exited in order stays held until somebody releases it. With -DNP
 * a cycle in which nobody enters is an error.
 */
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef GIVE_UPS
#define GIVE_UPS 1
#endif
#ifndef CLEAN
#define CLEAN 0
#endif

#define NPROC 3
#define NOBODY 7

bool waiters, held; /* the word */
byte owner = NOBODY;

bool asleep[NPROC];
bool dead[NPROC];   /* killed */
bool exited[NPROC]; /* ended in order */
byte crashes, given_up, spurious;

/* Ghosts. */
bool inside[NPROC];       /* between acquire and release */
bool died_inside[NPROC];  /* killed as the word's owner ... */
bool reported[NPROC];     /* ... and OWNER_DIED was told to somebody */

/* May a time-out fire? When nothing else can happen; and at any time between two crashes, so that the second may come after it. */
#define TIME_IS_OVER (timeout || (crashes > 0 && crashes < CRASHES))

#define STEP(action) if :: atomic { action } :: CRASH fi
#define CRASH atomic { crashes < CRASHES -> crashes++; dead[me] = true; asleep[me] = false; \
    if :: held && owner == me -> died_inside[me] = true :: else fi; \
    FORGET; goto gone }

#define SAME_WORD (waiters == w && held == h && owner == o)
#define LOAD_WORD w = waiters; h = held; o = owner
#define STORE_WORD(w_, h_, o_) waiters = w_; held = h_; owner = o_

#define LIVES_INSIDE(p) (inside[p] && !dead[p])
#define UNREPORTED(p) (died_inside[p] && !reported[p])

inline entered() {
  assert(!LIVES_INSIDE(0) && !LIVES_INSIDE(1) && !LIVES_INSIDE(2));
  assert(!UNREPORTED(0) && !UNREPORTED(1) && !UNREPORTED(2));
  inside[me] = true
}

inline wake_one() {
  if
  :: asleep[0] -> asleep[0] = false
  :: asleep[1] -> asleep[1] = false
  :: asleep[2] -> asleep[2] = false
  :: else
  fi
}

/* The owner is gone for good and did not release: the lock is the asker's if the word has not changed. */
inline take_over() {
  if
  :: SAME_WORD ->
     assert(dead[o] && !reported[o]);
     reported[o] = true;
     got = true;
     STORE_WORD(true, true, me);
     entered()
  :: else
  fi
}

#ifdef BROKEN_CLEAN_IS_KILLED
#define KILLED(p) (dead[p] || exited[p])
#else
#define KILLED(p) dead[p]
#endif

proctype locker(byte me) {
  byte o, round;
  bool w, h, got, slept;
#define FORGET o = 0; round = 0; w = false; h = false; got = false; slept = false

acquire:
  if :: round == ROUNDS -> goto finished :: else fi;
  STEP(
    got = !held;
    if :: got -> STORE_WORD(false, true, me); entered() :: else fi
  );
  if :: got -> goto progress_critical :: else fi;
contended:
  STEP(LOAD_WORD);
  if
  :: !h ->
     STEP(
       got = SAME_WORD;
       if
#ifdef BROKEN_WOKEN_FORGETS_OTHERS
       :: got -> STORE_WORD(false, true, me); entered()
#else
       :: got -> STORE_WORD(slept, true, me); entered()
#endif
       :: else
       fi
     );
     if :: got -> goto progress_critical :: else -> goto contended fi
  :: h && !w ->
     STEP(
       got = SAME_WORD;
       if :: got -> waiters = true :: else fi
     );
     if :: !got -> goto contended :: else -> w = true; got = false fi
  :: else
  fi;
#ifndef BROKEN_WOKEN_GIVES_UP
  /* Whoever was woken has put the waiters bit back by now: only here may he give up. */
  if
  :: atomic { given_up < GIVE_UPS -> given_up++; goto released }
  :: true
  fi;
#endif
  STEP(asleep[me] = SAME_WORD); /* futex_wait compares and queues in one step */
  if
  :: atomic { !asleep[me] -> slept = true }
  :: atomic { asleep[me] && spurious < GIVE_UPS -> spurious++; asleep[me] = false; slept = true }
  :: atomic { asleep[me] && held && KILLED(owner) -> asleep[me] = false; slept = true; goto ask }
  :: atomic { TIME_IS_OVER && asleep[me] && !(held && exited[owner]) ->
       assert(crashes > 0);
       asleep[me] = false; slept = true; goto ask
     }
  :: CRASH
  fi;
#ifdef BROKEN_WOKEN_GIVES_UP
  if
  :: atomic { given_up < GIVE_UPS -> given_up++; goto released }
  :: true
  fi;
#endif
  goto contended;
ask:
  STEP(LOAD_WORD);
#ifndef BROKEN_NO_TAKE_OVER
  if
  :: h && KILLED(o) ->
#ifdef BROKEN_TAKE_OVER_WITHOUT_CAS
     STEP(reported[o] = true; got = true; STORE_WORD(true, true, me); entered());
#else
     STEP(take_over());
#endif
     if :: got -> goto progress_critical :: else fi
  :: else
  fi;
#endif
  goto contended;

progress_critical:
  STEP(assert(inside[me] && held && owner == me));
#if CLEAN
  if
  :: atomic { me == 0 -> exited[me] = true; FORGET; goto gone }
  :: true
  fi;
#endif
  STEP(LOAD_WORD; STORE_WORD(false, false, NOBODY); inside[me] = false); /* exchange 0 */
  if :: w -> STEP(wake_one()) :: else fi;
released:
  atomic { w = false; h = false; o = 0; got = false; slept = false; round++ };
  goto acquire;
finished:
  atomic { exited[me] = true; FORGET };
gone:
  skip
#undef FORGET
}

#if CLEAN
/* Releases the lock that process 0 has left behind; it must still be his. */
proctype parent() {
  bool w;
end:
  atomic { exited[0] && inside[0] ->
    assert(held && owner == 0);
    w = waiters;
    inside[0] = false;
    STORE_WORD(false, false, NOBODY)
  };
  atomic { if :: w -> wake_one() :: else fi; w = false }
}
#endif

init {
  atomic {
    run locker(0); run locker(1); run locker(2)
#if CLEAN
    ; run parent()
#endif
  };
  atomic {
    timeout && !asleep[0] && !asleep[1] && !asleep[2] ->
    assert((dead[0] || exited[0]) && (dead[1] || exited[1]) && (dead[2] || exited[2]));
    /* What nobody was told of is still in the word, for the next who comes. */
    assert(!UNREPORTED(0) || (held && owner == 0));
    assert(!UNREPORTED(1) || (held && owner == 1));
    assert(!UNREPORTED(2) || (held && owner == 2))
  }
}

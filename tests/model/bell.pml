/*
 * The doorbell of csrc/sync/bell: a byte in a descriptor tells a reader that a ring holds messages, and only the sending side can put one
 * in. csrc/sync/bell.h is the text that this file checks.
 * Stands for: csrc/sync/bell.c: fmp_bell_ring_slow fmp_bell_hush fmp_bell_heal fmp_bell_renew
 *
 * Senders publish MSGS messages each and ring; readers take them. A reader sleeps until the descriptor is readable (poll), after a hush. With
 * WATCH the one reader is a select loop: it looks at the descriptor only, takes one message when it is readable, and hushes after each. Before
 * every step a process may be killed, exactly CRASHES times before all is quiet.
 *
 * The store that publishes a message goes through a store buffer and reaches memory at any later moment; a fence and an atomic
 * read-modify-write wait for it. That is what x86-64 does. All else is sequentially consistent.
 *
 * A reader that was woken in vain waits here until there is something for it to do; in the code it looks again. The re-check period is a time-out
 * that fires only when nothing else can happen.
 *
 * With RENEW no reader has the descriptor, and each sender may or may not have the old one: a reader finds another's that is alive, or makes a
 * new one, of the next generation, which the word names; senders open it while the one that `holder` names lives.
 *
 * Shown: without a crash nobody sleeps beside a message, the select loop is never woken in vain, and when nothing moves the descriptor is
 * readable only beside a message; with crashes the re-check period suffices, and no byte too many stays for ever.
 */
#ifndef SENDERS
#define SENDERS 2
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef MSGS
#define MSGS 1 /* per sender */
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

#define NONE 255
#ifdef RENEW
#define PIPES 4
#else
#define PIPES 1
#endif

#define NPROC (SENDERS + READERS) /* senders first */
#define NOBODY 255
#define RUNG 0
#define TAKING 1
#define QUIET 2
#define RINGING 3

byte state, owner = NOBODY, version; /* the word */
byte generation;                     /* in the word, too: who changes it changes the version */
byte place, holder = NOBODY;         /* one word: the newest descriptor, and who has it */
byte bytes_of[PIPES];                /* in each descriptor */
byte messages;                       /* in the ring */
bool buffered[SENDERS];              /* the store buffer: a publication on its way to memory */
bool dead[NPROC];
byte crashes;

#define IS_DEAD(id) (id != NOBODY && dead[(id) % NPROC])
#define SAME(s, v) (state == s && version == v)
#define bytes bytes_of[g]
#ifdef BROKEN_RING_ANY_GENERATION
#define IS_STALE false
#else
#define IS_STALE (w != g)
#endif
#define SET(s, id) state = s; owner = id; version++

/* May a time-out fire? When nothing else can happen; and at any time between two crashes, so that the second may come after it. */
#define TIME_IS_OVER (timeout || (crashes > 0 && crashes < CRASHES))

#define STEP(action) if :: atomic { action } :: CRASH fi
#define CRASH atomic { crashes < CRASHES -> crashes++; DIE; goto gone }

proctype sender(byte me) {
  byte sent, s, o, v, g, w;
  bool mine;
#define DIE dead[me] = true; sent = 0; s = 0; o = 0; v = 0; g = 0; w = 0; mine = false

#ifdef RENEW
  if :: g = 0 :: g = NONE fi;
#endif
  do
  :: sent == MSGS -> break
  :: else ->
     STEP(buffered[me] = true; sent++);
#ifndef BROKEN_NO_FENCE
     STEP(!buffered[me] -> skip);
#endif
look:
#ifdef RENEW
     STEP(
       if
       :: g != place && holder != NOBODY && !dead[holder % NPROC] -> g = place
       :: else
       fi;
       o = (g == place)
     );
     if :: o == 0 -> goto rung :: else fi; /* who makes the descriptor, or says that he has it, looks at the ring afterwards */
#endif
     STEP(s = state; o = owner; v = version; w = generation);
     if
     :: s == RUNG -> goto rung
     :: s == RINGING && !IS_DEAD(o) -> goto rung
#ifdef RENEW
     :: s != RUNG && (s != RINGING || IS_DEAD(o)) && IS_STALE ->
        STEP(o = (g == place));
        if :: o -> goto rung :: else -> goto look fi
#endif
     :: else
     fi;
     STEP(
       !buffered[me];
       mine = SAME(s, v);
       if :: mine -> SET(RINGING, me); v = version :: else fi
     );
     if :: !mine -> goto look :: else fi;
#ifndef BROKEN_RING_WITHOUT_A_LOOK
     STEP(o = (messages > 0));
     if
     :: o == 0 ->
        STEP(if :: SAME(RINGING, v) -> SET(QUIET, me) :: else fi; mine = false);
#ifndef BROKEN_CANCEL_WITHOUT_A_LOOK
        STEP(o = (messages > 0));
        if :: o != 0 -> goto look :: else fi;
#endif
        goto rung
     :: else
     fi;
#endif
     STEP(bytes++);
     STEP(if :: SAME(RINGING, v) -> SET(RUNG, me) :: else fi; mine = false);
rung:
     atomic { s = 0; o = 0; v = 0; w = 0 }
  od;
gone:
  skip
#undef DIE
}

/* Changes the word that was seen into TAKING. */
#define TAKE_OVER                                                                         \
  STEP(mine = SAME(s, v); if :: mine -> SET(TAKING, me); v = version :: else fi); \
  if :: !mine -> goto hush :: else fi

#define TAKE_BYTE if :: bytes > 0 -> bytes-- :: else fi

proctype reader(byte me) {
  byte s, o, v, g, w;
  bool mine, pending, certain;
#define DIE dead[me] = true; s = 0; o = 0; v = 0; w = 0; mine = false; pending = false; certain = false

#ifdef RENEW
renew:
  STEP(
    if
    :: holder != NOBODY && !dead[holder % NPROC] -> g = place; certain = true
    :: else -> v = place; o = holder; certain = false
    fi
  );
  if
  :: certain -> STEP(certain = (place == g); if :: certain -> holder = me :: else fi)
  :: else -> STEP(certain = (place == v && holder == o); if :: certain -> place++; g = place; holder = me :: else fi)
  fi;
  if :: !certain -> goto renew :: else fi;
behind:
  STEP(s = state; v = version; w = generation);
  if
  :: w > g -> goto renew
  :: w == g
  :: w < g ->
     STEP(mine = SAME(s, v); if :: mine -> generation = g; SET(QUIET, me) :: else fi);
     if :: !mine -> goto behind :: else fi
  fi;
#ifndef BROKEN_RENEW_WITHOUT_A_LOOK
ring:
  STEP(pending = (messages > 0));
  if :: !pending -> goto rung :: else fi;
ring_it:
  STEP(s = state; o = owner; v = version; w = generation);
  if
  :: s == RUNG || (s == RINGING && !IS_DEAD(o)) -> goto rung
  :: s != RUNG && (s != RINGING || IS_DEAD(o)) && w != g -> goto renew
  :: else
  fi;
  STEP(mine = SAME(s, v); if :: mine -> SET(RINGING, me); v = version :: else fi);
  if :: !mine -> goto ring_it :: else fi;
  STEP(pending = (messages > 0));
  if
  :: !pending -> STEP(if :: SAME(RINGING, v) -> SET(QUIET, me) :: else fi; mine = false); goto ring
  :: else
  fi;
  STEP(bytes++);
  STEP(if :: SAME(RINGING, v) -> SET(RUNG, me) :: else fi; mine = false);
rung:
#endif
  atomic { s = 0; o = 0; v = 0; w = 0; mine = false; pending = false; certain = false };
#endif
#ifdef WATCH
  goto hush;
#endif
again:
  atomic { s = 0; w = 0; o = 0; v = 0; pending = false; certain = false };
#ifdef WATCH
  if
  :: atomic { bytes > 0 -> assert(messages > 0 || crashes > 0) }
  :: atomic { TIME_IS_OVER && messages > 0 -> assert(crashes > 0) } /* the next call of the program */
  :: CRASH
  fi;
#endif
  STEP(pending = (messages > 0); if :: pending -> messages-- :: else fi);
#ifndef WATCH
  if :: pending -> goto again :: else fi;
#endif

hush:
  STEP(pending = (messages > 0));
  STEP(s = state; o = owner; v = version; w = generation);
  if
  :: w != g -> goto hushed
  :: w == g && (s == QUIET || (pending && s != TAKING)) -> goto hushed
  :: w == g && s == RUNG && !pending -> certain = true
#ifndef BROKEN_LEAVE_A_RINGERS_BYTE
  :: w == g && s == RINGING && !pending && bytes > 0 -> certain = true
#endif
  :: w == g && s == RINGING && !pending && bytes == 0 && !IS_DEAD(o) ->
#ifdef BROKEN_LEAVE_A_RINGERS_BYTE
     goto hushed
  :: w == g && s == RINGING && !pending && bytes > 0 -> goto hushed
#else
     if
     :: atomic { bytes > 0 || !SAME(s, v) || IS_DEAD(o) || messages > 0 -> goto hush }
     :: CRASH
     fi
#endif
  :: w == g && s == TAKING && !IS_DEAD(o) -> goto hushed
  :: w == g && (s == TAKING || (s == RINGING && !pending && bytes == 0)) && IS_DEAD(o) -> certain = false
  fi;
  TAKE_OVER;
  if
  :: !certain -> STEP(certain = (bytes > 0)); STEP(certain = certain && SAME(TAKING, v))
  :: else
  fi;

  /* TAKING in our name. */
#ifndef BROKEN_LOOK_BEFORE_TAKING
  STEP(pending = (messages > 0));
#endif
  if
  :: pending ->
#ifdef BROKEN_TAKE_BEFORE_THE_LOOK
     STEP(if :: certain -> TAKE_BYTE :: else fi);
#endif
     STEP(
       mine = SAME(TAKING, v);
       if
       :: mine && certain -> SET(RUNG, me)
       :: mine && !certain -> SET(QUIET, me)
       :: else
       fi
     );
     if :: !mine && certain -> STEP(TAKE_BYTE) :: else fi;
     atomic { mine = false; goto hush }
  :: else ->
     STEP(if :: certain -> TAKE_BYTE :: else fi);
     STEP(if :: SAME(TAKING, v) -> SET(QUIET, me) :: else fi; mine = false)
  fi;

hushed:
#ifdef WATCH
  goto again;
#endif
  STEP(pending = (messages > 0));
  if :: pending -> goto again :: else fi;
  /* poll(2) */
  if
  :: atomic { bytes > 0 -> skip }
  :: atomic { TIME_IS_OVER && messages > 0 -> assert(crashes > 0); goto again }
  :: CRASH
  fi;
  /* A wake in vain, unless a message is there: nothing to do until one of these. */
  if
  :: atomic { messages > 0 -> goto again }
  :: atomic { bytes == 0 || state == RUNG || (state != QUIET && IS_DEAD(owner)) || (state == RINGING && bytes > 0) -> goto again }
  :: atomic { state == QUIET && generation == g && bytes > 0 -> SET(TAKING, me); v = version; certain = true }
  :: CRASH
  fi;
  STEP(TAKE_BYTE);
  STEP(if :: SAME(TAKING, v) -> SET(QUIET, me) :: else fi; mine = false);
  goto again;
gone:
  skip
#undef DIE
}

/* The store buffers. A buffered store reaches memory even when its process is killed. */
proctype memory() {
end:
  do
  :: atomic { buffered[0] -> buffered[0] = false; messages++ }
#if SENDERS > 1
  :: atomic { buffered[1] -> buffered[1] = false; messages++ }
#endif
  od
}

#if READERS == 1
#define ALL_READERS_DEAD dead[SENDERS]
#else
#define ALL_READERS_DEAD (dead[SENDERS] && dead[SENDERS + 1])
#endif

init {
  byte i;
  atomic {
    bytes_of[0] = 1;
    for (i : 0 .. SENDERS - 1) { run sender(i) };
    for (i : SENDERS .. NPROC - 1) { run reader(i) };
    run memory();
    i = 0
  };
  /* When nothing moves, and no re-check is due: all is taken, and the descriptor is quiet. */
  atomic { timeout && (messages == 0 || ALL_READERS_DEAD) ->
    assert(ALL_READERS_DEAD || bytes_of[place] == 0 || crashes > 0);
#ifndef WATCH
    assert(ALL_READERS_DEAD || bytes_of[place] == 0)
#endif
  }
}

/*
 * How a death is told to those who sleep: csrc/sync/death. docs/architecture.md, section Waiting, is the text that this file checks.
 * Stands for: csrc/sync/death.c: fmp_death_wait fmp_death_count hear
 *
 * Processes look at whatever a killed one may have left, and sleep. Before every step one may be killed, KILLS times in all: the kernel
 * then wakes one of those who sleep on the word, if there is any. That one counts the death and wakes all who sleep on the count; he may be
 * killed before he has. Nobody looks by the clock here: a time-out is what the protocol is to make needless. (A death within 64 ms of another, which is left to the clock,
 * is not part of this.)
 *
 * The kernel's futex_waitv compares the count and queues in one step, and its wake of all is one step.
 *
 * Shown: whoever slept when a process was killed looks again after the kill. So does who had looked and was about to sleep, unless nobody
 * at all was asleep then, or when the one was killed whom the kernel had woken for it.
 */
#ifndef SLEEPERS
#define SLEEPERS 3
#endif
#ifndef KILLS
#define KILLS 2
#endif
#define NONE 255

byte told;             /* the count */
bool asleep[SLEEPERS]; /* on both words */
bool chosen[SLEEPERS]; /* woken by the kernel, for a death */
bool dead[SLEEPERS];
byte kills;

/* Ghosts. */
bool owes[SLEEPERS]; /* has not looked since a kill that is to be told him */
bool slept[SLEEPERS]; /* and was asleep then */

#if SLEEPERS == 4
#define ANY_ASLEEP (asleep[0] || asleep[1] || asleep[2] || asleep[3])
#else
#define ANY_ASLEEP (asleep[0] || asleep[1] || asleep[2])
#endif

#define STEP(action) if :: atomic { action } :: KILL fi
#define KILL atomic { kills < KILLS -> kills++; die(me); goto gone }

/* The kernel, at the end of a process. */
inline die(who) {
  dead[who] = true; asleep[who] = false; owes[who] = false; slept[who] = false;
  if
  :: ANY_ASLEEP ->
     for (i : 0 .. SLEEPERS - 1) { owes[i] = !dead[i]; slept[i] = slept[i] || asleep[i] };
     if
     :: asleep[0] -> asleep[0] = false; chosen[0] = true
     :: asleep[1] -> asleep[1] = false; chosen[1] = true
     :: asleep[2] -> asleep[2] = false; chosen[2] = true
#if SLEEPERS == 4
     :: asleep[3] -> asleep[3] = false; chosen[3] = true
#endif
     fi
  :: !ANY_ASLEEP && chosen[who] -> for (i : 0 .. SLEEPERS - 1) { owes[i] = owes[i] && slept[i] }
  :: else
  fi;
  chosen[who] = false;
  i = 0
}

inline wake_all() {
  for (i : 0 .. SLEEPERS - 1) { asleep[i] = false };
  i = 0
}

proctype sleeper(byte me) {
  byte seen, i;

again:
#ifdef BROKEN_COUNT_READ_LATE
  STEP(owes[me] = false; slept[me] = false); /* the look */
  STEP(seen = told);
#else
  STEP(seen = told);
  STEP(owes[me] = false; slept[me] = false);
#endif
  STEP(asleep[me] = (told == seen); seen = 0; if :: !asleep[me] -> goto again :: else fi);
  if
  :: atomic { !asleep[me] -> skip }
  :: KILL
  fi;
#ifndef BROKEN_TELL_NOBODY
  if
  :: atomic { !chosen[me] -> goto again }
  :: atomic { chosen[me] -> skip }
  :: KILL
  fi;
#ifdef BROKEN_WAKE_FIRST
  STEP(wake_all());
  STEP(told++; chosen[me] = false);
#else
  STEP(told++);
  STEP(wake_all(); chosen[me] = false);
#endif
#endif
  goto again;
gone:
  skip
}

init {
  byte i;
  atomic {
    for (i : 0 .. SLEEPERS - 1) { run sleeper(i) };
    i = 0
  };
  do
  :: atomic { timeout -> /* nothing moves: all who live sleep */
       for (i : 0 .. SLEEPERS - 1) { assert(!owes[i]) };
       break
     }
  od
}

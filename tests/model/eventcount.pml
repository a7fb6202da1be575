/*
 * The event count of csrc/sync/eventcount: one word {seq, gen, count} between processes that wait for a condition and processes that make it
 * true. docs/architecture.md, section Waiting, is the text that this file checks.
 * Stands for: csrc/sync/eventcount.c: fmp_ec_await sleep_once fmp_ec_notify_slow; csrc/sync/eventcount.h: fmp_ec_look
 *
 * The condition is a set of items. A notifier makes its item available and notifies one; a waiter takes any item, and sleeps when there is none. Before
 * every step a process may be killed, exactly CRASHES times before all is quiet. A sleeper may also wake for no reason (a signal, a short slice), at
 * most SPURIOUS times in a run.
 *
 * The store that makes an item available goes through a store buffer and reaches memory at any later moment; a fence and an atomic
 * read-modify-write wait for it. That is what x86-64 does. All else is sequentially consistent.
 *
 * The re-check period is a time-out that fires only when nothing else can happen: so a wake-up that is lost without a crash is
 * seen as its use, which is an error. After a crash its use is allowed, and must then suffice.
 *
 * Shown: no wake-up is lost without a crash; with crashes nobody sleeps for ever beside an item; count is always the number of those
 * registered in this generation, and never underflows; without a crash every sleeper is registered when nothing moves.
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef NOTIFIERS
#define NOTIFIERS 2
#endif
#ifndef POSTS
#define POSTS 1 /* per notifier */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef SPURIOUS
#define SPURIOUS 1
#endif

#define NPROC (WAITERS + NOTIFIERS) /* waiters first */
#define ITEMS (NOTIFIERS * POSTS)
#define NONE 255

byte seq, gen, count; /* the word; the futex is seq */
bool available[ITEMS];
byte buffered[NOTIFIERS]; /* the store buffer: the item that is on its way to memory */
bool asleep[WAITERS];
bool dead[NPROC];
byte crashes, spurious;

/* Ghosts. */
bool registered[WAITERS];
byte generation[WAITERS];

#define COUNTS(i) (registered[i] && generation[i] == gen)
#if WAITERS == 1
#define REGISTERED COUNTS(0)
#define SLEEPER asleep[0]
#elif WAITERS == 2
#define REGISTERED (COUNTS(0) + COUNTS(1))
#define SLEEPER (asleep[0] || asleep[1])
#else
#define REGISTERED (COUNTS(0) + COUNTS(1) + COUNTS(2))
#define SLEEPER (asleep[0] || asleep[1] || asleep[2])
#endif

#define ITEM(i) (i < ITEMS && available[(i) % ITEMS])
#define ANY_ITEM (ITEM(0) || ITEM(1) || ITEM(2) || ITEM(3))

/* May a time-out fire? When nothing else can happen; and at any time between two crashes, so that the second may come after it. */
#define TIME_IS_OVER (timeout || (crashes > 0 && crashes < CRASHES))

#define STEP(action) if :: atomic { action } :: CRASH fi
#define CRASH atomic { crashes < CRASHES -> crashes++; DIE; goto gone }

inline find_item(found) {
  found = 0;
  do
  :: found < ITEMS && !available[found] -> found++
  :: else -> break
  od
}

inline take_item(took) {
  find_item(took);
  if :: took < ITEMS -> available[took] = false; took = true :: else -> took = false fi
}

inline wake_one(woken) { /* futex_wake(1): the kernel takes any of the sleepers */
  woken = false;
  if
  :: asleep[0] -> asleep[0] = false; woken = true
#if WAITERS > 1
  :: asleep[1] -> asleep[1] = false; woken = true
#endif
#if WAITERS > 2
  :: asleep[2] -> asleep[2] = false; woken = true
#endif
  :: else
  fi
}

inline wake_all() {
  for (i : 0 .. WAITERS - 1) { asleep[i] = false }
}

proctype waiter(byte me) {
  byte key, mygen;
  byte took;
/* A killed sleeper leaves the kernel's queue; its registration stays in the word. */
#define DIE dead[me] = true; asleep[me] = false; key = 0; mygen = 0; took = 0

again:
  STEP(take_item(took); if :: took -> goto again :: else fi);
#ifdef BROKEN_CHECK_BEFORE_REGISTER /* the same as a register whose store the check may pass */
  STEP(find_item(took));
#endif
  STEP(count++; key = seq; mygen = gen; registered[me] = true; generation[me] = gen);
#ifdef BROKEN_CHECK_BEFORE_REGISTER
  if :: took < ITEMS -> goto leave :: else fi;
#else
  STEP(take_item(took); if :: took -> goto leave :: else fi);
#endif
  STEP(asleep[me] = (seq == key); if :: !asleep[me] -> goto leave :: else fi); /* futex_wait compares and queues in one step */
  if
  :: atomic { !asleep[me] -> skip }
  :: atomic { spurious < SPURIOUS -> spurious++; asleep[me] = false }
  :: atomic { TIME_IS_OVER && asleep[me] && ANY_ITEM -> /* sleeping with nothing to take is right */
       assert(crashes > 0);
#ifdef BROKEN_NO_RECHECK_PERIOD
       assert(false);
#endif
       asleep[me] = false
     }
  :: CRASH
  fi;
leave:
  STEP(
#ifdef BROKEN_LEAVE_ANY_GENERATION
    if
#else
    if
    :: gen != mygen
#endif
    :: else -> assert(count > 0); count--
    fi;
    registered[me] = false; generation[me] = 0; key = 0; mygen = 0; took = 0;
    goto again
  );
gone:
  skip
#undef DIE
}

proctype notifier(byte me) {
  byte s, g, c, i, sent;
  bool woken;
#define MINE (me - WAITERS)
#define DIE dead[me] = true; s = 0; g = 0; c = 0; i = 0; sent = 0; woken = false

  do
  :: sent == POSTS -> break
  :: else ->
     STEP(buffered[MINE] == NONE -> buffered[MINE] = MINE * POSTS + sent; sent++);
#ifndef BROKEN_NO_FENCE
     STEP(buffered[MINE] == NONE -> skip);
#endif
look:
     STEP(s = seq; g = gen; c = count; if :: c == 0 -> goto notified :: else fi);
     STEP(
       buffered[MINE] == NONE;
       if
       :: seq == s && gen == g && count == c -> seq++
       :: else -> goto look
       fi
     );
     STEP(wake_one(woken); if :: woken -> goto notified :: else fi);
     STEP( /* it woke nobody: heal */
       if
       :: seq == s + 1 && gen == g && count == c ->
          gen++; count = 0;
#ifndef BROKEN_HEAL_KEEPS_SEQ
          seq++
#endif
       :: else -> goto notified
       fi
     );
#ifndef BROKEN_HEAL_WITHOUT_WAKE
     STEP(wake_all());
#endif
notified:
     atomic { s = 0; g = 0; c = 0; i = 0; woken = false }
  od;
gone:
  skip
#undef DIE
}

/* The store buffers. A buffered store reaches memory even when its process is killed. */
proctype memory() {
  byte i;
end:
  do
  :: atomic { buffered[0] != NONE -> available[buffered[0]] = true; buffered[0] = NONE }
#if NOTIFIERS > 1
  :: atomic { buffered[1] != NONE -> available[buffered[1]] = true; buffered[1] = NONE }
#endif
  od
}

init {
  byte i;
  atomic {
    for (i : 0 .. NOTIFIERS - 1) { buffered[i] = NONE; run notifier(WAITERS + i) };
    for (i : 0 .. WAITERS - 1) { run waiter(i) };
    run memory();
    i = 0
  };
  do
  :: atomic { count != REGISTERED -> assert(false) }
  :: atomic { timeout && !(ANY_ITEM && SLEEPER) -> /* else the sleeper's time-out comes first */
       for (i : 0 .. WAITERS - 1) {
         assert(dead[i] || (!ANY_ITEM && asleep[i]));
         assert(crashes > 0 || (registered[i] && generation[i] == gen))
       };
       break
     }
  od
}

/*
 * Workers that a template forks when they are needed (csrc/pool/dormant.c, fastmp/_dormant.py): the template and any worker may be
 * killed at each step, and the parent may give the template up, or end the pool, at any time.
 * Stands for: csrc/pool/dormant.c: fmp_crew_fork_workers fmp_crew_wake_dormant_slow fmp_crew_close begin; csrc/sys/process.c: sys_fork_sibling; csrc/pool/crew.c: a_worker_ended
 *
 * The kernel writes the pid of a new process before that process runs, in the same step for all others. Who is dead stays visible to
 * the parent until it has looked. The parent's own looks at a worker (a bit of the kernel's, and the pid) are one step each.
 *
 * Shown: a place never has two workers, and none is forked for a place that the parent has filled; when the pool has ended nobody is
 * left, though the parent sends signals only to those whose pids it has seen, and waits only for those; and it always ends.
 */
#ifndef PLACES
#define PLACES 2
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#define ROOM 3 /* places are counted from 1 */

bool told[ROOM];      /* the kernel has written the pid of the template's worker */
bool met[ROOM];       /* the parent has forked the worker itself */
byte alive[ROOM];     /* workers at the place */
bool ended[ROOM];     /* one has, and was not reaped */
bool signalled[ROOM]; /* told to end: in the end only */
bool closed, killed, template_ended, finished;
byte wanted, crashes;

#define CRASH atomic { crashes < CRASHES -> crashes++; goto gone }

inline come(p) {
  assert(alive[p] == 0 && !ended[p]);
  alive[p]++
}

proctype worker(byte place; bool is_sibling) {
  if
#ifndef BROKEN_BEGINS_ANYWAY
  :: is_sibling && closed -> goto gone
  :: !is_sibling || !closed -> skip
#else
  :: skip
#endif
  :: signalled[place] -> goto gone
  :: CRASH
  fi;
  if /* it works */
  :: signalled[place] -> skip
  :: CRASH
  fi;
gone:
  atomic { alive[place]--; ended[place] = true }
}

proctype template() {
  byte place = 1;
  do
  :: place > PLACES -> break
  :: else ->
     if
     :: closed || killed -> goto gone
     :: !closed && wanted >= place -> skip
     :: !closed -> skip /* for so long nobody has wanted it */
     :: CRASH
     fi;
     if
#ifndef BROKEN_TOLD_BY_TEMPLATE
     :: atomic { assert(!met[place]); come(place); told[place] = true; run worker(place, true) }
#else
     :: atomic { come(place); run worker(place, true) }
        if
        :: told[place] = true
        :: CRASH
        fi
#endif
     :: killed -> goto gone
     :: CRASH
     fi;
     place++
  od;
  if
  :: closed || killed -> skip
  :: CRASH
  fi;
gone:
  template_ended = true
}

inline make(p) { atomic { come(p); met[p] = true; run worker(p, false) } }

inline bury(p) { atomic { ended[p] = false; told[p] = false; met[p] = false } }

/* What the parent does about a place when it has a reason to look. */
inline look_after(p) {
#ifndef BROKEN_LOOK_FIRST
  is_final = template_ended;
  is_known = told[p] || met[p];
#else
  is_known = told[p] || met[p];
  is_final = template_ended;
#endif
  if
  :: is_known && ended[p] -> bury(p); make(p)
  :: !is_known && is_final -> make(p)
  :: else
  fi
}

inline give_up() {
  closed = true;
  if
  :: killed = true
  :: skip /* it ends when it is told to */
  fi;
  template_ended
}

active proctype parent() {
  byte p = 1, looks;
  bool is_final, is_known;
  run template();
  do
  :: wanted < PLACES -> wanted++
  :: looks < 4 -> looks++; p = 1; look_after(p)
  :: looks < 4 -> looks++; p = PLACES; look_after(p)
  :: !closed && !template_ended -> give_up()
  :: break
  od;
#ifndef BROKEN_SIGNAL_BEFORE_CLOSE
  closed = true;
#endif
  p = 1;
  do
  :: p <= PLACES ->
     if
     :: told[p] || met[p] -> signalled[p] = true
     :: else
     fi;
     p++
  :: else -> break
  od;
  closed = true;
  template_ended;
  p = 1;
  do
  :: p <= PLACES ->
     if
     :: told[p] || met[p] -> alive[p] == 0
     :: else
     fi;
     assert(alive[p] == 0);
     p++
  :: else -> break
  od;
  finished = true
}

active proctype observer() {
  timeout -> assert(finished)
}

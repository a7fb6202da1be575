/*
 * The side area of a ring (csrc/conn/side.c): one block that the ring names for good, made by whoever needs it first, any of whom may be
 * killed on the way.
 * Stands for: csrc/conn/side.c: give; csrc/heap/reclaim.c: sweep_transit is_carried; csrc/ring/recovery.c: carries_side_of
 *
 * Each maker allocates a block, sends it at a position that names him, and names it in the ring by CAS; who loses takes his back. Before
 * every step he may be killed. The sweep goes on all the while, and once more when all is quiet.
 *
 * Shown: a block that the ring names is never freed; when all is quiet, every block is free or named.
 */
#ifndef MAKERS
#define MAKERS 2
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#define NONE 15

#define FREE 0
#define OWNED 1
#define TRANSIT 2

byte state[MAKERS]; /* of the block of each maker; versions: a word that has changed never comes back */
byte side = NONE;   /* whose block the ring names */
bool dead[MAKERS];
byte crashes, finished;

#define CRASH atomic { crashes < CRASHES -> crashes++; dead[me] = true; goto gone }
#define STEP(action) if :: atomic { action } :: CRASH fi

inline release(b) {
  assert(side != b);
  state[b] = FREE
}

inline name() { STEP(if :: side == NONE -> side = me :: else -> lost = true fi) }
inline send() { STEP(assert(state[me] == OWNED); state[me] = TRANSIT) }

proctype maker(byte me) {
  bool lost;
  STEP(state[me] = OWNED);
#ifdef BROKEN_NAME_FIRST
  name();
  send();
#else
  send();
  name();
#endif
  if
  :: lost ->
     STEP(assert(state[me] == TRANSIT); state[me] = OWNED);
     STEP(release(me))
  :: else -> STEP(skip) /* he may be killed when it is done */
  fi;
gone:
  finished++
}

inline ask() { is_dead = dead[b] }
inline look() { is_named = (side == b) }

inline sweep() {
  b = 0;
  do
  :: b < MAKERS ->
     found = state[b];
     if
     :: found == OWNED && dead[b] -> atomic { if :: state[b] == OWNED -> release(b) :: else fi }
     :: found == TRANSIT ->
#ifdef BROKEN_LOOK_FIRST
        look();
        ask();
#else
        ask();
        look();
#endif
        atomic { if :: is_dead && !is_named && state[b] == TRANSIT -> release(b) :: else fi }
     :: else
     fi;
     b++
  :: else -> break
  od
}

active proctype sweeper() {
  byte b, found;
  bool is_dead, is_named;
  atomic {
    do
    :: b < MAKERS -> run maker(b); b++
    :: else -> break
    od
  }
  do
  :: sweep()
  :: finished == MAKERS -> break
  od;
  sweep();
  b = 0;
  do
  :: b < MAKERS -> assert(state[b] == FREE || side == b); b++
  :: else -> break
  od
}

/*
 * The ring of csrc/ring/: a bounded multi-producer multi-consumer ring whose cells are claimed by compare-and-swap, and its
 * recovery when a producer or a consumer is killed. docs/architecture.md, section Ring, is the text that this file checks.
 * With LAG one producer is in a row: he leaves tail where it is after a claim of his, as long as that is less than LAG behind, tries the
 * place behind his last claim next, and brings tail up at the end.
 *
 * Stands for: csrc/ring/row.c: fmp_ring_begin_push_in_row catch_up; csrc/ring/ring.c: fmp_ring_begin_push fmp_ring_cancel_push fmp_ring_begin_pop advance_head; csrc/ring/recovery.c: recover fmp_ring_may_pop fmp_ring_may_push
 *
 * Two producers push MSGS messages each through CAP cells to two consumers. Before every step a process may be killed, exactly
 * CRASHES times before all is quiet; dead[] is the truth that the kernel tells to whoever asks. Each shared access is one step; the local
 * decision that follows it is part of the step. Memory is sequentially consistent here: the ring needs no more than release and
 * acquire on the cell's word (docs/memory-model.md, table R).
 *
 * Waiting: a process that finds nothing to do blocks until something that it has looked at changes, or the owner of the cell it
 * looked at is dead. Wake-ups are eventcount.pml's subject.
 *
 * Shown: no message is delivered twice; a published message is lost only with its taker; the messages of a producer are taken in its
 * order; a ring of maxsize BOUND never holds more; when nothing moves any more, a living consumer sleeps only on an empty ring, a living
 * producer only behind a live message (never wedged). With -DNP and no progress label, any cycle is an error: every retry is
 * paid for by somebody's progress.
 */
#ifndef CAP
#define CAP 2
#endif
#ifndef MSGS
#define MSGS 2 /* per producer */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef BOUND
#define BOUND 0 /* maxsize; 0 = only the cells bound it */
#endif

#ifdef LAG
#define BEHIND LAG
#else
#define BEHIND 1
#endif

#define NPROC 4 /* 0 and 1 produce, 2 and 3 consume */
#define NOBODY 7
#define LIMIT (BOUND -> BOUND : CAP)

#define EMPTY 0
#define CLAIMED 1
#define FULL 2
#define TAKEN 3

#define LAP(p) ((p) / CAP)
#define BIT(m) (1 << (m))

typedef cell_t {
  byte lap;
  byte phase;
  byte owner;
  byte record /* the message, outside of the state word; 0 = half written */
};

cell_t cell[CAP];
byte head, tail;
bool dead[NPROC];
bool done[NPROC];
byte crashes;

/* Ghosts: what the properties speak of. Messages are numbered 1..2*MSGS, the first producer's first. */
int published, delivered, lost;
byte last_taken[2];
byte inside; /* claimed or published, and not yet taken */

/* One step of a process, or its death. The locals of a dead process are reset, to keep the state space small. */
#define STEP(action) if :: atomic { action } :: CRASH fi
#define CRASH atomic { crashes < CRASHES -> crashes++; dead[me] = true; FORGET; goto gone }

#define SAME_WORD(i) (cell[i].lap == lap && cell[i].phase == phase && cell[i].owner == owner)
#define LOAD_WORD(i) lap = cell[i].lap; phase = cell[i].phase; owner = cell[i].owner
#define STORE_WORD(i, l, p, o) cell[i].lap = l; cell[i].phase = p; cell[i].owner = o
#define OWNED (phase == CLAIMED || phase == TAKEN)

/* A cell whose owner is dead: CAS to EMPTY of the next lap. Whatever was in the dead hand is gone. */
inline recover(i) {
  if
  :: SAME_WORD(i) ->
     assert(dead[owner]);
     if
     :: phase == TAKEN -> lost = lost | BIT(cell[i].record)
     :: phase == CLAIMED -> inside--
     fi;
     cell[i].record = 0;
#ifdef BROKEN_RECOVER_SAME_LAP
     STORE_WORD(i, lap, EMPTY, NOBODY)
#else
     STORE_WORD(i, lap + 1, EMPTY, NOBODY)
#endif
  :: else
  fi
}

inline help(counter, position) {
#ifdef BROKEN_HELP_ADD
  counter = counter + 1
#else
  if :: counter == position -> counter = position + 1 :: else fi
#endif
}

#ifdef LAG
/* Producer 0 is in a row. The place to try: behind the row's last one, if the word is not there yet. */
#define IN_ROW(me) (me == 0)
#ifdef BROKEN_LAG
#define MAY_LAG(counter, next) true
#else
#define MAY_LAG(counter, next) (next - counter < LAG)
#endif
#define PLACE(counter, next) (next > counter && MAY_LAG(counter, next) -> next : counter)
inline move(counter, position, next) {
  if
  :: IN_ROW(me) ->
     next = position + 1;
     if :: MAY_LAG(counter, next) :: else -> counter = next fi
  :: else -> help(counter, position)
  fi
}
#else
#define PLACE(counter, next) counter
#define move(counter, position, next) help(counter, position)
#endif

#ifdef BROKEN_NO_RECOVERY
#define KNOWN_DEAD(who) false
#else
#define KNOWN_DEAD(who) dead[who]
#endif

#ifdef BROKEN_NO_HELP
#define MAY_HELP false /* only the owner of the cell moves head and tail */
#else
#define MAY_HELP true
#endif

proctype producer(byte me) {
  byte t, h, lap, phase, owner, sent;
  byte next; /* behind the row's last claim */
  bool guessed; /* t is next, not tail */
#define FORGET_POSITION t = 0; h = 0; lap = 0; phase = 0; owner = 0; guessed = false
#define FORGET FORGET_POSITION; sent = 0; next = 0

push:
  if :: sent == MSGS -> goto finished :: else fi;
again:
  STEP(t = PLACE(tail, next); guessed = (t != tail));
  STEP(
    LOAD_WORD(t % CAP);
    if
    :: lap == LAP(t) && phase == EMPTY -> goto free
    :: guessed && !(lap == LAP(t) && phase == EMPTY) -> next = 0; goto again
    :: !guessed && lap < LAP(t) -> goto in_use
    :: else -> goto behind
    fi
  );
behind:
  STEP(MAY_HELP || tail != t -> help(tail, t); goto again);
in_use: /* the cell of the lap before is still in use */
  STEP(
    if
    :: OWNED && KNOWN_DEAD(owner) -> recover(t % CAP); goto again
    :: !SAME_WORD(t % CAP) || tail != t -> goto again
    fi
  );
free:
#if BOUND
  /* h is read after t: a stale t may be behind h, so the difference is signed. */
  STEP(
    h = head;
#ifdef BROKEN_BOUND
    if :: t - h <= BOUND -> goto claim :: else fi
#else
    if :: t - h < BOUND -> goto claim :: guessed && t - h >= BOUND -> next = 0; goto again :: else fi
#endif
  );
  /* Full by number: the oldest message may be gone already with nobody left to say so. Look at head's cell as a consumer does. */
#ifdef BROKEN_BOUND_NO_LOOK
  STEP(head != h || tail != t -> goto again);
#else
  STEP(LOAD_WORD(h % CAP));
  STEP(
    if
    :: MAY_HELP && (lap > LAP(h) || (lap == LAP(h) && phase == TAKEN)) -> help(head, h); goto again
    :: lap == LAP(h) && phase == CLAIMED && KNOWN_DEAD(owner) -> recover(h % CAP); goto again
    :: !SAME_WORD(h % CAP) || head != h || tail != t -> goto again
    fi
  );
#endif
claim:
#endif
  STEP(
    if
    :: cell[t % CAP].lap == LAP(t) && cell[t % CAP].phase == EMPTY ->
       STORE_WORD(t % CAP, LAP(t), CLAIMED, me); inside++; cell[t % CAP].record = 0
    :: else -> goto again
    fi
  );
  STEP(move(tail, t, next));
#ifdef CANCEL
  if
  :: STEP(
       assert(cell[t % CAP].phase == CLAIMED && cell[t % CAP].owner == me);
       STORE_WORD(t % CAP, LAP(t) + 1, EMPTY, NOBODY);
       inside--; sent++; FORGET_POSITION;
       goto push
     )
  :: true
  fi;
#endif
  STEP(cell[t % CAP].record = me * MSGS + sent + 1);
  STEP(
    assert(cell[t % CAP].lap == LAP(t) && cell[t % CAP].phase == CLAIMED && cell[t % CAP].owner == me);
    STORE_WORD(t % CAP, LAP(t), FULL, NOBODY);
    published = published | BIT(me * MSGS + sent + 1);
    sent++; FORGET_POSITION;
    goto push
  );
finished:
#ifdef LAG
  STEP(if :: next > tail -> tail = next :: else fi);
#endif
  atomic { done[me] = true; FORGET };
gone:
  skip
#undef FORGET
#undef FORGET_POSITION
}

proctype consumer(byte me) {
  byte h, lap, phase, owner, message;
#define FORGET h = 0; lap = 0; phase = 0; owner = 0; message = 0

again:
  STEP(h = head);
  STEP(
    LOAD_WORD(h % CAP);
    if
    :: lap == LAP(h) && phase == FULL -> goto take
    :: lap > LAP(h) || (lap == LAP(h) && phase == TAKEN) -> goto behind
    :: else -> goto wait
    fi
  );
behind:
  STEP(MAY_HELP || head != h -> help(head, h); goto again);
wait: /* empty (EMPTY, or a slow consumer of the lap before), or somebody is writing */
  STEP(
    if
    :: lap == LAP(h) && phase == CLAIMED && KNOWN_DEAD(owner) -> recover(h % CAP); goto again
    :: !SAME_WORD(h % CAP) || head != h -> goto again
    fi
  );
take:
  STEP(
    if
#ifdef BROKEN_TAKE_WITHOUT_CAS
    :: true ->
#else
    :: SAME_WORD(h % CAP) ->
#endif
       STORE_WORD(h % CAP, LAP(h), TAKEN, me);
       inside--;
       assert(cell[h % CAP].record > last_taken[(cell[h % CAP].record - 1) / MSGS]);
       last_taken[(cell[h % CAP].record - 1) / MSGS] = cell[h % CAP].record
    :: else -> goto again
    fi
  );
  STEP(help(head, h));
  STEP(
    message = cell[h % CAP].record;
    assert(message != 0 && (published & BIT(message)) && !(delivered & BIT(message)));
    delivered = delivered | BIT(message)
  );
  STEP(
    assert(cell[h % CAP].lap == LAP(h) && cell[h % CAP].phase == TAKEN && cell[h % CAP].owner == me);
    cell[h % CAP].record = 0;
    STORE_WORD(h % CAP, LAP(h) + 1, EMPTY, NOBODY);
    FORGET;
    goto again
  );
gone:
  skip
#undef FORGET
}

#define HEAD_IS_BEHIND (cell[head % CAP].lap > LAP(head) || (cell[head % CAP].lap == LAP(head) && cell[head % CAP].phase == TAKEN))
#define OLDEST_IS_LIVE (cell[head % CAP].lap == LAP(head) && cell[head % CAP].phase == FULL)
#define BLOCKED(p) (!dead[p] && !done[p])

init {
  byte i;
  atomic {
    for (i : 0 .. CAP - 1) { cell[i].owner = NOBODY };
    i = 0;
#ifdef ROWS_ALONE /* the other producer is not there: more steps of the one in a row */
    run producer(0); run consumer(2); run consumer(3); done[1] = true
#else
    run producer(0); run producer(1); run consumer(2); run consumer(3)
#endif
  };
  do
  :: atomic { inside > LIMIT -> assert(false) }   /* maxsize is exceeded */
  :: atomic { head > tail + BEHIND -> assert(false) } /* a claimer that died before its help may leave tail so far behind, no more */
  :: atomic {
       timeout ->
       /* Nothing moves any more. A message in the hand of a dead taker is lost with him, although no producer has met the cell yet. */
       for (i : 0 .. CAP - 1) {
         if
         :: cell[i].phase == TAKEN -> assert(dead[cell[i].owner]); lost = lost | BIT(cell[i].record)
         :: else
         fi
       };
       do /* the help that the next consumer would give */
       :: HEAD_IS_BEHIND -> head++
       :: else -> break
       od;
       if
       :: !dead[2] || !dead[3] ->
          assert((published & ~(delivered | lost)) == 0);
          assert(!BLOCKED(0) && !BLOCKED(1))
       :: else ->
          assert((!BLOCKED(0) && !BLOCKED(1)) || (OLDEST_IS_LIVE && tail - head >= LIMIT))
       fi;
       break
     }
  od
}

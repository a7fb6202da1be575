/*
 * The blocks of csrc/heap/ that travel through a ring: who owns them, and their reclamation when an owner is killed. docs/architecture.md,
 * section Blocks, is the text that this file checks.
 * Stands for: csrc/heap/transit.c: fmp_heap_send fmp_heap_receive; csrc/heap/reclaim.c: sweep_transit is_carried seize; csrc/ring/recovery.c: fmp_ring_carries
 *
 * Producers allocate a block, write it, claim the cell, send the block with it, publish. Consumers take the cell, receive the block,
 * empty the cell, read the block, free it. The ring is one cell, whose lap is the position; ring.pml has shown that this is what a ring
 * of more cells comes to. Before every step a process may be killed, exactly CRASHES times before all is quiet. Reclaimers (in the code:
 * anybody) give back what a dead process held, and then bury it; a reclaimer may be killed, and another begins again.
 *
 * Shown: a block is never freed while a living process uses it or a live message names it; never handed out twice; a receiver gets the
 * block that was sent; when all is quiet, every block is free or in a published message.
 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef RECLAIMERS
#define RECLAIMERS 1
#endif
#ifndef MSGS
#define MSGS 1 /* per producer */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif

#define NPROC (PRODUCERS + CONSUMERS + RECLAIMERS) /* in this order */
#define NOBODY 15

#define EMPTY 0
#define CLAIMED 1
#define FULL 2
#define TAKEN 3

#define FREE 0
#define OWNED 1
#define TRANSIT 2

byte lap, phase, owner = NOBODY; /* the cell's state word */
byte record;                     /* the block it names */

typedef block_t {
  byte state;
  byte name;    /* OWNED: by whom; TRANSIT: at which position */
  byte content; /* the message */
  byte user     /* ghost: the process that uses it now */
};
block_t block[BLOCKS];

bool dead[NPROC], buried[NPROC];
byte crashes;

#define STEP(action) if :: atomic { action } :: CRASH fi
#define LOCALS byte mine, l, o, b; bool taken, got
#define FORGET mine = 0; l = 0; o = 0; b = 0; taken = false; got = false
#define CRASH atomic { crashes < CRASHES -> crashes++; dead[me] = true; FORGET; goto gone }

#define IS(b, s, n) (block[b].state == s && block[b].name == n)
#define SET(b, s, n) block[b].state = s; block[b].name = n
#define HELD (phase == CLAIMED || phase == TAKEN)
#define UNUSED(b) (block[b].user == NOBODY || dead[block[b].user])

inline release(b) {
  assert(UNUSED(b) && !(phase == FULL && record == b));
  SET(b, FREE, 0);
  block[b].content = 0;
  block[b].user = NOBODY
}

/* Step one of a recovery: the exact word of the dead owner becomes EMPTY. Needs l, o, taken, b, got. */
inline recover_cell() {
  STEP(
    if
    :: HELD && dead[owner] -> l = lap; o = owner; taken = (phase == TAKEN); b = record
    :: else -> o = NOBODY
    fi
  );
  got = false;
  if
  :: o != NOBODY ->
     STEP(
       got = (lap == l && owner == o && HELD);
       if :: got -> lap++; phase = EMPTY; owner = NOBODY :: else fi
     )
  :: else
  fi;
#ifdef ON_DEAD
  /* Step two: a block that the dead consumer had taken and not received is given back by whoever emptied the cell. */
  if
  :: got && taken ->
     STEP(
#ifdef BROKEN_RECEIVE_ANY_POSITION
       got = (block[b].state == TRANSIT);
#else
       got = IS(b, TRANSIT, l);
#endif
       if :: got -> SET(b, OWNED, me); assert(UNUSED(b)); block[b].user = me :: else fi
     );
     if
     :: got -> STEP(assert(IS(b, OWNED, me)); block[b].user = NOBODY; release(b))
     :: else
     fi
  :: else
  fi;
#endif
  l = 0; o = 0; taken = false; b = 0; got = false
}

proctype producer(byte me) {
  byte sent;
  LOCALS;

  do
  :: sent == MSGS -> break
  :: else ->
     if /* any block that is free: the hints may lead anywhere */
     :: atomic { block[0].state == FREE -> mine = 0 }
#if BLOCKS > 1
     :: atomic { block[1].state == FREE -> mine = 1 }
#endif
     :: CRASH
     fi;
     STEP(
       got = (block[mine].state == FREE);
       if :: got -> assert(UNUSED(mine)); SET(mine, OWNED, me); block[mine].user = me :: else fi
     );
     if
     :: !got -> goto next
     :: else -> got = false
     fi;
     STEP(assert(IS(mine, OWNED, me)); block[mine].content = me * MSGS + sent + 1);
claim:
     STEP((phase == EMPTY) || (HELD && dead[owner]) -> skip);
     if
     :: HELD && dead[owner] -> recover_cell(); goto claim
     :: else
     fi;
     STEP(
       got = (phase == EMPTY);
       if :: got -> phase = CLAIMED; owner = me :: else fi
     );
     if :: !got -> goto claim :: else -> got = false fi;
     STEP(record = mine);
#ifndef BROKEN_SEND_AFTER_PUBLISH
     STEP(assert(IS(mine, OWNED, me)); SET(mine, TRANSIT, lap));
#endif
     STEP(
       assert(phase == CLAIMED && owner == me);
       phase = FULL; owner = NOBODY;
       block[mine].user = NOBODY;
       l = lap
     );
#ifdef BROKEN_SEND_AFTER_PUBLISH
     STEP(assert(IS(mine, OWNED, me)); SET(mine, TRANSIT, l));
#endif
     sent++;
next:
     atomic { mine = 0; l = 0; got = false }
  od;
gone:
  skip
}

proctype consumer(byte me) {
  byte message, p;
  LOCALS;

again:
  STEP((phase == FULL) || (HELD && dead[owner]) -> skip);
  if
  :: HELD && dead[owner] -> recover_cell(); goto again
  :: else
  fi;
  STEP(
    got = (phase == FULL);
    if
    :: got -> phase = TAKEN; owner = me; p = lap; block[record].user = me; message = block[record].content
    :: else
    fi
  );
  if :: !got -> goto again :: else -> got = false fi;
  STEP(mine = record);
#ifdef BROKEN_EMPTY_BEFORE_RECEIVE
  STEP(assert(phase == TAKEN && owner == me); lap++; phase = EMPTY; owner = NOBODY);
#endif
  STEP(assert(IS(mine, TRANSIT, p)); SET(mine, OWNED, me));
#ifndef BROKEN_EMPTY_BEFORE_RECEIVE
  STEP(assert(phase == TAKEN && owner == me); lap++; phase = EMPTY; owner = NOBODY);
#endif
  STEP(assert(IS(mine, OWNED, me) && block[mine].content == message && message != 0));
  STEP(
    assert(IS(mine, OWNED, me) && block[mine].user == me);
    block[mine].user = NOBODY;
    release(mine)
  );
  atomic { message = 0; p = 0; FORGET };
  goto again;
gone:
  skip
}

#ifdef BROKEN_TAKEN_IS_GONE
#define CARRIED(position) (lap == position && (phase == CLAIMED || phase == FULL))
#elif defined(CELLS_NOT_FIRST)
/* Instead of recovering the cells first: a cell in a dead hand carries nothing. */
#define CARRIED(position) (lap == position && phase != EMPTY && !(HELD && dead[owner]))
#else
#define CARRIED(position) (lap == position && phase != EMPTY)
#endif

#define TO_BURY(p) ((p) < NPROC && dead[(p) % NPROC] && !buried[(p) % NPROC])

proctype reclaimer(byte me) {
  byte victim, i, s, n;
  LOCALS;

again:
  if
  :: atomic { TO_BURY(0) -> victim = 0 }
  :: atomic { TO_BURY(1) -> victim = 1 }
  :: atomic { TO_BURY(2) -> victim = 2 }
  :: atomic { TO_BURY(3) -> victim = 3 }
  :: atomic { TO_BURY(4) -> victim = 4 }
  :: CRASH
  fi;
#if !defined(BROKEN_CELLS_NOT_FIRST) && !defined(CELLS_NOT_FIRST)
  /* First his cells, so that the blocks in them are carried no more. */
  if :: HELD && owner == victim -> recover_cell() :: else fi;
#endif
  do
  :: i == BLOCKS -> break
  :: else ->
     STEP(s = block[i].state; n = block[i].name);
     if
     :: s == OWNED && n == victim ->
        STEP(if :: IS(i, s, n) -> release(i) :: else fi)
     :: s == TRANSIT ->
        STEP(got = CARRIED(n));
        if
        :: !got -> STEP(if :: IS(i, s, n) -> release(i) :: else fi)
        :: else
        fi
     :: else
     fi;
     atomic { got = false; s = 0; n = 0; i++ }
  od;
  STEP(buried[victim] = true);
  atomic { victim = 0; i = 0; FORGET };
  goto again;
gone:
  skip
}

#define RECLAIMER_LIVES (!dead[NPROC - 1] || (RECLAIMERS > 1 && !dead[NPROC - 2]))

init {
  byte i;
  atomic {
    for (i : 0 .. BLOCKS - 1) { block[i].user = NOBODY };
    for (i : 0 .. NPROC - 1) {
      if
      :: i < PRODUCERS -> run producer(i)
      :: i >= PRODUCERS && i < PRODUCERS + CONSUMERS -> run consumer(i)
      :: i >= PRODUCERS + CONSUMERS -> run reclaimer(i)
      fi
    };
    i = 0
  };
  atomic {
    timeout ->
    if
    :: RECLAIMER_LIVES ->
       for (i : 0 .. NPROC - 1) { assert(!dead[i] || buried[i]) };
       for (i : 0 .. BLOCKS - 1) {
         assert(block[i].state == FREE || (IS(i, TRANSIT, lap) && phase == FULL && record == i)
                || (block[i].state == OWNED && !dead[block[i].name]))
       }
    :: else
    fi
  }
}

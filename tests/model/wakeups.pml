/*
 * The ring and its event counts together: whom a publisher must wake. ring.pml and eventcount.pml take each half as given; this model
 * is about what is lost between them. No crash, one lap, COUNT messages.
 * Stands for: csrc/ring/ring.c: notify_in_turn; csrc/ring/row.c: fmp_ring_end_push_row
 *
 * Publishers claim positions in order and publish them in any order. Takers take them in order only, one each and then go away (a
 * worker with a long task). A publisher that notifies too early (the position before his is still being written) wakes a taker in vain,
 * so the one who fills the gap owes more than one wake-up. With ROW, one publisher sends two messages in a row: after each he may see the sleepers
 * or miss them (there is no fence), and at the end he wakes all. Producers that wait for room, and the consumers that make it, are the same with the
 * roles changed.
 *
 * Shown: when nothing moves any more, no taker sleeps while the next message is there.
 */
#ifndef COUNT
#define COUNT 3
#endif

bool published[COUNT];
bool asleep[COUNT];
byte seq, tail, head; /* seq: the event count's; that it works is eventcount.pml's subject */

#define READY (head < COUNT && published[head])

inline notify(all) {
  seq++;
  if
  :: all -> for (i : 0 .. COUNT - 1) { asleep[i] = false }; i = 0
  :: !all && asleep[0] -> asleep[0] = false
  :: !all && asleep[1] -> asleep[1] = false
  :: !all && COUNT > 2 && asleep[2 % COUNT] -> asleep[2 % COUNT] = false
  :: else
  fi
}

proctype publisher() {
  byte position, i;
  bool gap_filled;
  atomic { position = tail; tail++ };
  atomic { published[position] = true };
#ifndef BROKEN_ALWAYS_WAKE_ONE
  atomic { gap_filled = (position + 1 < COUNT && published[(position + 1) % COUNT]) };
#endif
  atomic { notify(gap_filled) }
}

proctype row_publisher() {
  byte position, sent, i;
  do
  :: sent == 2 -> break
  :: else ->
     atomic { position = tail; tail++ };
     atomic { published[position] = true; sent++ };
     if
     :: atomic { notify(true) } /* the sleepers were seen */
     :: true
     fi
  od;
#ifndef BROKEN_ROW_WITHOUT_LAST_WAKE
  atomic { notify(true) }
#endif
}

proctype taker(byte me) {
  byte key;
again:
  atomic { if :: READY -> head++; key = 0; goto taken :: else fi };
  atomic { key = seq };
  atomic { if :: READY -> goto again :: else fi };
  atomic { asleep[me] = (seq == key) };
  atomic { !asleep[me] -> goto again };
taken:
  skip
}

init {
  byte i;
  atomic {
#ifdef ROW
    run row_publisher();
    for (i : 0 .. COUNT - 1) { run taker(i) };
    for (i : 2 .. COUNT - 1) { run publisher() };
#else
    for (i : 0 .. COUNT - 1) { run publisher(); run taker(i) };
#endif
    i = 0
  };
  atomic { timeout -> assert(head == COUNT) }
}

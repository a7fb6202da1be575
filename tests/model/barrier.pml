/*
 * The barrier of csrc/sync/barrier: one word {trips, breaks, state, count or actor}. The comment of barrier.h is the text that this file checks.
 * Stands for: csrc/sync/barrier.c: fmp_barrier_arrive arrive_filling arrive_last break_generation end_generation fmp_barrier_trip fmp_barrier_abort
 *
 * PARTIES processes pass ROUNDS times. The last to arrive runs an action, and then lets the others pass. Before every step a process may be
 * killed, at most CRASHES times. With ABORT, another process may break the barrier, also while the action runs. The event count on which they
 * wait has a model of its own: here a waiter goes on when the word has changed, and looks for a dead actor at any time.
 *
 * Shown: nobody passes before all have arrived; all who leave a generation leave it the same way, passed or broken, unless the
 * barrier is broken after it has tripped (then who has not left yet is told so, as in the standard library); and who waits for ever waits for
 * a party that was killed before it arrived, never for one that had.
 */
#ifndef PARTIES
#define PARTIES 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#define NOBODY 7
#define FILLING 0
#define ACTING 1
#define BROKEN 2

byte trips, breaks, state, count, actor = NOBODY; /* the word */
bool dead[PARTIES], over[PARTIES];
byte crashes, arrived[ROUNDS + 1], passed[ROUNDS + 1], told_broken[ROUNDS + 1];
byte waiting; /* living parties that have arrived and wait */

#define MAY_DIE if :: crashes < CRASHES -> crashes++; dead[me] = true; goto gone :: skip fi
#define SAME (trips == t && breaks == b)

proctype party(byte me)
{
    byte t, b, s, c, round;
    do
    :: round == ROUNDS -> break
    :: else ->
again:  atomic { MAY_DIE; t = trips; b = breaks; s = state; c = count }
        if
        :: s == BROKEN -> break
        :: s == ACTING -> atomic { !SAME || (state == ACTING && actor != NOBODY && dead[actor]) ->
               if :: SAME -> breaks++; state = BROKEN; count = 0; actor = NOBODY :: else fi }
               goto again
        :: s == FILLING && c + 1 >= PARTIES ->
               atomic { MAY_DIE;
                   if :: SAME && state == s && count == c -> state = ACTING; actor = me; count = 0; arrived[t]++ :: else -> goto again fi }
               atomic { MAY_DIE } /* the action */
               atomic { MAY_DIE;
#ifdef BROKEN_TRIP_WITHOUT_CAS
                   trips = t + 1; state = FILLING; count = 0; actor = NOBODY;
#else
                   if :: SAME && state == ACTING && actor == me -> trips++; state = FILLING; actor = NOBODY :: else -> told_broken[t]++; break fi;
#endif
                   passed[t]++; assert(arrived[t] == PARTIES && told_broken[t] == 0) }
        :: else ->
#ifdef BROKEN_ARRIVE_WITHOUT_CAS
               atomic { MAY_DIE; count = c + 1; arrived[t]++; waiting++ }
#else
               atomic { MAY_DIE;
                   if :: SAME && state == s && count == c -> count++; arrived[t]++; waiting++ :: else -> goto again fi }
#endif
               do
               :: atomic { !SAME -> waiting--; break }
#ifndef BROKEN_NO_LOOK_AT_ACTOR
               :: atomic { SAME && state == ACTING && actor != NOBODY && dead[actor] ->
                      breaks++; state = BROKEN; actor = NOBODY; count = 0 }
#endif
               :: atomic { crashes < CRASHES -> crashes++; dead[me] = true; waiting--; goto gone }
               od
               atomic {
                   if
                   :: breaks != b -> told_broken[t]++; assert(passed[t] == 0 || trips != t); break
                   :: else -> passed[t]++; assert(arrived[t] == PARTIES && told_broken[t] == 0)
                   fi }
        fi;
        round++
    od
gone: over[me] = true
}

#ifdef ABORT
active proctype breaker()
{
    atomic { state != BROKEN -> breaks++; state = BROKEN; count = 0; actor = NOBODY }
}
#endif

active proctype judge()
{
    byte i, missing;
    atomic { for (i : 0 .. PARTIES - 1) { run party(i) } }
    timeout -> /* nothing goes on: who waits, waits for one who was killed before he arrived */
    atomic {
        for (i : 0 .. PARTIES - 1) { if :: dead[i] -> missing++ :: else fi }
        assert(waiting == 0 || (missing > 0 && state == FILLING && arrived[trips] < PARTIES))
    }
}

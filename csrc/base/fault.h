/*
 * Fault points: named places between two steps of a protocol where a test can kill, stop or delay the process. Nothing
 * in a release build.
 *
 * With -DFMP_FAULT_POINTS the environment variable FASTMP_FAULT="name:n" makes the process SIGKILL itself when it
 * passes the point `name` for the n-th time (n counts from 1). Called by: every unit with a protocol; driven by tests/c
 * and tests/crash, and by tests/chaos, where any point may kill.
 */
#ifndef FMP_BASE_FAULT_H
#define FMP_BASE_FAULT_H

#include <stdint.h>

#ifdef FMP_FAULT_POINTS
void fmp_fault_hit(const char *name);
/* Arms a point from within a test program, in this process only and not in its children; NULL disarms. */
void fmp_fault_arm(const char *name, unsigned nth);
/* What happens there: SIGKILL, SIGSTOP (somebody must continue it), or a pause that outlasts the others' patience. */
enum fmp_fault_action { FMP_FAULT_KILL, FMP_FAULT_STOP, FMP_FAULT_DELAY };
void fmp_fault_arm_with(const char *name, unsigned nth, enum fmp_fault_action action);
/* The same for one child of this process, in which nothing but C has run yet: it is armed, and watched, that is first
 * to pass a point whose name begins with `unit`. Wants a record. */
void fmp_fault_bequeath(const char *unit, const char *name, unsigned nth, enum fmp_fault_action action);
/* A storm: from now on this process (not its children) is killed at one passage of `kill_every`, whichever point it is,
 * and pauses for up to a millisecond at one of `delay_every`; 0: never. Drawn from the seed. Wants a record. */
void fmp_fault_storm(uint64_t seed, uint32_t kill_every, uint32_t delay_every);
/* The end of all storms, in all processes with this record. */
void fmp_fault_calm(void);
/* A new record of points passed, which this process shares with the children to come: its descriptor, or -errno. */
int fmp_fault_record(void);
/* The same record, in a process that has got the descriptor by other means than fork: 0 or -errno. */
int fmp_fault_join(int fd);
/* From now on the points that this process passes are counted in the record. */
void fmp_fault_watch(void);
/* The i-th point of the record and how often it was passed; NULL after the last one. */
const char *fmp_fault_passed(unsigned i, unsigned *count);
#define FMP_FAULT(name) fmp_fault_hit(name)
#else
#define FMP_FAULT(name) ((void)0)
#endif

#endif

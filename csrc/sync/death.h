/*
 * The dead: whoever sleeps is woken when a process is killed, so that nobody has to look by the clock for what a killed
 * process has left: a wake-up that it owed, a cell, a lock. Called by: sync/, pool/crew; pyrt/ says who this process
 * is.
 *
 * Each region has a word that is always 0. Every process that uses the region has told the kernel to wake one sleeper
 * of that word when its main thread ends (sys/robust.h); one that leaves in order takes that back. Who sleeps, sleeps
 * on his own word, on that one, and on a count of the deaths, as it was before his last look. The one whom the kernel
 * has woken counts, and wakes all who sleep on the count; if he is killed before he has, the kernel wakes another for
 * him. Modelled in tests/model/death.pml.
 *
 * What is not exact about it is made good by time:
 * - The kernel tells of a death a little before a look can find it (the process still gives its memory back, and its
 *   other threads may still run): so after a death everybody looks soon, then after as long again as has gone by since.
 *   Within 64 ms these looks are for the next death, too.
 * - A death while nobody sleeps leaves no trace. No sleep is longer than FMP_LONGEST_RECHECK_NS, here as where the
 *   kernel does not tell.
 * - Where the kernel cannot do it (before Linux 5.16, or in a sandbox), or one of the processes uses several regions,
 *   everybody looks as often as ever.
 *
 *   order  what                                              pairs with
 *   K1     tell: the count, release                          K2, and the kernel's comparison
 *   K2     before the last look: the count, acquire          K1: a death that is told after the look ends the sleep
 */
#ifndef FMP_SYNC_DEATH_H
#define FMP_SYNC_DEATH_H

#include "shm/region.h"

/* The longest sleep without a look, whatever is told. */
#define FMP_LONGEST_RECHECK_NS (8192 * FMP_NS_PER_MS)

/* This process has joined the region, under its own name or as a forked child: its end is to be told there, unless it
 * is told in another region already. */
void fmp_death_watch(struct fmp_region *r);
/* It leaves all regions in order. */
void fmp_death_forget(void);

/* How many deaths were told to those who sleep on `word`: to be asked before the last look. */
uint32_t fmp_death_count(const void *word);
/* As sys_futex_wait, but over at a death as well, also at one that was told since the count was `told`: then
 * FMP_DEATH_TOLD. */
int fmp_death_wait(_Atomic uint32_t *word, uint32_t expected, uint32_t told, uint64_t deadline_ns);
#define FMP_DEATH_TOLD 1

/* Is a sleep on `word` over when a process is killed? */
bool fmp_death_is_told(const void *word);
/* How long to sleep on `word` from now on before a look for the dead; `untold_ns` where deaths are not told. */
uint64_t fmp_death_period_ns(const void *word, uint64_t now_ns, uint64_t untold_ns);
/* The same for who waits for something that a certain process has, and that may have been killed before the sleep, or
 * whose end may take long: `first_ns`, and after a sleep of `vain_ns` that was in vain twice that, but no longer. */
uint64_t fmp_death_slice_ns(const void *word, uint64_t now_ns, uint64_t vain_ns, uint64_t first_ns, uint64_t untold_ns);
/* Is this the main thread, which Python handles signals in? The kernel is asked once for each thread. */
bool fmp_death_in_main_thread(void);

#endif

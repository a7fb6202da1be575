/* Processes as the kernel sees them. Called by: sys/robust.c, shm/participants.c, sync/eventcount.c, sync/death.c,
 * pyrt/, pool/, py/process.c, py/dormant.c. */
#ifndef FMP_SYS_PROCESS_H
#define FMP_SYS_PROCESS_H

#include <sys/types.h>

#include "base/attr.h"

/* A descriptor (close-on-exec) that polls readable when `pid` has ended, reaped or not; or -errno (-ESRCH: no such
 * process). */
int sys_pidfd_open(pid_t pid);
/* Has the process behind `pidfd` ended? 1, 0, or -errno. `pidfd` may also be a pipe whose other end is the process's
 * alone; below 0: it has not. */
int sys_pidfd_ended(int pidfd);
/* Reaps the child behind `pidfd` if it has ended: 0, or -errno (-ECHILD: somebody has). */
int sys_reap(int pidfd);
/* Start time of `pid` in clock ticks since boot, from /proc/PID/stat. 0 or -errno. */
int sys_process_start_time(pid_t pid, uint64_t *ticks);
/* This process is killed when the thread that forked it ends, which is `parent`'s main thread: 0, or -ESRCH if the
 * parent has ended already. */
int sys_die_with_parent(pid_t parent);
/* fork(2) in which the new process is a child of this one's parent: 0 in the child, the pid, or -errno (-ENOSYS where
 * it cannot be had). The kernel writes the pid to `told` before the new process runs, and also if this one is killed
 * meanwhile: in shared memory the parent finds it there. Only in a process with a single thread, which C libraries
 * other than glibc's need not know of: no at-fork handlers run. */
pid_t sys_fork_sibling(pid_t *told);
/* Can it be had? */
bool sys_can_fork_sibling(void);
/* Is this the thread that the process began with, or was forked by? Signals are handled in it. */
bool sys_is_main_thread(void);
/* CPUs this process may run on, at least 1. */
int sys_usable_cpus(void);

#endif

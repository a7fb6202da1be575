/* Processes as the kernel sees them; see process.h. */
#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same number on every architecture */
#endif

#define WHO_IS_PIDFD 3 /* P_PIDFD, which older C libraries do not name */

int
sys_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd >= 0 ? (int)fd : -errno;
}

int
sys_pidfd_ended(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    int rc = poll(&p, 1, 0);
    if (rc < 0) {
        return -errno;
    }
    return rc > 0 && (p.revents & (POLLIN | POLLHUP)) != 0;
}

/* Field 22 of a stat line. The command's name, field 2, may hold spaces and brackets: count from the last ')'. */
static int
parse_start_time(char *line, uint64_t *ticks)
{
    char *p = strrchr(line, ')');
    for (int field = 2; p != NULL && field < 22; field++) {
        p = strchr(p + 1, ' ');
    }
    if (p == NULL) {
        return -EPROTO;
    }
    *ticks = 0;
    for (p++; *p >= '0' && *p <= '9'; p++) {
        *ticks = *ticks * 10 + (uint64_t)(*p - '0');
    }
    return 0;
}

int
sys_reap(int pidfd)
{
    siginfo_t info;
    return waitid((idtype_t)WHO_IS_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) == 0 ? 0 : -errno;
}

/* The file's path, at the end of `room`. A new process asks for its own, and the C library's way to it takes a dozen
 * pages that it has not met yet. */
static const char *
path_of_stat(pid_t pid, char room[32])
{
    static const char before[] = "/proc/", after[] = "/stat";
    char *p = room + 32 - sizeof after;
    memcpy(p, after, sizeof after);
    do {
        *--p = (char)('0' + pid % 10);
        pid /= 10;
    } while (pid > 0);
    p -= sizeof before - 1;
    return memcpy(p, before, sizeof before - 1);
}

int
sys_process_start_time(pid_t pid, uint64_t *ticks)
{
    char room[32], line[1024];
    int fd = open(path_of_stat(pid, room), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read(fd, line, sizeof line - 1);
    int err = errno;
    close(fd);
    if (n <= 0) {
        return n < 0 ? -err : -EPROTO;
    }
    line[n] = '\0';
    return parse_start_time(line, ticks);
}

int
sys_die_with_parent(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return -errno;
    }
    return getppid() == parent ? 0 : -ESRCH; /* it may have ended before the prctl */
}

/* Where the C library keeps the thread's id, as fork lets the kernel write it; NULL if it is not there. */
static pid_t *
place_of_tid(void)
{
    pid_t *place = NULL;
    if (prctl(PR_GET_TID_ADDRESS, &place) != 0 || place == NULL) {
        return NULL;
    }
    return *place == (pid_t)syscall(SYS_gettid) ? place : NULL;
}

bool
sys_can_fork_sibling(void)
{
#if defined __x86_64__ || defined __aarch64__
    return place_of_tid() != NULL;
#else
    return false;
#endif
}

static long
clone_sibling(pid_t *tid, pid_t *told)
{
    long flags = CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
#if defined __x86_64__
    return syscall(SYS_clone, flags, NULL, told, tid, NULL);
#elif defined __aarch64__
    return syscall(SYS_clone, flags, NULL, told, NULL, tid);
#else
    (void)flags, (void)tid, (void)told;
    errno = ENOSYS;
    return -1;
#endif
}

pid_t
sys_fork_sibling(pid_t *told)
{
    void *robust = NULL; /* the list of robust mutexes: the kernel forgets it at fork, the C library does not */
    size_t bytes = 0;
    pid_t *tid = place_of_tid();
    if (tid == NULL) {
        return -ENOSYS;
    }
    (void)syscall(SYS_get_robust_list, 0, &robust, &bytes);
    long pid = clone_sibling(tid, told);
    if (pid == 0 && robust != NULL) {
        (void)syscall(SYS_set_robust_list, robust, bytes);
    }
    return pid >= 0 ? (pid_t)pid : -errno;
}

bool
sys_is_main_thread(void)
{
    return (pid_t)syscall(SYS_gettid) == getpid();
}

int
sys_usable_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 2; /* more than 1024 CPUs, or a sandbox: at any rate not a single one that we know of */
    }
    return CPU_COUNT(&set);
}

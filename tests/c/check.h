/* The unit programs' test kit: checks, forked children, and nothing left behind.
 *
 * A program holds `static void test_x(void)` functions and a main of
 *
 *     int main(int argc, char **argv)
 *     {
 *         CHECK_INIT(argc, argv);
 *         RUN(test_x);
 *         return check_done();
 *     }
 *
 * Each test runs in a child of its own, so that a crash, a hang (CHECK_SECONDS, 30 by default) or
 * damaged memory fails that test alone. A test must leave no child process and no descriptor
 * behind; both are checked. `program test_x` runs one test; CHECK_NOFORK=1 runs it in the program
 * itself, for a debugger. tests/c/run.py builds and runs all of these; the last line of output is
 * `N passed, N failed`. */
#ifndef FMP_TESTS_CHECK_H
#define FMP_TESTS_CHECK_H

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK_UNUSED __attribute__((unused))

static struct {
    const char *only; /* the one test asked for, or NULL */
    int passed, failed;
} check_state;

/* A failed check ends the process that made it: the parent sees exit code 1. */
#define CHECK_FAIL(...)                                 \
    do {                                                \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
        fprintf(stderr, __VA_ARGS__);                   \
        fputc('\n', stderr);                            \
        _exit(1);                                       \
    } while (0)

#define CHECK(condition)                            \
    do {                                            \
        if (!(condition))                           \
            CHECK_FAIL("not true: %s", #condition); \
    } while (0)

/* Two integers of any type. */
#define CHECK_EQ(got, wanted)                                                              \
    do {                                                                                   \
        intmax_t check_got = (intmax_t)(got), check_wanted = (intmax_t)(wanted);           \
        if (check_got != check_wanted)                                                     \
            CHECK_FAIL("%s is %jd, not %jd (%s)", #got, check_got, check_wanted, #wanted); \
    } while (0)

/* A call that returns 0 or -errno. */
#define CHECK_OK(call)                                                              \
    do {                                                                            \
        int check_rc = (int)(call);                                                 \
        if (check_rc != 0)                                                          \
            CHECK_FAIL("%s failed: %d (%s)", #call, check_rc, strerror(-check_rc)); \
    } while (0)

/* Waits until the condition holds, looking every millisecond for at most so many of them. */
#define CHECK_UNTIL(condition, milliseconds)                                         \
    do {                                                                             \
        int64_t check_end = check_now_ns() + (int64_t)(milliseconds)*1000000;        \
        while (!(condition)) {                                                       \
            if (check_now_ns() > check_end)                                          \
                CHECK_FAIL("not within %d ms: %s", (int)(milliseconds), #condition); \
            check_sleep_ms(1);                                                       \
        }                                                                            \
    } while (0)

CHECK_UNUSED static int64_t
check_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

CHECK_UNUSED static void
check_sleep_ms(int milliseconds)
{
    struct timespec span = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&span, &span) < 0 && errno == EINTR)
        ;
}

/* The next number of a row that the seed begins; a seed is not 0. */
CHECK_UNUSED static uint64_t
check_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* The state of a process as /proc tells it: 'R' runs, 'S' sleeps, 'Z' has ended, ... */
CHECK_UNUSED static char
check_state_of(pid_t pid)
{
    char path[40], line[128] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fgets(line, sizeof line, file) != NULL);
    fclose(file);
    const char *name_end = strrchr(line, ')');
    CHECK(name_end != NULL && name_end[1] == ' ');
    return name_end[2];
}

/* Waits until the child sleeps in its wait or was killed on its way: no fixed time is enough on a busy machine. */
CHECK_UNUSED static void
check_until_asleep(pid_t pid)
{
    CHECK_UNTIL(check_state_of(pid) == 'S' || check_state_of(pid) == 'Z', 30000);
}

/* Zeroed memory that forked children share, for what they have to tell. */
CHECK_UNUSED static void *
check_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

/* Runs body(arg) in a child, which then exits with 0. */
CHECK_UNUSED static pid_t
check_fork(void (*body)(void *), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body(arg);
    _exit(0);
}

/* The child's wait status; the test's own time limit bounds the wait. */
CHECK_UNUSED static int
check_wait(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        CHECK_EQ(errno, EINTR);
    return status;
}

#define CHECK_EXITED(pid, code)                    \
    do {                                           \
        int check_status = check_wait(pid);        \
        CHECK(WIFEXITED(check_status));            \
        CHECK_EQ(WEXITSTATUS(check_status), code); \
    } while (0)

#define CHECK_KILLED(pid, signal)                 \
    do {                                          \
        int check_status = check_wait(pid);       \
        CHECK(WIFSIGNALED(check_status));         \
        CHECK_EQ(WTERMSIG(check_status), signal); \
    } while (0)

static int
check_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* A child that the test did not wait for; orphans of its children come here too (subreaper). */
static bool
check_has_children(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void
check_body(void (*test)(void))
{
    int fds = check_count_fds();
    test();
    CHECK_EQ(check_count_fds(), fds);
    CHECK(!check_has_children());
}

/* A test that eats the machine's memory is what the kernel ends first, and nobody else. */
static void
check_die_first(void)
{
    FILE *file = fopen("/proc/self/oom_score_adj", "w");
    if (file != NULL) {
        fputs("1000", file);
        fclose(file);
    }
}

static void
check_child(void (*test)(void))
{
    const char *seconds = getenv("CHECK_SECONDS");
    check_die_first();
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    alarm((unsigned)(seconds != NULL ? atoi(seconds) : 30));
    check_body(test);
    exit(0); /* not _exit: the sanitizers report at exit */
}

static void
check_report(const char *name, int status, int64_t took_ns)
{
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    *(good ? &check_state.passed : &check_state.failed) += 1;
    printf("%s %s (%.2f s)", good ? "ok  " : "FAIL", name, (double)took_ns / 1e9);
    if (WIFSIGNALED(status))
        printf(WTERMSIG(status) == SIGALRM ? ": over its time limit" : ": killed by signal %d", WTERMSIG(status));
    putchar('\n');
    fflush(NULL);
}

static void
check_run(const char *name, void (*test)(void))
{
    if (check_state.only != NULL && strcmp(check_state.only, name) != 0)
        return;
    int64_t start = check_now_ns();
    int status = 0;
    if (getenv("CHECK_NOFORK") != NULL) {
        check_body(test);
    } else {
        fflush(NULL);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            check_child(test);
        status = check_wait(pid);
        kill(-pid, SIGKILL); /* what a failed test left running; none after a good one */
    }
    check_report(name, status, check_now_ns() - start);
}

#define RUN(test) check_run(#test, test)
#define CHECK_INIT(argc, argv) (check_state.only = (argc) > 1 ? (argv)[1] : NULL)

static int
check_done(void)
{
    printf("%d passed, %d failed\n", check_state.passed, check_state.failed);
    return check_state.failed > 0 || check_state.passed == 0;
}

#endif

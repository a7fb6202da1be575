/* The fault points of test builds; see fault.h. */
#include "base/fault.h"

#ifdef FMP_FAULT_POINTS
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"

#define POINTS_MAX 128
#define NAME_MAX_BYTES 48

#define DELAY_NS 200000000L /* longer than a waiter waits before it asks who lives */
#define STORM_DELAY_NS 1000000L

static const char *armed_name;
static unsigned armed_left;
static enum fmp_fault_action armed_action;
static pid_t armed_pid, watched_pid; /* what is armed or watched is one process, without its children */

static struct {
    pid_t pid;
    uint64_t state;
    uint32_t kill_every, delay_every;
} storm;

static struct {
    pid_t from;
    const char *unit, *name;
    unsigned nth;
    enum fmp_fault_action action;
} will;

/* Outlives the process that it is about: a killed one cannot tell what it has passed. */
static struct passed {
    char name[NAME_MAX_BYTES];
    _Atomic uint32_t count;
} * record;

/* The last two records have no names: their counts say whether the storms are over, and whether the will has its heir.
 */
#define NAMED_MAX (POINTS_MAX - 2)
#define CALM (&record[POINTS_MAX - 1].count)
#define INHERITED (&record[POINTS_MAX - 2].count)

void
fmp_fault_arm_with(const char *name, unsigned nth, enum fmp_fault_action action)
{
    armed_name = name;
    armed_left = nth;
    armed_action = action;
    armed_pid = getpid();
}

void
fmp_fault_arm(const char *name, unsigned nth)
{
    fmp_fault_arm_with(name, nth, FMP_FAULT_KILL);
}

void
fmp_fault_storm(uint64_t seed, uint32_t kill_every, uint32_t delay_every)
{
    storm.pid = getpid();
    storm.state = seed * 2 + 1;
    storm.kill_every = kill_every;
    storm.delay_every = delay_every;
}

void
fmp_fault_calm(void)
{
    fmp_store_relaxed(CALM, 1); /* relaxed: whoever sees it late is killed late */
}

int
fmp_fault_join(int fd)
{
    void *memory = mmap(NULL, POINTS_MAX * sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    record = memory;
    return 0;
}

int
fmp_fault_record(void)
{
    int fd = memfd_create("fastmp-faults", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = ftruncate(fd, POINTS_MAX * sizeof *record) == 0 ? fmp_fault_join(fd) : -errno;
    if (rc != 0) {
        close(fd);
    }
    return rc == 0 ? fd : rc;
}

void
fmp_fault_watch(void)
{
    watched_pid = getpid();
}

const char *
fmp_fault_passed(unsigned i, unsigned *count)
{
    if (record == NULL || i >= NAMED_MAX || record[i].name[0] == '\0') {
        return NULL;
    }
    *count = fmp_load_relaxed(&record[i].count); /* relaxed: read when the watched process has ended */
    return record[i].name;
}

void
fmp_fault_bequeath(const char *unit, const char *name, unsigned nth, enum fmp_fault_action action)
{
    will.from = getpid();
    will.unit = unit;
    will.name = name;
    will.nth = nth;
    will.action = action;
    fmp_store_relaxed(INHERITED, 0); /* relaxed: fork publishes it */
}

static void
inherit(const char *name)
{
    if (will.from != 0 && will.from == getppid() && strncmp(name, will.unit, strlen(will.unit)) == 0) {
        will.from = 0;
        if (fmp_fetch_add_relaxed(INHERITED, 1) == 0) { /* relaxed: a count alone */
            fmp_fault_watch();
            fmp_fault_arm_with(will.name, will.nth, will.action);
        }
    }
}

/* Only one process is watched at a time, so only it writes. */
static void
count_passage(const char *name)
{
    unsigned i = 0;
    while (i < NAMED_MAX - 1 && record[i].name[0] != '\0' && strcmp(record[i].name, name) != 0) {
        i++;
    }
    if (strlen(name) < NAME_MAX_BYTES) {
        strcpy(record[i].name, name);
        (void)fmp_fetch_add_relaxed(&record[i].count, 1); /* relaxed: a count alone */
    }
}

/* FASTMP_FAULT is read once, when the program starts: getenv is not safe in the middle of a protocol. */
__attribute__((constructor)) static void
arm_from_environment(void)
{
    static char copy[64];
    const char *env = getenv("FASTMP_FAULT");
    if (env == NULL || strlen(env) >= sizeof copy) {
        return;
    }
    strcpy(copy, env);
    char *colon = strrchr(copy, ':');
    unsigned nth = 1;
    if (colon != NULL && colon[1] >= '0' && colon[1] <= '9') {
        nth = (unsigned)strtoul(colon + 1, NULL, 10);
        *colon = '\0';
    }
    fmp_fault_arm(copy, nth);
}

static void
pause_for(long ns)
{
    struct timespec left = {.tv_nsec = ns};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void
act(enum fmp_fault_action action, long delay_ns)
{
    int before = errno; /* a point may stand between a call and the look at its error */
    if (action == FMP_FAULT_DELAY) {
        pause_for(delay_ns);
    } else {
        kill(getpid(), action == FMP_FAULT_STOP ? SIGSTOP : SIGKILL);
    }
    errno = before;
}

/* splitmix64: any seed is as good as any other. */
static uint64_t
draw(void)
{
    uint64_t z = (storm.state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void
rage(void)
{
    if (storm.kill_every != 0 && draw() % storm.kill_every == 0) {
        act(FMP_FAULT_KILL, 0);
    }
    if (storm.delay_every != 0 && draw() % storm.delay_every == 0) {
        act(FMP_FAULT_DELAY, (long)(draw() % STORM_DELAY_NS));
    }
}

void
fmp_fault_hit(const char *name)
{
    if (record != NULL && storm.pid == getpid() && fmp_load_relaxed(CALM) == 0) { /* relaxed: see fmp_fault_calm */
        rage();
    }
    inherit(name);
    if (record != NULL && watched_pid == getpid()) {
        count_passage(name);
    }
    if (armed_name != NULL && strcmp(armed_name, name) == 0 && armed_pid == getpid() && --armed_left == 0) {
        act(armed_action, DELAY_NS);
    }
}
#else
typedef int fmp_fault_is_compiled_out; /* ISO C wants a translation unit to declare something */
#endif

/* The fault points of test builds; see fault.h. */
#include "base/fault.h"

#ifdef FMP_FAULT_POINTS
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"

#define POINTS_MAX 128
#define NAME_MAX_BYTES 48

static const char *armed_name;
static unsigned armed_left;
static pid_t armed_pid, watched_pid; /* what is armed or watched is one process, without its children */

/* Outlives the process that it is about: a killed one cannot tell what it has passed. */
static struct passed {
    char name[NAME_MAX_BYTES];
    _Atomic uint32_t count;
} * record;

void
fmp_fault_arm(const char *name, unsigned nth)
{
    armed_name = name;
    armed_left = nth;
    armed_pid = getpid();
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
    if (record == NULL || i >= POINTS_MAX || record[i].name[0] == '\0') {
        return NULL;
    }
    *count = fmp_load_relaxed(&record[i].count); /* relaxed: read when the watched process has ended */
    return record[i].name;
}

/* Only one process is watched at a time, so only it writes. */
static void
count_passage(const char *name)
{
    unsigned i = 0;
    while (i < POINTS_MAX - 1 && record[i].name[0] != '\0' && strcmp(record[i].name, name) != 0) {
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

void
fmp_fault_hit(const char *name)
{
    if (record != NULL && watched_pid == getpid()) {
        count_passage(name);
    }
    if (armed_name != NULL && strcmp(armed_name, name) == 0 && armed_pid == getpid() && --armed_left == 0) {
        kill(getpid(), SIGKILL);
    }
}
#else
typedef int fmp_fault_is_compiled_out; /* ISO C wants a translation unit to declare something */
#endif

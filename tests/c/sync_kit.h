/* For the unit programs of sync/: one region, processes that take part in it, and victims that die at a fault point. */
#ifndef FMP_TESTS_SYNC_KIT_H
#define FMP_TESTS_SYNC_KIT_H

#include "base/fault.h"
#include "check.h"
#include "shm/participants.h"
#include "sys/clock.h"

static struct fmp_region kit_region;

/* A region in which this process is a participant, and `bytes` of zeroed memory in it. */
static void *
kit_open(void)
{
    CHECK_OK(fmp_region_create(&kit_region, FMP_REGION_SIZE_MIN));
    CHECK_OK(fmp_participant_join(&kit_region));
    return fmp_at(&kit_region, FMP_HEAP_OFF);
}

static void
kit_close(void)
{
    fmp_participant_leave(&kit_region);
    fmp_region_close(&kit_region);
}

struct kit_child {
    void (*body)(void *);
    void *arg;
    const char *point; /* dies there, if not NULL */
    unsigned nth;
};

static void
kit_child_body(void *arg)
{
    struct kit_child *child = arg;
    kit_region.me = 0;
    CHECK_OK(fmp_participant_join(&kit_region));
    fmp_fault_arm(child->point, child->nth);
    child->body(child->arg);
    fmp_participant_leave(&kit_region);
}

/* A child that takes part in the region, runs body(arg), and leaves in order. */
CHECK_UNUSED static pid_t
kit_spawn(void (*body)(void *), void *arg)
{
    struct kit_child child = {.body = body, .arg = arg};
    return check_fork(kit_child_body, &child);
}

/* The same, killed when it passes the fault point for the n-th time. */
CHECK_UNUSED static pid_t
kit_spawn_victim(void (*body)(void *), void *arg, const char *point, unsigned nth)
{
    struct kit_child child = {.body = body, .arg = arg, .point = point, .nth = nth};
    return check_fork(kit_child_body, &child);
}

CHECK_UNUSED static void
kit_join(pid_t pid)
{
    int status = check_wait(pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

CHECK_UNUSED static uint64_t
kit_in_ms(uint64_t ms)
{
    return sys_now_ns() + ms * FMP_NS_PER_MS;
}

#endif

/* The fault points of test builds; see fault.h. */
#include "base/fault.h"

#ifdef FMP_FAULT_POINTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *armed_name;
static unsigned armed_left;

void
fmp_fault_arm(const char *name, unsigned nth)
{
    armed_name = name;
    armed_left = nth;
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
    if (armed_name != NULL && strcmp(armed_name, name) == 0 && --armed_left == 0) {
        kill(getpid(), SIGKILL);
    }
}
#else
typedef int fmp_fault_is_compiled_out; /* ISO C wants a translation unit to declare something */
#endif

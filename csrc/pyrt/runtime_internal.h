/* What the runtime knows of this process. Called by: runtime.c, fork.c. */
#ifndef FMP_PYRT_RUNTIME_INTERNAL_H
#define FMP_PYRT_RUNTIME_INTERNAL_H

#include <pthread.h>

#include "pyrt/runtime.h"

/* All of it is private to the process. The mutex guards the table of handles against a fork from a thread without the
 * GIL. */
struct fmp_runtime {
    struct fmp_space *space; /* the default one, or NULL */
    bool left;               /* this process has left all spaces for good */
    bool forks_dormant;      /* the children that are forked now begin later, if at all */
    pthread_mutex_t mutex;
};
extern struct fmp_runtime fmp_rt;

/* From now on each fork of this process, whoever makes it, is prepared and followed. 0 or an errno. */
int fmp_runtime_watch_forks(void);

#endif

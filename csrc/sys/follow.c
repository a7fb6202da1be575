/* A process that ends with another one; see follow.h. */
#include "sys/follow.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#define STACK_BYTES (256 * 1024)

static void *
watch(void *arg)
{
    struct pollfd p = {.fd = (int)(intptr_t)arg, .events = POLLIN};
    int rc;
    do {
        rc = poll(&p, 1, -1);
    } while (rc < 0 && errno == EINTR);
    if (rc > 0 && (p.revents & (POLLIN | POLLHUP)) != 0) {
        kill(getpid(), SIGKILL);
    }
    return NULL; /* the descriptor was closed by somebody: who has nothing to do still looks now and then */
}

static int
start_detached(void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;
    int rc = pthread_attr_init(&attr);
    if (rc != 0) {
        return -rc;
    }
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    rc = pthread_create(&thread, &attr, watch, arg);
    pthread_attr_destroy(&attr);
    return -rc;
}

int
sys_follow(int pidfd)
{
    sigset_t all, before;
    sigfillset(&all); /* a handler must not run on this small stack */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = start_detached((void *)(intptr_t)pidfd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* Descriptors: doorbells and polls; see io.h. */
#include "sys/io.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "sys/clock.h"

int
sys_eventfd(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

int
sys_eventfd_ring(int fd)
{
    uint64_t one = 1;
    /* EAGAIN: the counter is full, so the descriptor is readable already. */
    return write(fd, &one, sizeof one) == sizeof one || errno == EAGAIN ? 0 : -errno;
}

int
sys_eventfd_drain(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof count) == sizeof count || errno == EAGAIN ? 0 : -errno;
}

int
sys_poll_until(struct pollfd *fds, unsigned n, uint64_t deadline_ns)
{
    struct timespec left, *timeout = NULL;
    if (deadline_ns != FMP_NEVER) {
        uint64_t now = deadline_ns == 0 ? 0 : sys_now_ns();
        uint64_t ns = deadline_ns > now ? deadline_ns - now : 0;
        left.tv_sec = (time_t)(ns / FMP_NS_PER_S);
        left.tv_nsec = (long)(ns % FMP_NS_PER_S);
        timeout = &left;
    }
    int rc = ppoll(fds, n, timeout, NULL);
    return rc >= 0 ? rc : -errno;
}

/* Descriptors: doorbells and polls; see io.h. */
#include "sys/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/clock.h"

int
sys_socketpair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : -errno;
}

int
sys_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC) == 0 ? 0 : -errno;
}

int
sys_close(int fd)
{
    return close(fd) == 0 ? 0 : -errno;
}

int
sys_reopen_pipe(pid_t pid, int fd)
{
    char path[48] = "";
    if (pid == 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    } else {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
    }
    int opened = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return opened >= 0 ? opened : -errno;
}

int
sys_pipe_both_ways(void)
{
    int fds[2];
    int rc = sys_pipe(fds);
    if (rc < 0) {
        return rc;
    }
    int fd = sys_reopen_pipe(0, fds[0]);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return fd;
}

uint64_t
sys_inode(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

int
sys_put_byte(int fd, bool is_socket)
{
    const uint64_t token = 1; /* eight bytes where it is no socket: an eventfd takes no less */
    size_t bytes = is_socket ? 1 : sizeof token;
    ssize_t n = is_socket ? send(fd, &token, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) : write(fd, &token, bytes);
    return n == (ssize_t)bytes ? 0 : -errno;
}

int
sys_take_byte(int fd, bool is_socket)
{
    uint64_t token;
    size_t bytes = is_socket ? 1 : sizeof token;
    ssize_t n = is_socket ? recv(fd, &token, bytes, MSG_DONTWAIT) : read(fd, &token, bytes);
    if (n == (ssize_t)bytes) {
        return 0;
    }
    return n >= 0 ? -ENODATA : -errno;
}

int
sys_eventfd(unsigned tokens)
{
    int fd = eventfd(tokens, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
    return fd >= 0 ? fd : -errno;
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

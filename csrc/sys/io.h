/* Descriptors: doorbells and polls. Called by: sync/bell.c, conn/, py/queue.c and py/queue_bell.c. */
#ifndef FMP_SYS_IO_H
#define FMP_SYS_IO_H

#include <poll.h>
#include <sys/types.h>

#include "base/attr.h"

/* A connected pair of AF_UNIX stream sockets, close-on-exec. 0 or -errno. */
int sys_socketpair(int fds[2]);
/* A pipe, close-on-exec: fds[0] to read from, fds[1] to write to. 0 or -errno. */
int sys_pipe(int fds[2]);
int sys_close(int fd);
/* A pipe behind a single descriptor, for both its ends, non-blocking and close-on-exec; or -errno. */
int sys_pipe_both_ways(void);
/* Another process's such descriptor (pid 0: this process's), opened anew; or -errno. */
int sys_reopen_pipe(pid_t pid, int fd);
/* What tells the file behind a descriptor from others of its kind, 0 if it is not open. */
uint64_t sys_inode(int fd);
/* One token into, or out of, a socket (a byte), a pipe or an eventfd (eight bytes): 0, -EAGAIN if a socket or eventfd
 * has no room or no token, -ENODATA at end of file, or another -errno. A pipe may block: look with sys_poll_until
 * first. */
int sys_put_byte(int fd, bool is_socket);
int sys_take_byte(int fd, bool is_socket);
/* An eventfd that holds so many tokens and gives them out one by one, non-blocking and close-on-exec; or -errno. */
int sys_eventfd(unsigned tokens);
/* poll(2) until `deadline_ns` (CLOCK_MONOTONIC, FMP_NEVER for none). The number ready, 0 on timeout, -errno. */
int sys_poll_until(struct pollfd *fds, unsigned n, uint64_t deadline_ns);

#endif

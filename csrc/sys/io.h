/* Descriptors: doorbells and polls. Called by: conn/, pool/, pyrt/. */
#ifndef FMP_SYS_IO_H
#define FMP_SYS_IO_H

#include <poll.h>

#include "base/attr.h"

/* An eventfd, non-blocking and close-on-exec; the descriptor or -errno. */
int sys_eventfd(void);
/* Adds one to an eventfd: it becomes readable. 0 or -errno. */
int sys_eventfd_ring(int fd);
/* Takes all that an eventfd holds; 0 (also when it held nothing) or -errno. */
int sys_eventfd_drain(int fd);
/* poll(2) until `deadline_ns` (CLOCK_MONOTONIC, FMP_NEVER for none). The number ready, 0 on timeout, -errno. */
int sys_poll_until(struct pollfd *fds, unsigned n, uint64_t deadline_ns);

#endif

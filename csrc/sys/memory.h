/* Anonymous shared memory: one function = one system call. Called by: shm/, heap/. */
#ifndef FMP_SYS_MEMORY_H
#define FMP_SYS_MEMORY_H

#include "base/attr.h"

/* A memfd, close-on-exec, of `size` bytes, sparse, that can neither shrink nor grow. The descriptor, or -errno. */
int sys_memfd(const char *name, uint64_t size);
/* Maps `size` bytes of `fd` shared and not reserved, at *base. 0 or -errno. */
int sys_map_shared(int fd, uint64_t size, void **base);
int sys_unmap(void *base, uint64_t size);
/* Makes sure that the pages behind [off, off+len) exist: 0, or -ENOSPC / -errno. A later store cannot raise SIGBUS. */
int sys_reserve_pages(int fd, uint64_t off, uint64_t len);
/* Gives the pages behind [off, off+len) back; they read as zero afterwards. */
int sys_release_pages(int fd, uint64_t off, uint64_t len);
/* Bytes that could still be reserved without the kernel killing somebody for them: what it calls available, plus free
 * swap, or the limit of the control group if that is less. UINT64_MAX if it does not say. Reads two small files. */
uint64_t sys_memory_available(void);
/* Size of the file behind `fd` in *size. */
int sys_file_size(int fd, uint64_t *size);
/* Is it a memfd that nobody can shrink? Then memory mapped from it stays. */
bool sys_cannot_shrink(int fd);
/* So many random bytes (at most 256). 0 or -errno. */
int sys_random(void *bytes, size_t count);

#endif

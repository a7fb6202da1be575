/* Memory, most of it anonymous and shared: one function = one system call. Called by: shm/, heap/, pyrt/runtime.c,
 * wire/large.c. */
#ifndef FMP_SYS_MEMORY_H
#define FMP_SYS_MEMORY_H

#include "base/attr.h"

/* A memfd, close-on-exec, of `size` bytes, sparse, that can neither shrink nor grow nor be sealed in any other way. The
 * descriptor, or -errno. */
int sys_memfd(const char *name, uint64_t size);
/* Maps `size` bytes of `fd` shared and not reserved, at *base: a multiple of a huge page if that can be had. 0 or
 * -errno. */
int sys_map_shared(int fd, uint64_t size, void **base);
int sys_unmap(void *base, uint64_t size);
/* How much the process may map, as it is limited now; UINT64_MAX without a limit. */
uint64_t sys_address_space(void);
/* Makes sure that the pages behind [off, off+len) exist: 0, or -ENOSPC / -errno. A later store cannot raise SIGBUS. */
int sys_reserve_pages(int fd, uint64_t off, uint64_t len);
/* A page table's worth of small pages: what one huge page takes the place of. */
#define SYS_HUGE_BYTES (UINT64_C(1) << 21)
/* Makes huge pages of what is mapped shared at [p, p+len), whole huge pages of which each holds at least one small page
 * already; the rest of it reads as zero. 0; or -errno, and then some may be huge, and nothing else has changed: EINVAL
 * where the kernel knows nothing of it, ENOMEM, EBUSY or EAGAIN where it has none now. */
int sys_collapse_pages(void *p, uint64_t len);
/* Asks for huge pages where [p, p+len), whole ones of this process alone, is used for the first time. It may be in
 * vain.
 */
void sys_ask_for_huge_pages(void *p, uint64_t len);
/* Is the small page that begins at p, of memory of this process alone, there already? */
bool sys_is_resident(void *p);
/* Gives the pages behind [off, off+len) back; they read as zero afterwards. */
int sys_release_pages(int fd, uint64_t off, uint64_t len);
/* available.c. Bytes that could still be reserved without the kernel killing somebody for them, and of how many: of the
 * machine's memory, or of a control group's, whichever has less left. UINT64_MAX if nobody says. Reads some small
 * files.
 */
struct sys_memory {
    uint64_t available, total;
};
struct sys_memory sys_memory_available(void);
/* Size of the file behind `fd` in *size. */
int sys_file_size(int fd, uint64_t *size);
/* Is it a memfd that nobody can shrink? Then memory mapped from it stays. */
bool sys_cannot_shrink(int fd);
/* So many random bytes (at most 256). 0 or -errno. */
int sys_random(void *bytes, size_t count);

#endif

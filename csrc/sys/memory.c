/* Anonymous shared memory; see memory.h. */
#include "sys/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* Not executable, for good, where the kernel knows of that. */
static int
memfd(const char *name)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
    return fd >= 0 || errno != EINVAL ? fd : memfd_create(name, flags);
}

int
sys_memfd(const char *name, uint64_t size)
{
    int fd = memfd(name);
    if (fd < 0) {
        return -errno;
    }
    /* SEAL: nor can anybody who has the descriptor take its pages from the others, or forbid them to write. */
    if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    return fd;
}

static void *
map_at(void *hint, int fd, uint64_t size)
{
    return mmap(hint, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
}

int
sys_map_shared(int fd, uint64_t size, void **base)
{
    void *p = map_at(NULL, fd, size);
    uintptr_t beyond = (uintptr_t)p % SYS_HUGE_BYTES;
    if (p != MAP_FAILED && beyond != 0) {
        /* Mappings grow down, so a little below it there is room, too; it is a hint, and may lead anywhere. */
        munmap(p, size);
        p = map_at((char *)p - beyond, fd, size);
    }
    if (p == MAP_FAILED) {
        return -errno;
    }
    madvise(p, size, MADV_DONTDUMP); /* a core file of a sparse terabyte helps nobody; failure does no harm */
    *base = p;
    return 0;
}

int
sys_unmap(void *base, uint64_t size)
{
    return munmap(base, size) == 0 ? 0 : -errno;
}

uint64_t
sys_address_space(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : UINT64_MAX;
}

int
sys_reserve_pages(int fd, uint64_t off, uint64_t len)
{
    for (;;) {
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno == EDQUOT || errno == ENOMEM ? -ENOSPC : -errno;
        }
    }
}

int
sys_collapse_pages(void *p, uint64_t len)
{
    return madvise(p, len, MADV_COLLAPSE) == 0 ? 0 : -errno;
}

void
sys_ask_for_huge_pages(void *p, uint64_t len)
{
    madvise(p, len, MADV_HUGEPAGE);
}

bool
sys_is_resident(void *p)
{
    unsigned char is = 0;
    return mincore(p, 1, &is) == 0 && (is & 1) != 0;
}

int
sys_release_pages(int fd, uint64_t off, uint64_t len)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(fd, mode, (off_t)off, (off_t)len) == 0 ? 0 : -errno;
}

int
sys_file_size(int fd, uint64_t *size)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    *size = (uint64_t)st.st_size;
    return 0;
}

bool
sys_cannot_shrink(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

int
sys_random(void *bytes, size_t count)
{
    return getrandom(bytes, count, 0) == (ssize_t)count ? 0 : -errno;
}

/* Anonymous shared memory; see memory.h. */
#include "sys/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int
sys_memfd(const char *name, uint64_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)size) < 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    return fd;
}

int
sys_map_shared(int fd, uint64_t size, void **base)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
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

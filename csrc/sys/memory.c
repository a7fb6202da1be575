/* Anonymous shared memory; see memory.h. */
#include "sys/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int
sys_memfd(const char *name, uint64_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
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

/* The start of a small text file, as a string; empty if it cannot be read. */
static void
read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
}

/* The number behind `name` in a text, in units of 1024 bytes; 0 if it is not there. */
static uint64_t
kib_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static uint64_t
group_limit(void)
{
    char text[32];
    read_text("/sys/fs/cgroup/memory.max", text, sizeof text);
    return text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : UINT64_MAX;
}

uint64_t
sys_memory_available(void)
{
    char text[2048];
    read_text("/proc/meminfo", text, sizeof text);
    uint64_t available = kib_of(text, "MemAvailable:"), limit = group_limit();
    if (available == 0) {
        return limit;
    }
    available += kib_of(text, "SwapFree:");
    return available < limit ? available : limit;
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

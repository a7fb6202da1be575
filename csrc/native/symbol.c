/* Libraries and functions in them; see symbol.h. */
#include "native/symbol.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/types.h>
#include <unistd.h>

bool
fmp_native_locate(uintptr_t address, const char **path, uintptr_t *offset)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (dladdr1((void *)address, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || map == NULL) {
        return false;
    }
    *path = map->l_name;
    *offset = address - map->l_addr;
    return true;
}

int
fmp_native_open(const char *path, uintptr_t offset, uintptr_t *address, const char **why)
{
    struct link_map *map = NULL;
    void *library = dlopen(path[0] != '\0' ? path : NULL, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL || dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) {
        *why = dlerror();
        return -ENOENT;
    }
    *address = map->l_addr + offset;
    return 0;
}

/* Through the kernel, which says whether there is memory, where a load would be a SIGSEGV. */
int
fmp_native_read_code(uintptr_t address, unsigned char *code)
{
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = pread(fd, code, FMP_NATIVE_CODE_BYTES, (off_t)address);
    int rc = n < 0 ? -errno : (int)n;
    close(fd);
    return rc;
}

/* How much memory the machine and the control groups still have to give; see memory.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/memory.h"

#define PATH_BYTES 512

/* Where a version of the control groups keeps its numbers. */
struct layout {
    const char *root, *limit, *used, *inactive, *active; /* the last two: lines of memory.stat */
};

static const struct layout v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                 "total_inactive_file ", "total_active_file "};
static const struct layout v2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "\ninactive_file ",
                                 "\nactive_file "};

static const struct sys_memory unknown = {.available = UINT64_MAX, .total = UINT64_MAX};

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

/* The number behind `name` in a text; 0 if it is not there. */
static uint64_t
number_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* The text of one file of a group. */
static void
read_of_group(const char *group, const char *name, char *text, size_t size)
{
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", group, name);
    read_text(path, text, size);
}

/* `memory` or what is there of `other`, whichever has less left. */
static void
take_less(struct sys_memory *memory, struct sys_memory other)
{
    if (other.available < memory->available) {
        *memory = other;
    }
}

/* What one group still allows: its limit less what it uses, but for cached files, which would make room. */
static struct sys_memory
left_in_group(const struct layout *v, const char *group)
{
    char text[4096];
    read_of_group(group, v->limit, text, sizeof text);
    uint64_t limit = text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (limit >= (uint64_t)INT64_MAX / 2) {
        return unknown; /* "max", or the largest number of pages */
    }
    read_of_group(group, v->used, text, sizeof text);
    uint64_t used = strtoull(text, NULL, 10);
    read_of_group(group, "memory.stat", text, sizeof text);
    uint64_t cached = number_of(text, v->inactive) + number_of(text, v->active);
    used -= cached < used ? cached : used;
    return (struct sys_memory){.available = used < limit ? limit - used : 0, .total = limit};
}

/* What a group and those around it allow. In a container its own group may be mounted as the root: what is not there
 * is passed over. */
static void
look_at_groups(struct sys_memory *memory, const struct layout *v, const char *path)
{
    char group[PATH_BYTES];
    int n = snprintf(group, sizeof group, "%s%s", v->root, path);
    size_t root = strlen(v->root);
    for (size_t end = n > 0 && (size_t)n < sizeof group ? (size_t)n : root; end >= root; end--) {
        if (end == root || group[end] == '\0' || group[end] == '/') {
            group[end] = '\0';
            take_less(memory, left_in_group(v, group));
        }
    }
}

/* A line of /proc/self/cgroup: number:controllers:path. */
static void
look_at_line(struct sys_memory *memory, char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL) {
        return;
    }
    *path++ = '\0';
    if (controllers[1] == '\0') {
        look_at_groups(memory, &v2, path);
    } else if (strstr(controllers, "memory") != NULL) {
        look_at_groups(memory, &v1, path);
    }
}

struct sys_memory
sys_memory_available(void)
{
    struct sys_memory memory = unknown;
    char text[4096], *rest = NULL;
    read_text("/proc/meminfo", text, sizeof text);
    uint64_t available = number_of(text, "MemAvailable:");
    if (available != 0) {
        memory.available = (available + number_of(text, "SwapFree:")) * 1024;
        memory.total = number_of(text, "MemTotal:") * 1024;
    }
    read_text("/proc/self/cgroup", text, sizeof text);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        look_at_line(&memory, line);
    }
    return memory;
}

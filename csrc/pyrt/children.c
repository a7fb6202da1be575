/* The children of this process; see children.h. */
#include "pyrt/children.h"

#include <stdlib.h>

static struct child {
    pid_t pid;
    uint32_t id;
} * children;
static size_t used, room;

void
fmp_children_add(pid_t pid, uint32_t id)
{
    if (used == room) {
        size_t more = room == 0 ? 16 : room * 2;
        struct child *grown = realloc(children, more * sizeof *grown);
        if (grown == NULL) {
            return;
        }
        children = grown;
        room = more;
    }
    children[used++] = (struct child){.pid = pid, .id = id};
}

uint32_t
fmp_children_take(pid_t pid)
{
    for (size_t i = 0; i < used; i++) {
        if (children[i].pid == pid) {
            uint32_t id = children[i].id;
            children[i] = children[--used];
            return id;
        }
    }
    return 0;
}

void
fmp_children_forget(void)
{
    used = 0;
}

/* The children of this process; see children.h. */
#include "pyrt/children.h"

#include <stdlib.h>

static struct fmp_child *children;
static size_t used, room;

int
fmp_children_add(const struct fmp_child *child)
{
    if (used == room) {
        size_t more = room == 0 ? 16 : room * 2;
        struct fmp_child *grown = realloc(children, more * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        children = grown;
        room = more;
    }
    children[used++] = *child;
    return 0;
}

static void
take(size_t i, struct fmp_child *child)
{
    *child = children[i];
    children[i] = children[--used];
}

bool
fmp_children_take(pid_t pid, struct fmp_child *child)
{
    for (size_t i = 0; i < used; i++) {
        if (children[i].pid == pid) {
            take(i, child);
            return true;
        }
    }
    return false;
}

static bool
is_to_come(const struct fmp_child *child, uint32_t reserved)
{
    return child->pid == 0 && child->reserved == reserved;
}

bool
fmp_children_take_reserved(uint32_t reserved, struct fmp_child *child)
{
    for (size_t i = 0; i < used; i++) {
        if (is_to_come(&children[i], reserved)) {
            take(i, child);
            return true;
        }
    }
    return false;
}

struct fmp_child *
fmp_children_reserved(uint32_t reserved, unsigned nth)
{
    for (size_t i = 0; i < used; i++) {
        if (is_to_come(&children[i], reserved) && nth-- == 0) {
            return &children[i];
        }
    }
    return NULL;
}

void
fmp_children_forget(void)
{
    used = 0;
}

/* Which identity each of this process's children has, until the child is reaped. Called by: pyrt/runtime.c, under the
 * GIL or in a fresh child. */
#ifndef FMP_PYRT_CHILDREN_H
#define FMP_PYRT_CHILDREN_H

#include <sys/types.h>

#include "base/attr.h"

/* Without memory the child is not written down: what it leaves behind if it is killed is then found by the sweep. */
void fmp_children_add(pid_t pid, uint32_t id);
/* The identity of a reaped child, 0 if it was not one of ours; forgets it. */
uint32_t fmp_children_take(pid_t pid);
void fmp_children_forget(void);

#endif

/*
 * The table of this process's handles on shared blocks. Called by: pyrt/runtime.c and pyrt/fork.c, which hold its
 * mutex.
 *
 * It finds the other handles on a block in O(1): a process has one bit in the block's bitmap, however many handles it
 * has, and drops it with the last.
 */
#ifndef FMP_PYRT_HANDLES_H
#define FMP_PYRT_HANDLES_H

#include "pyrt/runtime.h"

void fmp_handles_add(struct fmp_handle *h);
void fmp_handles_remove(struct fmp_handle *h);
/* A handle on the block, or NULL. */
struct fmp_handle *fmp_handles_find(const struct fmp_space *space, fmp_off off);
/* Calls `fn` for every handle. It must not change the table. */
void fmp_handles_each(void (*fn)(struct fmp_handle *h));

#endif

/* fastmp._core.Block: a Python buffer around a received heap block. Called by: conn/message.c; views on received arrays
 * keep it alive. */
#ifndef FMP_WIRE_BLOCK_H
#define FMP_WIRE_BLOCK_H

#include "pyrt/runtime.h"

/* Takes over the block at `off`, which this process OWNS, showing its first `bytes`. A new reference; on failure (NULL)
 * the block stays the caller's. */
PyObject *fmp_block_new(struct fmp_space *space, fmp_off off, uint64_t bytes);

#endif

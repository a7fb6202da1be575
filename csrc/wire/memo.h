/*
 * The leaves of a message that may come again, by number. Called by: wire/{decode,items}.c, with the GIL.
 *
 * It holds a reference to each: whoever else holds it may let it go, as a dict does with the second of two equal keys
 * in damaged bytes. A few take no memory beyond the memo itself, which lies on the reader's stack.
 */
#ifndef FMP_WIRE_MEMO_H
#define FMP_WIRE_MEMO_H

#include "pyrt/runtime.h"

#define FMP_MEMO_FEW 16

/* Empty where `count` is 0, whatever else stands there. */
struct fmp_memo {
    size_t count, room;
    PyObject **list; /* `few`, or on the heap */
    PyObject *few[FMP_MEMO_FEW];
};

/* Gives `leaf` the next number; 0, or -1 with MemoryError. */
int fmp_memo_add(struct fmp_memo *memo, PyObject *leaf);
/* The leaf of `number`, as a new reference; NULL, without an exception, if there is none yet. */
FMP_INLINE PyObject *
fmp_memo_find(const struct fmp_memo *memo, size_t number)
{
    return FMP_LIKELY(number < memo->count) ? Py_NewRef(memo->list[number]) : NULL;
}
/* Lets all go. */
void fmp_memo_clear(struct fmp_memo *memo);

#endif

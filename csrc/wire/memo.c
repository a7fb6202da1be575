/* The leaves that may come again; see memo.h. */
#include "wire/memo.h"

#include <string.h>

/* Twice the room. */
static int
grow(struct fmp_memo *memo)
{
    bool few = memo->list == memo->few;
    PyObject **list = PyMem_Realloc(few ? NULL : memo->list, memo->room * 2 * sizeof *list);
    if (list == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (few) {
        memcpy(list, memo->few, sizeof memo->few);
    }
    memo->list = list;
    memo->room *= 2;
    return 0;
}

int
fmp_memo_add(struct fmp_memo *memo, PyObject *leaf)
{
    if (memo->count == 0) {
        memo->list = memo->few;
        memo->room = FMP_MEMO_FEW;
    } else if (memo->count == memo->room && grow(memo) < 0) {
        return -1;
    }
    memo->list[memo->count++] = Py_NewRef(leaf);
    return 0;
}

void
fmp_memo_clear(struct fmp_memo *memo)
{
    for (size_t i = 0; i < memo->count; i++) {
        Py_DECREF(memo->list[i]);
    }
    if (memo->count != 0 && memo->list != memo->few) {
        PyMem_Free(memo->list);
    }
    memo->count = 0;
}

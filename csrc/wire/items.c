/* The items of a list, one by one; see items.h. */
#include "wire/items.h"

#include <errno.h>

/* How deep the items lie, and what is in them. */
#define ITEM_DEPTH 1

/* The tag of a list or of a run that is one, or 0. */
static unsigned char
list_tag(const void *data, size_t bytes)
{
    unsigned char tag = bytes != 0 ? *(const unsigned char *)data : 0;
    FMP_READ_ONCE(tag);
    return tag == FMP_TAG_LIST || (tag >= FMP_TAG_RUN && tag < FMP_TAG_RUN + FMP_FORMS) ? tag : 0;
}

bool
fmp_items_begin(struct fmp_items *items, const void *data, size_t bytes)
{
    unsigned char tag = list_tag(data, bytes);
    if (tag == 0) {
        return false;
    }
    items->form = tag == FMP_TAG_LIST ? FMP_FORMS : tag - FMP_TAG_RUN;
    fmp_reader_begin(&items->reader, (const unsigned char *)data + 1, bytes - 1);
    size_t each = tag == FMP_TAG_LIST ? 1 : fmp_form_bytes(items->form);
    if (fmp_take_size(&items->reader, each, &items->left) < 0) {
        PyErr_Clear(); /* who decodes it is told */
        return false;
    }
    return true;
}

PyObject *
fmp_items_next(struct fmp_items *items)
{
    items->left--;
    if (items->form == FMP_FORMS) {
        return fmp_get_value(&items->reader, ITEM_DEPTH);
    }
    const unsigned char *p = fmp_take(&items->reader, fmp_form_bytes(items->form));
    return p != NULL ? fmp_run_item(p, items->form) : NULL;
}

/* The size of the tuple or list that is next, or SIZE_MAX: it is none, or not a short one. */
FMP_INLINE size_t
next_size(const struct fmp_items *items)
{
    const struct fmp_reader *r = &items->reader;
    if (items->form != FMP_FORMS || fmp_left(r) < 2) {
        return SIZE_MAX;
    }
    unsigned char tag = r->next[0], size = r->next[1];
    FMP_READ_ONCE(tag);
    FMP_READ_ONCE(size);
    return (tag == FMP_TAG_TUPLE || tag == FMP_TAG_LIST) && size != FMP_SIZE_LONG ? size : SIZE_MAX;
}

Py_ssize_t
fmp_items_next_short(struct fmp_items *items, PyObject **to, size_t most)
{
    size_t n = next_size(items);
    if (n > most) {
        return -EAGAIN;
    }
    items->left--;
    items->reader.next += 2;
    for (size_t i = 0; i < n; i++) {
        to[i] = fmp_get_value(&items->reader, ITEM_DEPTH + 1);
        if (FMP_UNLIKELY(to[i] == NULL)) {
            while (i > 0) {
                Py_DECREF(to[--i]);
            }
            return -1;
        }
    }
    return (Py_ssize_t)n;
}

int
fmp_items_end(struct fmp_items *items)
{
    fmp_memo_clear(&items->reader.memo);
    if (items->left == 0 && items->reader.next != items->reader.end && !PyErr_Occurred()) {
        fmp_wire_damaged("more than one value");
        return -1;
    }
    return 0;
}

/* Keys of dicts that came before; see keys.h. */
#include "wire/keys.h"

#include <string.h>

#include "base/copy.h"

#define SLOT_BITS 9

static struct fmp_key keys[1u << SLOT_BITS]; /* guarded by the GIL */

/* Two words of `part` bytes each cover what is no longer than both. */
FMP_INLINE uint64_t
ends(const unsigned char *data, size_t bytes, size_t part)
{
    uint64_t first = 0, last = 0;
    memcpy(&first, data, part);
    memcpy(&last, data + bytes - part, part);
    return first ^ (last << 29 | last >> 35);
}

struct fmp_key *
fmp_key_slot(const unsigned char *data, size_t bytes)
{
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t hash = bytes;
    for (; bytes > 16; data += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, data, sizeof word);
        hash = (hash ^ word) * golden;
    }
    hash ^= bytes >= 8 ? ends(data, bytes, 8) : bytes >= 4 ? ends(data, bytes, 4) : ends(data, bytes, 2);
    hash *= golden;
    return &keys[(hash ^ hash >> 32) * golden >> (64 - SLOT_BITS)];
}

/* Are the two words that cover both texts the same? */
#define SAME_ENDS(type, a, b, bytes)        \
    (memcmp((a), (b), sizeof(type)) == 0 && \
     memcmp((a) + (bytes) - sizeof(type), (b) + (bytes) - sizeof(type), sizeof(type)) == 0)

/* FMP_KEY_MIN to FMP_KEY_MAX bytes, without a call. */
FMP_INLINE bool
is_same(const unsigned char *a, const unsigned char *b, size_t bytes)
{
    return bytes >= 16  ? SAME_ENDS(struct fmp_copy_pair, a, b, bytes)
           : bytes >= 8 ? SAME_ENDS(uint64_t, a, b, bytes)
           : bytes >= 4 ? SAME_ENDS(uint32_t, a, b, bytes)
                        : SAME_ENDS(uint16_t, a, b, bytes);
}

PyObject *
fmp_key_find(struct fmp_key *slot, uint64_t message, const unsigned char *data, size_t bytes)
{
    PyObject *str = slot->str;
    if (str == NULL || (size_t)PyUnicode_GET_LENGTH(str) != bytes || slot->message == message ||
        !is_same(PyUnicode_DATA(str), data, bytes)) {
        return NULL;
    }
    slot->message = message;
    return Py_NewRef(str);
}

void
fmp_key_keep(struct fmp_key *slot, uint64_t message, PyObject *str)
{
    slot->message = message;
    Py_XSETREF(slot->str, Py_NewRef(str));
}

/*
 * The one definition of the wire format. Called by: wire/ only.
 *
 *     message := value                                              plain objects, written and read in C
 *              | PICKLE  pickle                                     everything else
 *              | BUFFERS pickle {pad buffer}... table trailer       the same with out-of-band buffers
 *
 *     value   := 0x80..0xff                      a small int: the tag less FMP_TAG_INT_ZERO
 *              | NONE | TRUE | FALSE
 *              | INT8|INT16|INT32|INT64|UINT64   1, 2, 4 or 8 bytes
 *              | FLOAT                           8 bytes
 *              | leaf
 *              | MEMO + leaf                     the same, and it gets the next number, from 0 on
 *              | REF .. 0x7f                     the leaf of a number below FMP_REFS_SHORT: the tag less REF
 *              | REF32                           the leaf of any number, which takes 4 bytes
 *              | TUPLE|LIST                      size, and so many values
 *              | DICT                            size, and so many pairs of values
 *              | RUN + form                      size, and so many int8, int16, int32, int64 or double: a whole list;
 *              | RUN + form + RUN_TUPLE          or a whole tuple
 *              | BYTEARRAY                       size, and so many bytes
 *              | ARRAY                           a typecode of the array module in one byte, size, and so many bytes
 *     leaf    := BYTES|ASCII|UCS1|UCS2|UCS4      size, and so many bytes or characters of 1, 1, 2 or 4 bytes
 *     size    := 0..254 in one byte | 255 and 8 bytes
 *
 *     buffer  := raw bytes; the pad before it aligns it to FMP_WIRE_ALIGN within the message
 *     table   := for each buffer: offset in the message, bytes * 4 + its flags; 8 bytes each
 *     trailer := bytes of the pickle, number of buffers; 8 bytes each
 *
 * A leaf that comes again is one object with the leaf of that number, which lies before it in the same message.
 *
 * Numbers are little-endian, as the machine is: a message never leaves it. Nothing but buffers is aligned. The trailer
 * is found from the end of the message, so a pickle can be written before it is known how many buffers follow.
 */
#ifndef FMP_WIRE_FORMAT_H
#define FMP_WIRE_FORMAT_H

#include "base/attr.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied from and to memory as they are");
static_assert(sizeof(long) == sizeof(int64_t), "long is what Python converts fastest");

enum fmp_wire_tag {
    FMP_TAG_NONE = 1,
    FMP_TAG_TRUE,
    FMP_TAG_FALSE,
    FMP_TAG_INT8,
    FMP_TAG_INT16,
    FMP_TAG_INT32,
    FMP_TAG_INT64,
    FMP_TAG_UINT64,
    FMP_TAG_FLOAT,
    FMP_TAG_BYTES,
    FMP_TAG_ASCII,
    FMP_TAG_UCS1,
    FMP_TAG_UCS2,
    FMP_TAG_UCS4,
    FMP_TAG_TUPLE,
    FMP_TAG_LIST,
    FMP_TAG_DICT,
    FMP_TAG_PICKLE,
    FMP_TAG_BUFFERS,
    FMP_TAG_REF32,
    FMP_TAG_BYTEARRAY,
    FMP_TAG_ARRAY,
    FMP_TAG_RUN = 0x20,
    FMP_TAG_RUN_TUPLE = 0x08,
    FMP_TAG_RUN_END = 0x30,
    FMP_TAG_MEMO = 0x40,
    FMP_TAG_REF = 0x50,
    FMP_TAG_SMALL = 0x80,
};

/* The small int n is the tag n + FMP_TAG_INT_ZERO: -16 to 111. */
#define FMP_TAG_INT_ZERO 0x90
#define FMP_SMALL_INT_MIN (FMP_TAG_SMALL - FMP_TAG_INT_ZERO)
#define FMP_SMALL_INT_MAX (0xff - FMP_TAG_INT_ZERO)

/* So many leaves are referred to by a byte. */
#define FMP_REFS_SHORT (FMP_TAG_SMALL - FMP_TAG_REF)

/* What a run holds; the int forms are log2 of their bytes. */
enum fmp_wire_form { FMP_FORM_INT8, FMP_FORM_INT16, FMP_FORM_INT32, FMP_FORM_INT64, FMP_FORM_DOUBLE, FMP_FORMS };

/* A size of this much or more takes 9 bytes. */
#define FMP_SIZE_LONG 255
/* The most that a tag and a number after it, or a tag and a size, take. */
#define FMP_TAG_ROOM 10

/* Containers within containers; beyond it pickle does the work. Bounds both recursions. */
#define FMP_WIRE_DEPTH 16
/* Shorter lists are not looked at for runs: the second look would cost more than it saves. */
#define FMP_RUN_MIN 8
/* Bytes and strings from here on are not copied into the writer: naming them costs less than the second copy. */
#define FMP_WIRE_LEAF_MIN 256
/* Pickle buffers from here on go out of band. */
#define FMP_WIRE_BUFFER_MIN 4096
#define FMP_WIRE_ALIGN 64

/* The flags of a buffer. An object of its own is a bytes, if it is read-only, or a bytearray; others are views. */
#define FMP_BUFFER_READONLY UINT64_C(1)
#define FMP_BUFFER_OBJECT UINT64_C(2)
#define FMP_BUFFER_FLAG_BITS 2

struct fmp_wire_entry {
    uint64_t offset;
    uint64_t bytes_flags;
};

struct fmp_wire_trailer {
    uint64_t pickle_bytes;
    uint64_t buffers;
};

#endif

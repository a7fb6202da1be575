/* C types as text; see types.h. */
#include "native/types.h"

#include <stdlib.h>
#include <wchar.h>

/* Members of one structure, arrays spread out, and structures in structures: what is beyond is no argument to pass by
 * value. */
#define MEMBERS_MAX 4096u
#define DEPTH_MAX 32u

struct members {
    ffi_type **list; /* NULL-terminated once it is finished */
    size_t count, room;
};

static ffi_type *
simple(char code)
{
    static ffi_type *const wide = sizeof(wchar_t) == 4 ? &ffi_type_sint32 : &ffi_type_uint16;
    switch (code) {
    case 'b':
        return &ffi_type_schar;
    case 'c': /* libffi has no type for plain char; the extension is the caller's to see */
        return (char)-1 < 0 ? &ffi_type_schar : &ffi_type_uchar;
    case 'B':
    case '?':
        return &ffi_type_uchar;
    case 'h':
        return &ffi_type_sshort;
    case 'H':
        return &ffi_type_ushort;
    case 'i':
        return &ffi_type_sint;
    case 'I':
        return &ffi_type_uint;
    case 'l':
        return &ffi_type_slong;
    case 'L':
        return &ffi_type_ulong;
    case 'q':
        return &ffi_type_sint64;
    case 'Q':
        return &ffi_type_uint64;
    case 'f':
        return &ffi_type_float;
    case 'd':
        return &ffi_type_double;
    case 'g':
        return &ffi_type_longdouble;
    case 'u':
        return wide;
    case 'P':
        return &ffi_type_pointer;
    default:
        return NULL;
    }
}

void
fmp_native_type_free(ffi_type *type)
{
    if (type == NULL || type->type != FFI_TYPE_STRUCT) {
        return;
    }
    for (ffi_type **member = type->elements; *member != NULL; member++) {
        /* The members of an array are one type, several times over. */
        if (member == type->elements || member[0] != member[-1]) {
            fmp_native_type_free(*member);
        }
    }
    free(type->elements);
    free(type); /* NOLINT(clang-analyzer-unix.Malloc): libffi's own types are no structures */
}

static int
add(struct members *m, ffi_type *type)
{
    if (m->count == MEMBERS_MAX) {
        return -E2BIG;
    }
    if (m->count + 1 >= m->room) {
        size_t room = m->room != 0 ? 2 * m->room : 8;
        ffi_type **list = realloc(m->list, room * sizeof(ffi_type *));
        if (list == NULL) {
            return -ENOMEM;
        }
        m->list = list;
        m->room = room;
    }
    m->list[m->count++] = type;
    m->list[m->count] = NULL;
    return 0;
}

static void
drop(struct members *m)
{
    ffi_type type = {.type = FFI_TYPE_STRUCT, .elements = m->list};
    for (size_t i = 0; i < m->count; i++) {
        if (i == 0 || m->list[i] != m->list[i - 1]) {
            fmp_native_type_free(type.elements[i]);
        }
    }
    free(m->list);
}

static int parse_one(const char **text, unsigned depth, ffi_type **type);

static int
parse_number(const char **text, size_t *n)
{
    char *end;
    unsigned long x = strtoul(*text, &end, 10);
    if (end == *text || x == 0) {
        return -EINVAL;
    }
    *n = x;
    *text = end;
    return 0;
}

/* Behind '[': n, a type, ']'. */
static int
parse_array(const char **text, unsigned depth, struct members *m)
{
    size_t n;
    ffi_type *type;
    int rc = parse_number(text, &n);
    if (rc != 0) {
        return rc;
    }
    rc = n > MEMBERS_MAX ? -E2BIG : parse_one(text, depth, &type);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = add(m, type);
        if (rc != 0 && i == 0) {
            fmp_native_type_free(type);
        }
    }
    if (rc == 0 && *(*text)++ != ']') {
        return -EINVAL;
    }
    return rc;
}

static int
parse_member(const char **text, unsigned depth, struct members *m)
{
    if (**text == '[') {
        ++*text;
        return parse_array(text, depth, m);
    }
    ffi_type *type;
    int rc = parse_one(text, depth, &type);
    if (rc == 0) {
        rc = add(m, type);
        if (rc != 0) {
            fmp_native_type_free(type);
        }
    }
    return rc;
}

/* The structure of these members, with size and alignment filled in by libffi. */
static int
finish_structure(struct members *m, ffi_type **type)
{
    if (m->count == 0) {
        return -EINVAL;
    }
    ffi_type *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->type = FFI_TYPE_STRUCT;
    made->elements = m->list;
    if (ffi_get_struct_offsets(FFI_DEFAULT_ABI, made, NULL) != FFI_OK) {
        free(made);
        return -EINVAL;
    }
    *type = made;
    return 0;
}

/* Behind '{': members, '}'. */
static int
parse_structure(const char **text, unsigned depth, ffi_type **type)
{
    struct members m = {0};
    int rc = depth < DEPTH_MAX ? 0 : -E2BIG;
    while (rc == 0 && **text != '}') {
        rc = parse_member(text, depth + 1, &m);
    }
    if (rc == 0) {
        ++*text;
        rc = finish_structure(&m, type);
    }
    if (rc != 0) {
        drop(&m);
    }
    return rc;
}

static int
parse_one(const char **text, unsigned depth, ffi_type **type)
{
    char code = **text;
    if (code == '\0') {
        return -EINVAL;
    }
    ++*text;
    if (code == '{') {
        return parse_structure(text, depth, type);
    }
    *type = simple(code);
    return *type != NULL ? 0 : -EINVAL;
}

int
fmp_native_type_parse(const char *text, ffi_type **type)
{
    if (text[0] == 'v' && text[1] == '\0') {
        *type = &ffi_type_void;
        return 0;
    }
    int rc = parse_one(&text, 0, type);
    if (rc == 0 && *text != '\0') {
        fmp_native_type_free(*type);
        rc = -EINVAL;
    }
    return rc;
}

int
fmp_native_type_offsets(ffi_type *type, size_t *offsets, size_t room, size_t *count)
{
    if (type->type != FFI_TYPE_STRUCT) {
        return -EINVAL;
    }
    size_t n = 0;
    while (type->elements[n] != NULL) {
        n++;
    }
    *count = n;
    return n <= room && ffi_get_struct_offsets(FFI_DEFAULT_ABI, type, offsets) == FFI_OK ? 0 : -E2BIG;
}

/*
 * A shared dict under its lock: entries out of the table, as copies, and into it, as bytes. Called by: py/dict.c.
 *
 * Between fmp_shared_dict_enter and fmp_shared_dict_leave no Python runs: what it would need is made bytes before, and
 * objects are made of copies after.
 */
#ifndef FMP_PY_DICT_ENTRY_H
#define FMP_PY_DICT_ENTRY_H

#include "dict/dict.h"

#include <Python.h>

#include "py/dict_key.h"
#include "pyrt/runtime.h"
#include "wire/wire.h"

struct fmp_shared_dict {
    PyObject_HEAD
    struct fmp_handle handle;
    PyObject *weakrefs;
    uint64_t asked_ns; /* see struct fmp_lock_waiter */
    struct fmp_spin spin;
};

static inline struct fmp_shared_dict *
fmp_shared_dict_of(PyObject *op)
{
    return (struct fmp_shared_dict *)op;
}

/* 0 with the lock held, and `d` to use the table by; -1 with an exception set. */
int fmp_shared_dict_enter(struct fmp_shared_dict *self, struct fmp_dict *d);
/* 0; -1 with OSError if damage was met: what was found is not to be used then. */
int fmp_shared_dict_leave(struct fmp_dict *d);

/* A copy of an entry, made under the lock. */
struct fmp_copied {
    unsigned char *key, *extra, *value; /* one memory, which begins at `key` */
    size_t key_bytes, extra_bytes, value_bytes;
    unsigned char scratch[512];
};

/* Under the lock: 0 or -ENOMEM. */
int fmp_copied_make(struct fmp_copied *c, const struct fmp_dict_record *r);
void fmp_copied_release(struct fmp_copied *c);
/* The objects; NULL with an exception set. */
PyObject *fmp_copied_key(const struct fmp_copied *c);
PyObject *fmp_copied_value(const struct fmp_copied *c);
/* What was found: 1 and a copy, 0, or -1 with an exception set. With `remove` it is gone then. */
int fmp_shared_dict_fetch(PyObject *op, PyObject *key, bool remove, struct fmp_copied *c);

struct fmp_entry {
    struct fmp_key_bytes key;
    struct fmp_wire_writer *extra, *value; /* extra: the key itself, NULL if its bytes tell it */
};

/* 0, or -1 with an exception set; fmp_entry_release in either case. */
int fmp_entry_encode(struct fmp_entry *e, PyObject *key, PyObject *value);
void fmp_entry_release(struct fmp_entry *e);
/* Under the lock: 0 or -errno. As in a dict, the first key of several equal ones stays: a new value takes its bytes
 * over. */
int fmp_entry_put(struct fmp_dict *d, const struct fmp_entry *e);
/* All of it: 0, or -1 with an exception set. */
int fmp_shared_dict_set(PyObject *op, PyObject *key, PyObject *value);

#endif

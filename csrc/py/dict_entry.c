/*
 * The entries of a shared dict, see py/dict_entry.h.
 */
#include "py/dict_entry.h"

#include "pyrt/wait.h"
#include "wire/wire.h"

/* ---- the lock ---- */

static int
step(void *ctx, uint64_t deadline_ns)
{
    return fmp_lock_acquire(ctx, deadline_ns);
}

static int
enter_slow(struct fmp_shared_dict *self, struct fmp_dict *d)
{
    struct fmp_lock_waiter w = {
        .shm = &d->shm->lock, .region = d->region, .spin = self->spin, .asked_ns = self->asked_ns};
    int code = fmp_lock_spin(&w) ? 0 : fmp_py_wait(step, &w, FMP_NEVER);
    self->spin = w.spin;
    self->asked_ns = w.asked_ns;
    if (code == FMP_OWNER_DIED) {
        fmp_dict_recover(d);
        fmp_space_bury(self->handle.space, w.dead);
        return 0;
    }
    if (code != 0 && code != -ECANCELED) {
        fmp_py_raise(code, NULL);
    }
    return code == 0 ? 0 : -1;
}

int
fmp_shared_dict_enter(struct fmp_shared_dict *self, struct fmp_dict *d)
{
    struct fmp_space *space = self->handle.space;
    uint32_t me = fmp_space_me(space);
    if (FMP_UNLIKELY(me == 0) && (me = fmp_space_use(space)) == 0) {
        return -1;
    }
    *d = (struct fmp_dict){
        .heap = space->heap, .region = &space->region, .root = self->handle.off, .shm = fmp_handle_at(&self->handle)};
    return FMP_LIKELY(fmp_lock_try(&d->shm->lock, me)) ? 0 : enter_slow(self, d);
}

int
fmp_shared_dict_leave(struct fmp_dict *d)
{
    (void)fmp_lock_release(&d->shm->lock);
    if (FMP_UNLIKELY(fmp_dict_is_damaged(d))) {
        fmp_py_raise(-EBADMSG, "a damaged shared dict: clear() makes it usable, and empty");
        return -1;
    }
    return 0;
}

/* ---- bytes out of the table ---- */

int
fmp_copied_make(struct fmp_copied *c, const struct fmp_dict_record *r)
{
    size_t bytes = r->key_bytes + r->extra_bytes + r->value_bytes;
    c->key = bytes <= sizeof c->scratch ? c->scratch : PyMem_RawMalloc(bytes);
    if (c->key == NULL) {
        return -ENOMEM;
    }
    memcpy(c->key, r->data, bytes);
    c->key_bytes = r->key_bytes;
    c->extra_bytes = r->extra_bytes;
    c->value_bytes = r->value_bytes;
    c->extra = c->key + c->key_bytes;
    c->value = c->extra + c->extra_bytes;
    return 0;
}

void
fmp_copied_release(struct fmp_copied *c)
{
    if (c->key != c->scratch) {
        PyMem_RawFree(c->key);
    }
}

PyObject *
fmp_copied_key(const struct fmp_copied *c)
{
    return c->extra_bytes != 0 ? fmp_wire_decode(c->extra, c->extra_bytes, NULL) : fmp_key_decode(c->key, c->key_bytes);
}

PyObject *
fmp_copied_value(const struct fmp_copied *c)
{
    return fmp_wire_decode(c->value, c->value_bytes, NULL);
}

static int
fetch_bytes(PyObject *op, const struct fmp_key_bytes *k, bool remove, struct fmp_copied *c)
{
    struct fmp_dict d;
    if (fmp_shared_dict_enter(fmp_shared_dict_of(op), &d) < 0) {
        return -1;
    }
    struct fmp_dict_key wanted = fmp_dict_key_of(k->data, (uint32_t)k->bytes);
    const struct fmp_dict_record *r = fmp_dict_find(&d, &wanted);
    int rc = r != NULL ? fmp_copied_make(c, r) : 0;
    if (r != NULL && rc == 0 && remove) {
        (void)fmp_dict_remove(&d, &wanted);
    }
    if (fmp_shared_dict_leave(&d) < 0) {
        if (r != NULL && rc == 0) {
            fmp_copied_release(c);
        }
        return -1;
    }
    if (rc < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return r != NULL;
}

int
fmp_shared_dict_fetch(PyObject *op, PyObject *key, bool remove, struct fmp_copied *c)
{
    struct fmp_key_bytes k;
    c->key = NULL;
    int rc = fmp_key_encode(&k, key) < 0 ? -1 : fetch_bytes(op, &k, remove, c);
    fmp_key_release(&k);
    return rc;
}

/* ---- entries into the table ---- */

/* What it refers to would end with the writer: an entry is bytes, and holds nothing. */
static int
encode(struct fmp_wire_writer **w, PyObject *obj)
{
    *w = fmp_wire_writer_new();
    if (*w == NULL || fmp_wire_encode(*w, obj) < 0) {
        return -1;
    }
    if (fmp_wire_has_references(*w)) {
        PyErr_SetString(PyExc_TypeError, "a shared dict holds copies, and so no locks, queues, connections, shared "
                                         "values or views on shared arrays (array.copy() is none)");
        return -1;
    }
    return 0;
}

int
fmp_entry_encode(struct fmp_entry *e, PyObject *key, PyObject *value)
{
    e->extra = e->value = NULL;
    if (fmp_key_encode(&e->key, key) < 0 || encode(&e->value, value) < 0) {
        return -1;
    }
    return e->key.exact ? 0 : encode(&e->extra, key);
}

void
fmp_entry_release(struct fmp_entry *e)
{
    if (e->extra != NULL) {
        fmp_wire_writer_free(e->extra);
    }
    if (e->value != NULL) {
        fmp_wire_writer_free(e->value);
    }
    fmp_key_release(&e->key);
}

int
fmp_entry_put(struct fmp_dict *d, const struct fmp_entry *e)
{
    struct fmp_dict_key key = fmp_dict_key_of(e->key.data, (uint32_t)e->key.bytes);
    const struct fmp_dict_record *old = fmp_dict_find(d, &key);
    struct fmp_dict_record *record;
    size_t extra_bytes = old != NULL ? old->extra_bytes : e->extra != NULL ? fmp_wire_size(e->extra) : 0;
    size_t value_bytes = fmp_wire_size(e->value);
    if (extra_bytes > UINT32_MAX) {
        return -E2BIG;
    }
    int rc = fmp_dict_reserve(d, &key, (uint32_t)extra_bytes, value_bytes, &record);
    if (rc != 0) {
        return rc;
    }
    unsigned char *extra = record->data + record->key_bytes;
    old = old != NULL ? fmp_dict_find(d, &key) : NULL; /* the arena may be another one by now */
    if (old != NULL) {
        memcpy(extra, fmp_dict_extra(old), extra_bytes);
    } else if (extra_bytes != 0) {
        fmp_wire_copy(e->extra, extra);
    }
    fmp_wire_copy(e->value, extra + extra_bytes);
    fmp_dict_commit(d, record);
    return 0;
}

int
fmp_shared_dict_set(PyObject *op, PyObject *key, PyObject *value)
{
    struct fmp_entry e;
    struct fmp_dict d;
    int rc = fmp_entry_encode(&e, key, value);
    if (rc == 0 && (rc = fmp_shared_dict_enter(fmp_shared_dict_of(op), &d)) == 0) {
        int code = fmp_entry_put(&d, &e);
        rc = fmp_shared_dict_leave(&d);
        if (rc == 0 && code != 0) {
            fmp_py_raise(code, NULL);
            rc = -1;
        }
    }
    fmp_entry_release(&e);
    return rc;
}

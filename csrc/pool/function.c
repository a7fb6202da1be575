/*
 * Functions, sent once: a task names its function by a number and by the block in which it lies, pickled. A worker
 * loads it when it meets the number for the first time. Most go by their names, which are written and read without
 * pickle (wire/named.c). Called by: feed.c, worker.c.
 *
 * Functions and classes that pickle by reference are remembered for the life of the pool; any other callable (a
 * partial, a bound method) may change between two calls, so it is pickled anew for each job. One that refers to shared
 * objects (a partial with a lock in it) goes with each task instead: a message's references are opened by its receiver,
 * and end with it, while a function's block is read by all workers at any time.
 *
 * What pickle refuses, or what the workers do not find by its name, goes by value, if crew->by_value knows how
 * (fastmp/_by_value.py). It is asked before a callable is pickled, and again when that has failed, and returns the
 * object that is sent in its place. One that pickle refuses may be a closure, which may change: it is not remembered.
 * Of arguments and results it is asked (`refused`) only when pickle has failed, and for each function and class of the
 * main module among the arguments (`reduce_definition`).
 */
#include "pool/crew.h"

PyTypeObject *fmp_function_type;

/* In front of the pickled function in its block. */
struct function_shm {
    FMP_ALIGNED uint64_t bytes;
};

static bool
knows_by_value(const struct fmp_crew *crew)
{
    return crew->by_value != NULL && crew->by_value != Py_None;
}

/* With room for a message of so many bytes. NULL with an exception. */
static struct fmp_function *
function_alloc(struct fmp_crew *crew, size_t bytes)
{
    struct fmp_function *f = (struct fmp_function *)fmp_function_type->tp_alloc(fmp_function_type, 0);
    if (f == NULL || fmp_handle_new(&f->handle, sizeof(struct function_shm) + bytes, FMP_BLOCK_OTHER) < 0) {
        Py_XDECREF(f);
        return NULL;
    }
    ((struct function_shm *)fmp_handle_at(&f->handle))->bytes = bytes;
    f->id = ++crew->next_function_id;
    return f;
}

static void *
message_of(struct fmp_function *f)
{
    return (struct function_shm *)fmp_handle_at(&f->handle) + 1;
}

/* NULL, with an exception or not: pickle has the say. */
static struct fmp_function *
function_by_name(struct fmp_crew *crew, PyObject *callable)
{
    if (knows_by_value(crew) && !fmp_wire_goes_by_name(crew->by_value, callable)) {
        return NULL;
    }
    unsigned char message[FMP_WIRE_NAMED_MAX];
    size_t bytes = fmp_wire_name(callable, message);
    struct fmp_function *f = bytes != 0 ? function_alloc(crew, bytes) : NULL;
    if (f != NULL) {
        memcpy(message_of(f), message, bytes);
    }
    return f;
}

/* NULL without an exception: the callable refers to shared objects. */
static struct fmp_function *
function_new(struct fmp_crew *crew, PyObject *callable)
{
    struct fmp_function *named = function_by_name(crew, callable);
    if (named != NULL || PyErr_Occurred()) {
        return named;
    }
    struct fmp_wire_writer *w = fmp_crew_writer(crew);
    if (w == NULL) {
        return NULL;
    }
    struct fmp_function *f = NULL;
    if (fmp_wire_encode(w, callable) == 0 && !fmp_wire_has_references(w)) {
        f = function_alloc(crew, fmp_wire_size(w));
    }
    if (f != NULL) {
        fmp_wire_copy(w, message_of(f));
    }
    fmp_wire_writer_free(w);
    return f;
}

static bool
pickles_by_reference(PyObject *callable)
{
    return PyFunction_Check(callable) || PyType_Check(callable) ||
           (PyCFunction_Check(callable) &&
            (PyCFunction_GET_SELF(callable) == NULL || PyModule_Check(PyCFunction_GET_SELF(callable))));
}

/* What is sent for the callable, `error` (or None) being what pickle has said: a new reference; the callable itself if
 * nobody knows better. NULL with an exception. */
static PyObject *
ask_by_value(struct fmp_crew *crew, PyObject *callable, PyObject *error)
{
    if (!knows_by_value(crew) || (error == Py_None && fmp_wire_goes_by_name(crew->by_value, callable))) {
        return Py_NewRef(callable);
    }
    PyObject *asked = Py_NewRef(crew->by_value);
    PyObject *sent = PyObject_CallFunctionObjArgs(asked, callable, error, NULL);
    Py_DECREF(asked);
    if (sent == Py_None) {
        Py_SETREF(sent, Py_NewRef(callable));
    }
    return sent;
}

/* The callable could not be pickled, as the exception that is set says: *sent is what is sent in its place. NULL, with
 * an exception or not, as function_new. */
static struct fmp_function *
function_by_value(struct fmp_crew *crew, PyObject *callable, PyObject **sent)
{
    PyObject *error = fmp_take_exception();
    PyObject *instead = ask_by_value(crew, callable, error);
    if (instead == callable) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    }
    Py_DECREF(error);
    if (instead == callable || instead == NULL) {
        Py_XDECREF(instead);
        return NULL;
    }
    Py_SETREF(*sent, instead);
    return function_new(crew, instead);
}

static struct fmp_function *
found(struct fmp_crew *crew, PyObject *callable)
{
    return (struct fmp_function *)PyDict_GetItemWithError(crew->functions, callable);
}

/* Makes the function and remembers it, unless it refers to shared objects or had to go by value; then it is the job's.
 * As function_new, but borrowed. */
static struct fmp_function *
make(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, PyObject **sent)
{
    PyObject *asked = *sent;
    struct fmp_function *f = function_new(crew, asked);
    if (f == NULL && PyErr_Occurred() && asked == callable) {
        f = function_by_value(crew, callable, sent);
    }
    bool may_change = !pickles_by_reference(callable) || *sent != asked;
    if (f != NULL && !may_change && PyDict_SetItem(crew->functions, asked, (PyObject *)f) < 0) {
        Py_CLEAR(f);
    }
    Py_XSETREF(job->function, (PyObject *)f);
    return f;
}

/* Borrowed from the cache or the job. NULL, with an exception or not, as function_new; *sent is what was pickled. */
static struct fmp_function *
function_of(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, PyObject **sent)
{
    if (FMP_LIKELY(callable == crew->last_callable)) {
        return (struct fmp_function *)crew->last_function;
    }
    struct fmp_function *f = pickles_by_reference(callable) ? found(crew, callable) : NULL;
    if (f == NULL && !PyErr_Occurred()) {
        *sent = ask_by_value(crew, callable, Py_None);
        f = *sent != NULL && *sent != callable ? found(crew, *sent) : NULL;
        if (f == NULL && *sent != NULL && !PyErr_Occurred()) {
            f = make(crew, job, callable, sent);
        }
    }
    if (f != NULL && (*sent == NULL || *sent == callable) && pickles_by_reference(callable)) {
        Py_XSETREF(crew->last_callable, Py_NewRef(callable));
        Py_XSETREF(crew->last_function, Py_NewRef(f));
    }
    return f;
}

int
fmp_crew_function(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, struct fmp_task_head *head)
{
    PyObject *sent = NULL;
    struct fmp_function *f = function_of(crew, job, callable, &sent);
    if (f != NULL) {
        head->function = f->handle.off;
        head->function_id = f->id;
    } else if (sent != NULL && !PyErr_Occurred()) {
        job->is_carried = true;
        Py_XSETREF(job->function, Py_NewRef(sent));
    }
    Py_XDECREF(sent);
    return f != NULL || job->is_carried ? 0 : -1;
}

struct fmp_wire_writer *
fmp_crew_writer(struct fmp_crew *crew)
{
    struct fmp_wire_writer *w = fmp_wire_writer_new();
    if (w != NULL && knows_by_value(crew)) {
        fmp_wire_ask(w, crew->by_value);
    }
    return w;
}

/* Encodes what is sent in the place of `obj`, which pickle has refused with `error`. -1, with an exception or not: then
 * the error stands. */
static int
encode_instead(struct fmp_crew *crew, struct fmp_wire_writer *w, PyObject *obj, PyObject *error)
{
    PyObject *asked = Py_NewRef(crew->by_value);
    PyObject *instead = PyObject_CallMethod(asked, "refused", "OO", obj, error);
    int rc = instead != NULL && instead != Py_None ? fmp_wire_encode(w, instead) : -1;
    Py_XDECREF(instead);
    Py_DECREF(asked);
    return rc;
}

int
fmp_crew_encode(struct fmp_crew *crew, struct fmp_wire_writer *w, PyObject *obj)
{
    int rc = fmp_wire_encode(w, obj);
    if (FMP_LIKELY(rc == 0) || !knows_by_value(crew)) {
        return rc;
    }
    PyObject *error = fmp_take_exception();
    rc = encode_instead(crew, w, obj, error);
    if (rc < 0 && !PyErr_Occurred()) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    }
    Py_DECREF(error);
    return rc;
}

PyObject *
fmp_job_payload(const struct fmp_job *job, PyObject *payload)
{
    if (FMP_LIKELY(!job->is_carried)) {
        return Py_NewRef(payload);
    }
    return PyTuple_Pack(2, job->function != NULL ? job->function : Py_None, payload); /* None: the job has ended */
}

PyObject *
fmp_function_load(struct fmp_space *space, fmp_off off)
{
    const struct function_shm *shm = fmp_at(&space->region, off);
    uint64_t usable = fmp_heap_usable(space->heap, off);
    uint64_t bytes = usable >= sizeof *shm ? shm->bytes : UINT64_MAX;
    FMP_READ_ONCE(bytes);
    if (usable < sizeof *shm || bytes > usable - sizeof *shm) {
        return fmp_py_raise(-EBADMSG, "a task names a function that is not there");
    }
    PyObject *named = fmp_wire_find_named((const unsigned char *)(shm + 1), bytes);
    return named != NULL || PyErr_Occurred() ? named : fmp_wire_decode(shm + 1, bytes, NULL);
}

/*
 * fastmp._core.PipeEnd: the data path of Connection. Called by: fastmp/connection.py, whose Connection derives from
 * this type and from the standard library's.
 *
 * send: encode -> message in a cell or block -> ring -> bell; recv: the same way back. Every method of a connection
 * that is not an end of a pipe of ours (made on a descriptor, or closed, or become STANDARD) is the standard library's.
 */
#include "py/connection.h"

#include "py/args.h"
#include "py/types.h"
#include "wire/large.h"

static PyTypeObject *pipe_end_type; /* for super(); the same in every interpreter state */

static struct fmp_connection *
of(PyObject *self)
{
    return (struct fmp_connection *)self;
}

static bool
is_ours(struct fmp_connection *c)
{
    return FMP_LIKELY(c->end.pipe != NULL);
}

bool
fmp_connection_is_ours(PyObject *obj)
{
    return PyObject_TypeCheck(obj, pipe_end_type) && is_ours(of(obj));
}

PyObject *
fmp_connection_standard(PyObject *self, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *super = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type, (PyObject *)pipe_end_type, self, NULL);
    PyObject *method = super != NULL ? PyObject_GetAttrString(super, name) : NULL;
    Py_XDECREF(super);
    if (method == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(method, args, (size_t)nargs, kwnames);
    Py_DECREF(method);
    return result;
}

int
fmp_connection_check_readable(struct fmp_connection *c)
{
    if (FMP_UNLIKELY(!c->readable)) {
        PyErr_SetString(PyExc_OSError, "connection is write-only");
        return -1;
    }
    return 0;
}

int
fmp_connection_check_writable(struct fmp_connection *c)
{
    if (FMP_UNLIKELY(!c->writable)) {
        PyErr_SetString(PyExc_OSError, "connection is read-only");
        return -1;
    }
    return 0;
}

struct fmp_pipe *
fmp_connection_hold(struct fmp_connection *c)
{
    struct fmp_pipe *pipe = c->end.pipe;
    if (FMP_UNLIKELY(pipe == NULL)) {
        PyErr_SetString(PyExc_OSError, "handle is closed");
        return NULL;
    }
    fmp_pipe_hold(pipe);
    return pipe;
}

/* ---- send ---- */

static int
send_encoded(struct fmp_connection *c, struct fmp_wire_writer *w)
{
    struct fmp_pipe *pipe = fmp_connection_hold(c);
    if (pipe == NULL) {
        return FMP_PY_ERROR;
    }
    int rc = fmp_pipe_send(&c->end, FMP_CONNECTION_OBJECT, w);
    fmp_pipe_drop(pipe);
    return rc;
}

static int
send_object(struct fmp_connection *c, PyObject *obj)
{
    struct fmp_wire_writer *w = fmp_wire_writer_new();
    if (w == NULL) {
        return -1;
    }
    int rc = fmp_wire_encode(w, obj) == 0 ? send_encoded(c, w) : FMP_PY_ERROR;
    fmp_wire_writer_free(w);
    return rc == FMP_PY_READY ? 0 : -1;
}

PyDoc_STRVAR(send_doc, "send($self, /, obj)\n--\n\nSends an object, waiting while the pipe is full.");
static PyObject *
connection_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj"};
    PyObject *a[1];
    struct fmp_connection *c = of(self);
    if (!is_ours(c)) {
        return fmp_connection_standard(self, "send", args, nargs, kwnames);
    }
    if (fmp_connection_check_writable(c) < 0 || fmp_py_args("send", names, 1, 1, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    if (!fmp_pipe_end_decide(&c->end)) {
        return fmp_connection_standard(self, "send", args, nargs, kwnames);
    }
    return send_object(c, a[0]) < 0 ? NULL : Py_NewRef(Py_None);
}

int
fmp_connection_send_object(PyObject *self, PyObject *obj)
{
    struct fmp_connection *c = of(self);
    if (FMP_LIKELY(is_ours(c) && c->writable && fmp_pipe_end_decide(&c->end))) {
        return send_object(c, obj);
    }
    PyObject *none = connection_send(self, &obj, 1, NULL);
    Py_XDECREF(none);
    return none != NULL ? 0 : -1;
}

/* ---- recv and poll ---- */

int
fmp_connection_take(struct fmp_connection *c, struct fmp_message *m)
{
    struct fmp_pipe *pipe = fmp_connection_hold(c);
    if (pipe == NULL) {
        return FMP_PY_ERROR;
    }
    int rc = fmp_pipe_recv(&c->end, m);
    fmp_pipe_drop(pipe);
    if (FMP_UNLIKELY(rc == FMP_PIPE_EOF)) {
        PyErr_SetNone(PyExc_EOFError);
        return FMP_PY_ERROR;
    }
    return rc;
}

PyObject *
fmp_connection_load(struct fmp_connection *c, struct fmp_message *m)
{
    struct fmp_space *space = c->end.space;
    if (fmp_space_use(space) == 0) {
        Py_CLEAR(m->leaf);
        return NULL;
    }
    if (FMP_LIKELY(m->tag == FMP_CONNECTION_OBJECT)) {
        return fmp_message_decode(space, m);
    }
    PyObject *data = fmp_large_bytes(fmp_message_data(space, m), m->bytes);
    fmp_message_discard(space, m);
    PyObject *obj = data != NULL ? PyObject_CallMethod((PyObject *)c, "_loads", "O", data) : NULL;
    Py_XDECREF(data);
    return obj;
}

static PyObject *
receive(PyObject *self)
{
    struct fmp_connection *c = of(self);
    struct fmp_message m;
    if (!is_ours(c)) {
        return fmp_connection_standard(self, "recv", NULL, 0, NULL);
    }
    if (fmp_connection_check_readable(c) < 0) {
        return NULL;
    }
    switch (fmp_connection_take(c, &m)) {
    case FMP_PY_READY:
        return fmp_connection_load(c, &m);
    case FMP_PIPE_STANDARD:
        return fmp_connection_standard(self, "recv", NULL, 0, NULL);
    default:
        return NULL;
    }
}

PyDoc_STRVAR(recv_doc, "recv($self, /)\n--\n\nThe next object; waits for it. EOFError when the other end is closed.");
static PyObject *
connection_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    return fmp_py_no_args("recv", nargs) == 0 ? receive(self) : NULL;
}

PyObject *
fmp_connection_recv_object(PyObject *self)
{
    return receive(self);
}

PyDoc_STRVAR(poll_doc,
             "poll($self, /, timeout=0.0)\n--\n\n"
             "Waits up to timeout seconds (None: for ever) until recv() would not wait; whether it would not.");
static PyObject *
connection_poll(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    struct fmp_connection *c = of(self);
    PyObject *a[1];
    uint64_t deadline_ns = 0;
    if (!is_ours(c)) {
        return fmp_connection_standard(self, "poll", args, nargs, kwnames);
    }
    if (fmp_connection_check_readable(c) < 0 || fmp_py_args("poll", names, 1, 0, args, nargs, kwnames, a) < 0 ||
        (a[0] != NULL && fmp_py_poll_deadline(a[0], &deadline_ns) < 0)) {
        return NULL;
    }
    struct fmp_pipe *pipe = fmp_connection_hold(c);
    if (pipe == NULL) {
        return NULL;
    }
    int rc = fmp_pipe_poll(&c->end, deadline_ns);
    fmp_pipe_drop(pipe);
    switch (rc) {
    case FMP_PY_ERROR:
        return NULL;
    case FMP_PIPE_STANDARD:
        return fmp_connection_standard(self, "poll", args, nargs, kwnames);
    default:
        return PyBool_FromLong(rc != FMP_PY_TIMEOUT);
    }
}

PyDoc_STRVAR(arm_doc, "_arm($self, /)\n--\n\nTrue if an object is there; if not, the descriptor will be readable when "
                      "one is. For wait().");
static PyObject *
connection_arm(PyObject *self, PyObject *unused)
{
    struct fmp_connection *c = of(self);
    (void)unused;
    return PyBool_FromLong(is_ours(c) && c->readable && fmp_pipe_end_arm(&c->end) && is_ours(c));
}

PyDoc_STRVAR(
    is_ring_doc,
    "_is_ring($self, /)\n--\n\nWhether it is an open end of a pipe over rings, or of one that is not decided yet.");
static PyObject *
connection_is_ring(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(is_ours(of(self)));
}

/* ---- descriptor ---- */

PyDoc_STRVAR(fileno_doc, "fileno($self, /)\n--\n\nThe descriptor, which is readable while recv() would not wait.");
static PyObject *
connection_fileno(PyObject *self, PyObject *unused)
{
    struct fmp_connection *c = of(self);
    (void)unused;
    if (!is_ours(c) || fmp_pipe_end_watch(&c->end)) {
        return fmp_connection_standard(self, "fileno", NULL, 0, NULL);
    }
    return PyLong_FromLong(fmp_load_relaxed(&c->end.fd)); /* relaxed: changed under the GIL only */
}

PyDoc_STRVAR(close_doc, "_close($self, /)\n--\n\nCloses the descriptor and lets go of the shared memory.");
static PyObject *
connection_close(PyObject *self, PyObject *unused)
{
    struct fmp_connection *c = of(self);
    (void)unused;
    if (!is_ours(c)) {
        return fmp_connection_standard(self, "_close", NULL, 0, NULL);
    }
    fmp_pipe_end_close(&c->end);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pair_doc, "_pair(duplex)\n--\n\nMakes a pipe: its two ends.");
static PyObject *
connection_pair(PyObject *cls, PyObject *duplex_obj)
{
    PyTypeObject *type = (PyTypeObject *)cls;
    int duplex = PyObject_IsTrue(duplex_obj);
    PyObject *a = duplex < 0 ? NULL : type->tp_new(type, NULL, NULL);
    PyObject *b = a == NULL ? NULL : type->tp_new(type, NULL, NULL);
    if (b == NULL || fmp_pipe_new(&of(a)->end, &of(b)->end, duplex != 0) < 0) {
        Py_XDECREF(a);
        Py_XDECREF(b);
        return NULL;
    }
    of(a)->readable = of(b)->writable = true;
    of(a)->writable = of(b)->readable = duplex != 0;
    return Py_BuildValue("(NN)", a, b);
}

PyDoc_STRVAR(
    travel_doc,
    "_travel($self, /)\n--\n\nWhat _arrive() needs in another process, beside a copy of the descriptor; None if the "
    "end cannot travel now.");
static PyObject *
connection_travel(PyObject *self, PyObject *unused)
{
    struct fmp_connection *c = of(self);
    (void)unused;
    if (!is_ours(c)) {
        PyErr_SetString(PyExc_ValueError, "not an end of a pipe over rings");
        return NULL;
    }
    PyObject *records = fmp_pipe_end_travel(&c->end);
    if (records == NULL || records == Py_None) {
        return records;
    }
    return Py_BuildValue("(NN)", records, PyBool_FromLong(fmp_pipe_end_is_first(&c->end)));
}

PyDoc_STRVAR(arrive_doc,
             "_arrive(records, is_first, fd)\n--\n\nAn end of a pipe that exists; the descriptor is its own.");
static PyObject *
connection_arrive(PyObject *cls, PyObject *args)
{
    PyTypeObject *type = (PyTypeObject *)cls;
    PyObject *records;
    int is_first, fd;
    if (!PyArg_ParseTuple(args, "O!pi:_arrive", &PyTuple_Type, &records, &is_first, &fd)) {
        return NULL;
    }
    PyObject *self = type->tp_new(type, NULL, NULL);
    if (self == NULL || fmp_pipe_end_arrive(&of(self)->end, records, is_first != 0, fd) < 0) {
        Py_XDECREF(self);
        return NULL;
    }
    of(self)->readable = of(self)->end.in != NULL;
    of(self)->writable = of(self)->end.out != NULL;
    return self;
}

PyDoc_STRVAR(take_over_doc,
             "_take_over(other)\n--\n\nBecomes the end that `other` is, which is closed then without its descriptor.");
static PyObject *
connection_take_over(PyObject *self, PyObject *other)
{
    struct fmp_connection *to = of(self), *from;
    if (!PyObject_TypeCheck(other, pipe_end_type) || is_ours(to) || !is_ours(of(other))) {
        PyErr_SetString(PyExc_ValueError, "not an end of a pipe over rings");
        return NULL;
    }
    from = of(other);
    to->end = from->end;
    to->readable = to->readable && to->end.in != NULL;
    to->writable = to->writable && to->end.out != NULL;
    from->end.pipe = NULL;
    fmp_store_relaxed(&from->end.fd, -1); /* relaxed: changed under the GIL only */
    Py_RETURN_NONE;
}

/* ---- what the standard library's code reads and writes ---- */

static PyObject *
get_handle(PyObject *self, void *unused)
{
    int fd = fmp_load_relaxed(&of(self)->end.fd); /* relaxed: changed under the GIL only */
    (void)unused;
    if (fd < 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLong(fd);
}

/* A handle set from outside ends the pipe of rings, and leaves its descriptor to whoever has set it. */
static int
set_handle(PyObject *self, PyObject *value, void *unused)
{
    (void)unused;
    int fd = -1;
    if (value != NULL && value != Py_None && !PyArg_Parse(value, "i", &fd)) {
        return -1;
    }
    if (is_ours(of(self)) && fd == fmp_load_relaxed(&of(self)->end.fd)) { /* relaxed: changed under the GIL only */
        return 0;
    }
    fmp_pipe_end_detach(&of(self)->end);
    fmp_store_relaxed(&of(self)->end.fd, fd); /* relaxed: as above */
    return 0;
}

static PyObject *
get_flag(PyObject *self, void *offset)
{
    return PyBool_FromLong(*(bool *)((char *)self + (size_t)offset));
}

static int
set_flag(PyObject *self, PyObject *value, void *offset)
{
    int truth = value == NULL ? 0 : PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    *(bool *)((char *)self + (size_t)offset) = truth != 0;
    return 0;
}

/* ---- the type ---- */

static PyObject *
connection_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs; /* the standard library's __init__ takes them */
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        fmp_store_relaxed(&of(self)->end.fd, -1); /* relaxed: nobody knows it yet */
    }
    return self;
}

static void
connection_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    fmp_pipe_end_close(&of(self)->end);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
connection_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef connection_methods[] = {
    {"send", FAST(connection_send), send_doc},
    {"recv", (PyCFunction)(void (*)(void))connection_recv, METH_FASTCALL, recv_doc},
    {"poll", FAST(connection_poll), poll_doc},
    {"send_bytes", FAST(fmp_connection_send_bytes), fmp_connection_send_bytes_doc},
    {"recv_bytes", FAST(fmp_connection_recv_bytes), fmp_connection_recv_bytes_doc},
    {"recv_bytes_into", FAST(fmp_connection_recv_bytes_into), fmp_connection_recv_bytes_into_doc},
    {"fileno", connection_fileno, METH_NOARGS, fileno_doc},
    {"_is_ring", connection_is_ring, METH_NOARGS, is_ring_doc},
    {"_arm", connection_arm, METH_NOARGS, arm_doc},
    {"_close", connection_close, METH_NOARGS, close_doc},
    {"_travel", connection_travel, METH_NOARGS, travel_doc},
    {"_arrive", connection_arrive, METH_VARARGS | METH_CLASS, arrive_doc},
    {"_take_over", connection_take_over, METH_O, take_over_doc},
    {"_serve", (PyCFunction)(void (*)(void))fmp_connection_serve, METH_FASTCALL, fmp_connection_serve_doc},
    {"_pair", connection_pair, METH_O | METH_CLASS, pair_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef connection_getset[] = {
    {"_handle", get_handle, set_handle, "The descriptor, or None once closed.", NULL},
    {"_readable", get_flag, set_flag, "Whether recv() may be used.", (void *)offsetof(struct fmp_connection, readable)},
    {"_writable", get_flag, set_flag, "Whether send() may be used.", (void *)offsetof(struct fmp_connection, writable)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot connection_slots[] = {
    {Py_tp_doc, "An end of a pipe in shared memory; the C half of fastmp.connection.Connection."},
    {Py_tp_new, connection_new},
    {Py_tp_dealloc, connection_dealloc},
    {Py_tp_traverse, connection_traverse},
    {Py_tp_methods, connection_methods},
    {Py_tp_getset, connection_getset},
    {0, NULL},
};

static PyType_Spec connection_spec = {
    .name = "fastmp._core.PipeEnd",
    .basicsize = sizeof(struct fmp_connection),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = connection_slots,
};

int
fmp_py_register_connection(PyObject *module)
{
    pipe_end_type = fmp_py_add_type(module, &connection_spec, NULL);
    return pipe_end_type != NULL ? 0 : -1;
}

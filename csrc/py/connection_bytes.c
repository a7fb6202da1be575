/*
 * send_bytes, recv_bytes and recv_bytes_into of Connection. Called by: connection.c, in the type's method table.
 *
 * A message sent as an object and received as bytes (or the other way round) is converted by the receiver, through
 * pickle, so that the two sides may use either as with the standard library.
 */
#include "py/args.h"
#include "py/connection.h"
#include "wire/large.h"

static struct fmp_connection *
of(PyObject *self)
{
    return (struct fmp_connection *)self;
}

static int
fail(const char *text)
{
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

/* ---- send_bytes ---- */

/* An index argument; `otherwise` if it is not given or None. */
static int
index_of(PyObject *arg, Py_ssize_t otherwise, Py_ssize_t *value)
{
    *value = otherwise;
    if (arg == NULL || arg == Py_None) {
        return 0;
    }
    *value = PyNumber_AsSsize_t(arg, NULL);
    return *value == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The part of the buffer that offset and size name, in the standard library's words if there is none. */
static int
part_of(const Py_buffer *buffer, PyObject *offset_arg, PyObject *size_arg, Py_ssize_t *offset, Py_ssize_t *size)
{
    if (index_of(offset_arg, 0, offset) < 0) {
        return -1;
    }
    if (*offset < 0) {
        return fail("offset is negative");
    }
    if (buffer->len < *offset) {
        return fail("buffer length < offset");
    }
    if (index_of(size_arg, buffer->len - *offset, size) < 0) {
        return -1;
    }
    if (*size < 0) {
        return fail("size is negative");
    }
    return *size > buffer->len - *offset ? fail("buffer length < offset + size") : 0;
}

static int
send_part(struct fmp_connection *c, const char *data, size_t bytes)
{
    struct fmp_message m;
    struct fmp_space *space = c->end.space;
    if (fmp_space_use(space) == 0 || fmp_message_prepare_bytes(space, &m, FMP_CONNECTION_BYTES, data, bytes) < 0) {
        return -1;
    }
    struct fmp_pipe *pipe = fmp_connection_hold(c);
    int rc = pipe != NULL ? fmp_pipe_send_message(&c->end, &m) : FMP_PY_ERROR;
    if (rc != FMP_PY_READY) {
        fmp_message_discard(space, &m);
    }
    if (pipe != NULL) {
        fmp_pipe_drop(pipe);
    }
    return rc;
}

const char fmp_connection_send_bytes_doc[] =
    "send_bytes($self, /, buf, offset=0, size=None)\n--\n\nSends the bytes of a bytes-like object as one message.";

PyObject *
fmp_connection_send_bytes(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"buf", "offset", "size"};
    struct fmp_connection *c = of(self);
    PyObject *a[3];
    Py_buffer buffer;
    Py_ssize_t offset, size;
    if (c->end.pipe == NULL) {
        return fmp_connection_standard(self, "send_bytes", args, nargs, kwnames);
    }
    if (fmp_connection_check_writable(c) < 0) {
        return NULL;
    }
    if (!fmp_pipe_end_decide(&c->end)) {
        return fmp_connection_standard(self, "send_bytes", args, nargs, kwnames);
    }
    if (fmp_py_args("send_bytes", names, 3, 1, args, nargs, kwnames, a) < 0 ||
        PyObject_GetBuffer(a[0], &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = part_of(&buffer, a[1], a[2], &offset, &size);
    if (rc == 0) {
        rc = send_part(c, (const char *)buffer.buf + offset, (size_t)size);
    }
    PyBuffer_Release(&buffer);
    if (rc != 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- recv_bytes ---- */

/* The bytes of a message, which is let go of. */
static PyObject *
bytes_of(struct fmp_connection *c, struct fmp_message *m)
{
    struct fmp_space *space = c->end.space;
    if (fmp_space_use(space) == 0) {
        return NULL;
    }
    if (FMP_LIKELY(m->tag == FMP_CONNECTION_BYTES)) {
        PyObject *bytes = fmp_large_bytes(fmp_message_data(space, m), m->bytes);
        fmp_message_discard(space, m);
        return bytes;
    }
    PyObject *obj = fmp_connection_load(c, m);
    PyObject *bytes = obj != NULL ? PyObject_CallMethod((PyObject *)c, "_dumps", "O", obj) : NULL;
    Py_XDECREF(obj);
    return bytes;
}

/* The next message as bytes; NULL without an exception: the connection has become STANDARD. */
static PyObject *
next_bytes(struct fmp_connection *c)
{
    struct fmp_message m;
    return fmp_connection_take(c, &m) == FMP_PY_READY ? bytes_of(c, &m) : NULL;
}

/* The message is gone, and nothing more may be read, as in the standard library. */
static PyObject *
bad_message_length(PyObject *self)
{
    return PyObject_CallMethod(self, "_bad_message_length", NULL);
}

const char fmp_connection_recv_bytes_doc[] = "recv_bytes($self, /, maxlength=None)\n--\n\nThe next message as bytes; "
                                             "waits for it. EOFError when the other end is closed.";

PyObject *
fmp_connection_recv_bytes(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"maxlength"};
    struct fmp_connection *c = of(self);
    PyObject *a[1];
    Py_ssize_t limit;
    if (c->end.pipe == NULL) {
        return fmp_connection_standard(self, "recv_bytes", args, nargs, kwnames);
    }
    if (fmp_connection_check_readable(c) < 0 || fmp_py_args("recv_bytes", names, 1, 0, args, nargs, kwnames, a) < 0 ||
        index_of(a[0], PY_SSIZE_T_MAX, &limit) < 0) {
        return NULL;
    }
    if (limit < 0) {
        PyErr_SetString(PyExc_ValueError, "negative maxlength");
        return NULL;
    }
    PyObject *bytes = next_bytes(c);
    if (bytes == NULL) {
        return PyErr_Occurred() ? NULL : fmp_connection_standard(self, "recv_bytes", args, nargs, kwnames);
    }
    if (PyBytes_GET_SIZE(bytes) > limit) {
        Py_DECREF(bytes);
        return bad_message_length(self);
    }
    return bytes;
}

/* ---- recv_bytes_into ---- */

/* Raises BufferTooShort with the message, which is not lost. */
static PyObject *
too_short(PyObject *message)
{
    PyObject *module = PyImport_ImportModule("multiprocessing.context");
    PyObject *type = module != NULL ? PyObject_GetAttrString(module, "BufferTooShort") : NULL;
    if (type != NULL) {
        PyObject *error = PyObject_CallOneArg(type, message);
        if (error != NULL) {
            PyErr_SetObject(type, error);
            Py_DECREF(error);
        }
    }
    Py_XDECREF(type);
    Py_XDECREF(module);
    return NULL;
}

static PyObject *
copy_into(const Py_buffer *buffer, Py_ssize_t offset, PyObject *message)
{
    Py_ssize_t size = PyBytes_GET_SIZE(message);
    if (size > buffer->len - offset) {
        return too_short(message);
    }
    memcpy((char *)buffer->buf + offset, PyBytes_AS_STRING(message), (size_t)size);
    return PyLong_FromSsize_t(size);
}

/* The next message straight from shared memory, without a bytes object, if it fits. NULL without an exception:
 * STANDARD. */
static PyObject *
recv_into(struct fmp_connection *c, const Py_buffer *buffer, Py_ssize_t offset)
{
    struct fmp_message m;
    struct fmp_space *space = c->end.space;
    if (fmp_space_use(space) == 0 || fmp_connection_take(c, &m) != FMP_PY_READY) {
        return NULL;
    }
    if (m.tag == FMP_CONNECTION_BYTES && m.bytes <= (size_t)(buffer->len - offset)) {
        memcpy((char *)buffer->buf + offset, fmp_message_data(space, &m), m.bytes);
        fmp_message_discard(space, &m);
        return PyLong_FromSize_t(m.bytes);
    }
    PyObject *message = bytes_of(c, &m);
    PyObject *result = message != NULL ? copy_into(buffer, offset, message) : NULL;
    Py_XDECREF(message);
    return result;
}

static int
offset_into(const Py_buffer *buffer, PyObject *arg, Py_ssize_t *offset)
{
    if (index_of(arg, 0, offset) < 0) {
        return -1;
    }
    if (*offset < 0) {
        return fail("negative offset");
    }
    return *offset > buffer->len ? fail("offset too large") : 0;
}

const char fmp_connection_recv_bytes_into_doc[] =
    "recv_bytes_into($self, /, buf, offset=0)\n--\n\n"
    "Writes the next message into buf from offset on; its size. BufferTooShort, with the message, if it does not fit.";

PyObject *
fmp_connection_recv_bytes_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"buf", "offset"};
    struct fmp_connection *c = of(self);
    PyObject *a[2];
    Py_buffer buffer;
    Py_ssize_t offset;
    if (c->end.pipe == NULL) {
        return fmp_connection_standard(self, "recv_bytes_into", args, nargs, kwnames);
    }
    if (fmp_connection_check_readable(c) < 0 ||
        fmp_py_args("recv_bytes_into", names, 2, 1, args, nargs, kwnames, a) < 0 || !PyArg_Parse(a[0], "w*", &buffer)) {
        return NULL;
    }
    PyObject *result = offset_into(&buffer, a[1], &offset) == 0 ? recv_into(c, &buffer, offset) : NULL;
    PyBuffer_Release(&buffer);
    if (result == NULL && !PyErr_Occurred()) {
        return fmp_connection_standard(self, "recv_bytes_into", args, nargs, kwnames);
    }
    return result;
}

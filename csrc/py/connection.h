/* The Python object behind Connection. Called by: connection.c, connection_bytes.c,
 * connection_call.c. */
#ifndef FMP_PY_CONNECTION_H
#define FMP_PY_CONNECTION_H

#include "conn/pipe.h"
#include "pyrt/wait.h"

/* What a record of a pipe holds: an encoded object (send), or plain bytes (send_bytes). */
enum fmp_connection_kind { FMP_CONNECTION_OBJECT = FMP_MESSAGE_OBJECT, FMP_CONNECTION_BYTES = 1 };

/* An end of a pipe of ours while `end.pipe` is set; otherwise a connection of the standard library, open or closed. */
struct fmp_connection {
    PyObject_HEAD
    struct fmp_pipe_end end;
    bool readable, writable;
};

/* Calls the standard library's method: for connections that are not ours, or are closed. */
PyObject *fmp_connection_standard(PyObject *self, const char *name, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames);

/* 0, or -1 with the standard library's OSError. */
int fmp_connection_check_readable(struct fmp_connection *c);
int fmp_connection_check_writable(struct fmp_connection *c);

/* Around whatever may wait: the pipe, which stays until fmp_pipe_drop, or NULL with OSError if an argument's own code
 * (a reducer, __index__) has closed the connection. */
struct fmp_pipe *fmp_connection_hold(struct fmp_connection *c);
/* Takes the next message of a pipe of ours: FMP_PY_READY; FMP_PIPE_STANDARD (call the standard method); FMP_PY_ERROR
 * with an exception set, which may be EOFError. */
int fmp_connection_take(struct fmp_connection *c, struct fmp_message *m);
/* Decodes an object message, or loads a bytes message's pickle; lets go of it. */
PyObject *fmp_connection_load(struct fmp_connection *c, struct fmp_message *m);

/* Is it an end of a pipe of ours? */
bool fmp_connection_is_ours(PyObject *obj);
/* The methods send, 0 or -1 with an exception set, and recv of such an end, whatever its class has in their place. */
int fmp_connection_send_object(PyObject *self, PyObject *obj);
PyObject *fmp_connection_recv_object(PyObject *self);

/* A manager's server (connection_call.c). */
PyObject *fmp_connection_serve(PyObject *pipe, PyObject *const *args, Py_ssize_t nargs);
extern const char fmp_connection_serve_doc[];

/* The bytes methods (connection_bytes.c). */
PyObject *fmp_connection_send_bytes(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *fmp_connection_recv_bytes(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *fmp_connection_recv_bytes_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
extern const char fmp_connection_send_bytes_doc[], fmp_connection_recv_bytes_doc[],
    fmp_connection_recv_bytes_into_doc[];

#endif

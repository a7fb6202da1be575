/*
 * The calls of a manager's proxies over a pipe, both sides of them. Called by: fastmp/managers.py.
 *
 * What travels is what the standard library's code sends: the request (ident, method's name, args, kwds), the answer
 * (kind, result). So either side may be that code instead, and it is, for whatever is not plain: the proxy's side hands
 * on a call that has no pipe, and an answer that is no result; the server's hands on a request that it does not answer
 * with what a method returns or raises.
 */
#include "py/args.h"
#include "py/connection.h"
#include "py/types.h"
#include "pyrt/wait.h"

enum name { TLS, CONNECTION, ID, CALL_STANDARD, ANSWERED, CANNOT_ANSWER, RETURN_KIND, ERROR_KIND, NAMES };

static const char *const texts[NAMES] = {"_tls",      "connection",     "_id",     "_call_standard",
                                         "_answered", "_cannot_answer", "#RETURN", "#ERROR"};
static PyObject *names[NAMES]; /* the same in every interpreter state */

/* ---- the proxy's side ---- */

/* This thread's pipe to the server, as a new reference; NULL if there is none, with an exception set if that is an
 * error. */
static PyObject *
pipe_of(PyObject *proxy)
{
    PyObject *tls = PyObject_GetAttr(proxy, names[TLS]);
    PyObject *connection = tls != NULL ? PyObject_GetAttr(tls, names[CONNECTION]) : NULL;
    Py_XDECREF(tls);
    if (connection == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    if (!fmp_connection_is_ours(connection)) {
        Py_CLEAR(connection);
    }
    return connection;
}

static bool
is_text(PyObject *obj, enum name name)
{
    return PyUnicode_CheckExact(obj) && PyUnicode_Compare(obj, names[name]) == 0;
}

/* The result in an answer, or what the standard library makes of it. */
static PyObject *
result_of(PyObject *proxy, PyObject *answer)
{
    if (FMP_LIKELY(PyTuple_CheckExact(answer) && PyTuple_GET_SIZE(answer) == 2 &&
                   is_text(PyTuple_GET_ITEM(answer, 0), RETURN_KIND))) {
        return Py_NewRef(PyTuple_GET_ITEM(answer, 1));
    }
    return PyObject_CallMethodOneArg(proxy, names[ANSWERED], answer);
}

static PyObject *
ask(PyObject *proxy, PyObject *pipe, PyObject *const *call)
{
    PyObject *id = PyObject_GetAttr(proxy, names[ID]);
    PyObject *request = id != NULL ? PyTuple_Pack(4, id, call[0], call[1], call[2]) : NULL;
    int rc = request != NULL ? fmp_connection_send_object(pipe, request) : -1;
    Py_XDECREF(id);
    Py_XDECREF(request);
    PyObject *answer = rc == 0 ? fmp_connection_recv_object(pipe) : NULL;
    PyObject *result = answer != NULL ? result_of(proxy, answer) : NULL;
    Py_XDECREF(answer);
    return result;
}

PyDoc_STRVAR(callmethod_doc, "_callmethod($self, methodname, args=(), kwds={})\n--\n\n"
                             "Calls a method of the referent; a copy of its result.");
static PyObject *
proxy_callmethod(PyObject *proxy, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const keywords[] = {"methodname", "args", "kwds"};
    PyObject *call[4] = {proxy};
    if (fmp_py_args("_callmethod", keywords, 3, 1, args, nargs, kwnames, call + 1) < 0) {
        return NULL;
    }
    PyObject *no_args = call[2] == NULL ? call[2] = PyTuple_New(0) : NULL;
    PyObject *no_kwds = call[3] == NULL ? call[3] = PyDict_New() : NULL;
    PyObject *pipe = call[2] != NULL && call[3] != NULL ? pipe_of(proxy) : NULL;
    PyObject *result = pipe != NULL       ? ask(proxy, pipe, call + 1)
                       : PyErr_Occurred() ? NULL
                                          : PyObject_VectorcallMethod(names[CALL_STANDARD], call, 4, NULL);
    Py_XDECREF(pipe);
    Py_XDECREF(no_args);
    Py_XDECREF(no_kwds);
    return result;
}

/* ---- the server's side ---- */

/* The request's parts and what they name, borrowed from the request but for `entry` and `method`. */
struct request {
    PyObject *name, *args, *kwds;
    PyObject *entry;  /* (object, names of the methods that may be called, types of those that return proxies) */
    PyObject *method; /* the object's, to be called */
};

static bool
is_plain_entry(PyObject *entry)
{
    return PyTuple_CheckExact(entry) && PyTuple_GET_SIZE(entry) == 3 && PyAnySet_Check(PyTuple_GET_ITEM(entry, 1));
}

/* Whether the method's result is to stay in the server, and the caller gets a proxy. */
static int
makes_proxy(PyObject *types, PyObject *name)
{
    return types == Py_None ? 0 : PyDict_CheckExact(types) ? PyDict_Contains(types, name) : 1;
}

/* Whether the request is a plain one: a method that may be called, and whose result is the answer. -1 with an
 * exception. */
static int
parse(struct request *r, PyObject *request, PyObject *objects)
{
    if (!PyTuple_CheckExact(request) || PyTuple_GET_SIZE(request) != 4) {
        return 0;
    }
    PyObject *ident = PyTuple_GET_ITEM(request, 0);
    r->name = PyTuple_GET_ITEM(request, 1);
    r->args = PyTuple_GET_ITEM(request, 2);
    r->kwds = PyTuple_GET_ITEM(request, 3);
    if (!PyUnicode_CheckExact(ident) || !PyUnicode_CheckExact(r->name) || !PyTuple_CheckExact(r->args) ||
        !PyDict_CheckExact(r->kwds)) {
        return 0;
    }
    r->entry = Py_XNewRef(PyDict_GetItemWithError(objects, ident));
    if (r->entry == NULL || !is_plain_entry(r->entry)) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int rc = PySet_Contains(PyTuple_GET_ITEM(r->entry, 1), r->name);
    if (rc <= 0 || (rc = makes_proxy(PyTuple_GET_ITEM(r->entry, 2), r->name)) != 0) {
        return rc < 0 ? -1 : 0;
    }
    r->method = PyObject_GetAttr(PyTuple_GET_ITEM(r->entry, 0), r->name);
    return r->method != NULL ? 1 : -1;
}

/* What to answer if the method has raised: as a new reference; NULL, with the exception still set, if it is one that
 * ends the thread. */
static PyObject *
error_answer(void)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return NULL;
    }
    PyObject *error = fmp_take_exception();
    PyObject *answer = PyTuple_Pack(2, names[ERROR_KIND], error);
    Py_DECREF(error);
    return answer;
}

static PyObject *
answer_to(const struct request *r)
{
    PyObject *result = PyObject_Call(r->method, r->args, PyDict_GET_SIZE(r->kwds) > 0 ? r->kwds : NULL);
    if (result == NULL) {
        return error_answer();
    }
    PyObject *answer = PyTuple_Pack(2, names[RETURN_KIND], result);
    Py_DECREF(result);
    return answer;
}

/* 0, or -1 with an exception set. What cannot be sent is told instead of it. */
static int
send_answer(PyObject *pipe, PyObject *answer)
{
    if (FMP_LIKELY(fmp_connection_send_object(pipe, answer) == 0)) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *error = fmp_take_exception();
    PyObject *told = PyObject_CallMethodOneArg(pipe, names[CANNOT_ANSWER], error);
    Py_DECREF(error);
    Py_XDECREF(told);
    return told != NULL ? 0 : -1;
}

/* 1: answered; 0: the request is somebody else's to answer; -1 with an exception set. */
static int
answer_request(PyObject *pipe, PyObject *request, PyObject *objects)
{
    struct request r = {.entry = NULL};
    int rc = parse(&r, request, objects);
    if (rc > 0) {
        PyObject *answer = answer_to(&r);
        rc = answer != NULL && send_answer(pipe, answer) == 0 ? 1 : -1;
        Py_XDECREF(answer);
    } else if (rc < 0 && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear(); /* the standard library's code meets it, and tells */
        rc = 0;
    }
    Py_XDECREF(r.entry);
    Py_XDECREF(r.method);
    return rc;
}

static int
is_true(PyObject *function)
{
    PyObject *value = PyObject_CallNoArgs(function);
    int truth = value != NULL ? PyObject_IsTrue(value) : -1;
    Py_XDECREF(value);
    return truth;
}

PyObject *
fmp_connection_serve(PyObject *pipe, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyDict_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_serve() takes a dict and a function");
        return NULL;
    }
    for (;;) {
        PyObject *request = fmp_connection_recv_object(pipe);
        int rc = request != NULL ? answer_request(pipe, request, args[0]) : -1;
        if (rc == 0) {
            return request;
        }
        Py_XDECREF(request);
        if (rc < 0 || (rc = is_true(args[1])) != 0) {
            return rc < 0 ? NULL : (PyErr_SetNone(PyExc_EOFError), NULL);
        }
    }
}

const char fmp_connection_serve_doc[] =
    "_serve(objects, is_stopped, /)\n--\n\nAnswers a manager's clients, out of `objects` (ident: (object, exposed, "
    "method_to_typeid)), until there is a request\nthat is not plain, and returns that. EOFError when they are gone, "
    "or is_stopped() is true.";

int
fmp_py_register_connection_call(PyObject *module)
{
    static PyMethodDef callmethod = {"_callmethod", (PyCFunction)(void (*)(void))proxy_callmethod,
                                     METH_FASTCALL | METH_KEYWORDS, callmethod_doc};
    for (int i = 0; i < NAMES; i++) {
        if (names[i] == NULL && (names[i] = PyUnicode_InternFromString(texts[i])) == NULL) {
            return -1;
        }
    }
    PyObject *method = PyDescr_NewMethod(&PyBaseObject_Type, &callmethod);
    int rc = method != NULL ? PyModule_AddObjectRef(module, "proxy_callmethod", method) : -1;
    Py_XDECREF(method);
    return rc;
}

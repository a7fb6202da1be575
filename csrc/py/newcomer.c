/*
 * What starting a process by another way than fork needs of C; see pyrt/newcomers.h for the order of the calls. Called
 * by: the start methods spawn and forkserver, on both sides.
 */
#include "py/types.h"
#include "pyrt/carrier.h"
#include "pyrt/newcomers.h"

PyDoc_STRVAR(region_doc, "region()\n--\n\nThe descriptor of the shared memory of this process's family, and its token. "
                         "OSError if it cannot be made.");

static PyObject *
newcomer_region(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    struct fmp_space *space = fmp_space_default();
    if (space == NULL) {
        return NULL;
    }
    const char *token = (const char *)fmp_region_header(&space->region)->token;
    return Py_BuildValue("(iN)", space->region.fd, PyBytes_FromStringAndSize(token, FMP_TOKEN_BYTES));
}

PyDoc_STRVAR(reserve_child_doc, "reserve_child()\n--\n\nAn identity for a child to come that no fork of this process "
                                "makes. OSError if there is none left.");

static PyObject *
newcomer_reserve_child(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    uint32_t identity = fmp_newcomer_reserve();
    return identity != 0 ? PyLong_FromUnsignedLong(identity) : NULL;
}

PyDoc_STRVAR(child_started_doc,
             "child_started(identity, pid)\n--\n\nThe child is there; once it has ended, call reaped(pid).");

static PyObject *
newcomer_child_started(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned identity;
    int pid;
    if (!PyArg_ParseTuple(args, "Ii:child_started", &identity, &pid) || fmp_newcomer_started(identity, pid) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(child_failed_doc,
             "child_failed(identity)\n--\n\nThe child will never be: what was held for it is given back.");

static PyObject *
newcomer_child_failed(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned identity;
    if (!PyArg_ParseTuple(args, "I:child_failed", &identity) || fmp_newcomer_failed(identity) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(hold_for_doc,
             "hold_for(identity)\n--\n\nWhat this thread pickles from now on is for the child of this identity, which "
             "holds it from then on; 0: for no child. What was so far.");

static PyObject *
newcomer_hold_for(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned identity;
    uint32_t previous;
    if (!PyArg_ParseTuple(args, "I:hold_for", &identity) || fmp_newcomer_hold_for(identity, &previous) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(previous);
}

PyDoc_STRVAR(carried_doc, "carried()\n--\n\nHow many references to shared objects the message that this thread is "
                          "pickling has so far; 0 if it is for no message of fastmp's.");

static PyObject *
newcomer_carried(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(fmp_carrier_count());
}

PyDoc_STRVAR(enter_doc, "enter(fd, token, identity)\n--\n\nIn the child, before anything is unpickled: it joins the "
                        "shared memory of its parent's family. fd stays the caller's.");

static PyObject *
newcomer_enter(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    Py_buffer token;
    unsigned identity;
    if (!PyArg_ParseTuple(args, "iy*I:enter", &fd, &token, &identity)) {
        return NULL;
    }
    int rc = -1;
    if (token.len != FMP_TOKEN_BYTES) {
        PyErr_Format(PyExc_ValueError, "a token has %d bytes, not %zd", (int)FMP_TOKEN_BYTES, token.len);
    } else {
        rc = fmp_newcomer_enter(fd, token.buf, identity);
    }
    PyBuffer_Release(&token);
    return rc == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef newcomer_functions[] = {
    {"region", newcomer_region, METH_NOARGS, region_doc},
    {"reserve_child", newcomer_reserve_child, METH_NOARGS, reserve_child_doc},
    {"child_started", newcomer_child_started, METH_VARARGS, child_started_doc},
    {"child_failed", newcomer_child_failed, METH_VARARGS, child_failed_doc},
    {"hold_for", newcomer_hold_for, METH_VARARGS, hold_for_doc},
    {"carried", newcomer_carried, METH_NOARGS, carried_doc},
    {"enter", newcomer_enter, METH_VARARGS, enter_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_newcomer(PyObject *module)
{
    return PyModule_AddFunctions(module, newcomer_functions);
}

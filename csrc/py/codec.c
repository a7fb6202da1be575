/* `fastmp._core.encode` and `decode`: the wire without a ring. Called by: tests, benchmarks and `fastmp doctor`. */
#include "py/types.h"
#include "wire/wire.h"

static PyObject *
codec_encode(PyObject *module, PyObject *obj)
{
    (void)module;
    struct fmp_wire_writer *w = fmp_wire_writer_new();
    if (w == NULL) {
        return NULL;
    }
    PyObject *data = NULL;
    if (fmp_wire_encode(w, obj) == 0) {
        data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)fmp_wire_size(w));
        if (data != NULL) {
            fmp_wire_copy(w, PyBytes_AS_STRING(data));
            fmp_wire_let_go(w); /* a message by bytes: what it refers to is lent */
        }
    }
    fmp_wire_writer_free(w);
    return data;
}

static PyObject *
codec_decode(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "decode() takes 1 or 2 positional arguments (%zd given)", nargs);
        return NULL;
    }
    PyObject *owner = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *obj = fmp_wire_decode(view.buf, (size_t)view.len, owner);
    PyBuffer_Release(&view);
    return obj;
}

static PyObject *
codec_has_buffers(PyObject *module, PyObject *data)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    bool has = fmp_wire_has_buffers(view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return PyBool_FromLong(has);
}

static PyMethodDef codec_functions[] = {
    {"encode", codec_encode, METH_O,
     PyDoc_STR("encode($module, obj, /)\n--\n\nThe wire message of an object, as bytes.\n\n"
               "Raises what pickle raises for an object that cannot be sent.")},
    {"decode", (PyCFunction)(void (*)(void))codec_decode, METH_FASTCALL,
     PyDoc_STR(
         "decode($module, data, owner=None, /)\n--\n\nThe object of a wire message.\n\n"
         "Out-of-band buffers become views on `owner`, the object whose buffer holds `data`; without one they are "
         "copied.\nRaises pickle.UnpicklingError for damaged data, and what unpickling raises.")},
    {"has_buffers", codec_has_buffers, METH_O,
     PyDoc_STR("has_buffers($module, data, /)\n--\n\nWhether the message carries out-of-band buffers.")},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_codec(PyObject *module)
{
    return PyModule_AddFunctions(module, codec_functions);
}

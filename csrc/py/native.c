/*
 * `_core.NativeCall`: a C function over arrays, as csrc/native/call.h has it; and where functions and arrays are.
 * Called by: fastmp/_native.py.
 *
 * Signatures, types and lengths have been compared there; here only what would make the process crash is looked at
 * again. Arrays are named by their offset in the default region, so a worker makes the same call from the same tuple.
 */
#define PY_SSIZE_T_CLEAN
#include "native/call.h"

#include <Python.h>

#include "native/symbol.h"
#include "py/types.h"

/* Between two looks at the signals: some milliseconds of a cheap function. */
#define SLICE 65536u

struct native {
    PyObject_HEAD
    struct fmp_native_call call;
    PyObject *scalars; /* the bytes that parameters point into */
};

static struct native *
as_native(PyObject *op)
{
    return (struct native *)op;
}

/* ---- making one ---- */

static ffi_type *
parse_type(PyObject *text)
{
    const char *chars = PyUnicode_AsUTF8(text);
    ffi_type *type = NULL;
    int rc = chars != NULL ? fmp_native_type_parse(chars, &type) : -EINVAL;
    if (rc == -ENOMEM) {
        PyErr_NoMemory();
    } else if (rc != 0 && !PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "libffi cannot pass %R by value", text);
    }
    return rc == 0 ? type : NULL;
}

/* The address of an offset in the default region; NULL with an exception set. */
static char *
address_of(unsigned long long off)
{
    struct fmp_space *space = fmp_space_default();
    if (space == NULL) {
        return NULL;
    }
    if (!fmp_region_holds(&space->region, off, 0)) {
        PyErr_SetString(PyExc_ValueError, "an array lies outside the shared memory of this process");
        return NULL;
    }
    return fmp_at(&space->region, off);
}

/* (bytes, 0, False), or (offset, stride, by_address) */
static int
take_argument(PyObject *arg, struct fmp_native_param *param)
{
    PyObject *place;
    int by_address;
    if (!PyArg_ParseTuple(arg, "Onp", &place, &param->stride, &by_address)) {
        return -1;
    }
    param->by_address = by_address != 0;
    if (PyBytes_Check(place)) {
        param->at = PyBytes_AS_STRING(place);
        return 0;
    }
    unsigned long long off = PyLong_AsUnsignedLongLong(place);
    param->at = PyErr_Occurred() ? NULL : address_of(off);
    return param->at != NULL ? 0 : -1;
}

static int
take_types(struct fmp_native_call *c, PyObject *result, PyObject *params)
{
    c->result = parse_type(result);
    for (Py_ssize_t i = 0; c->result != NULL && i < PyTuple_GET_SIZE(params); i++) {
        c->types[i] = parse_type(PyTuple_GET_ITEM(params, i));
        if (c->types[i] == NULL) {
            return -1;
        }
    }
    return c->result != NULL ? 0 : -1;
}

static int
take_out(struct fmp_native_call *c, PyObject *out)
{
    unsigned long long off;
    if (out == Py_None) {
        return 0;
    }
    if (!PyArg_ParseTuple(out, "Kn", &off, &c->out_stride)) {
        return -1;
    }
    c->out = address_of(off);
    return c->out != NULL ? 0 : -1;
}

static int
fill(struct native *self, PyObject *args)
{
    struct fmp_native_call *c = &self->call;
    unsigned long long function, length, block;
    PyObject *result, *params, *arguments, *out;
    if (!PyArg_ParseTuple(args, "KUO!O!OKK:NativeCall", &function, &result, &PyTuple_Type, &params, &PyTuple_Type,
                          &arguments, &out, &length, &block)) {
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    if (count > (Py_ssize_t)FMP_NATIVE_PARAMS_MAX || PyTuple_GET_SIZE(params) != count + (block != 0)) {
        PyErr_Format(PyExc_TypeError, "%zd arguments for a function of %zd parameters; at most %u are possible", count,
                     PyTuple_GET_SIZE(params), FMP_NATIVE_PARAMS_MAX);
        return -1;
    }
    c->function = (void (*)(void))(uintptr_t)function;
    c->length = (size_t)length;
    c->block = (size_t)block;
    c->count = (unsigned)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (take_argument(PyTuple_GET_ITEM(arguments, i), &c->params[i]) < 0) {
            return -1;
        }
    }
    self->scalars = Py_NewRef(arguments);
    if (take_types(c, result, params) < 0 || take_out(c, out) < 0) {
        return -1;
    }
    if (fmp_native_call_prepare(c) != 0) {
        PyErr_SetString(PyExc_TypeError, "libffi cannot call a function of this signature");
        return -1;
    }
    return 0;
}

static PyObject *
native_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "NativeCall() takes no keyword arguments");
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL && fill(as_native(self), args) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

static void
native_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fmp_native_call_release(&as_native(self)->call);
    Py_XDECREF(as_native(self)->scalars);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- running it ---- */

static PyObject *
native_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    const struct fmp_native_call *c = &as_native(self)->call;
    size_t start = nargs == 2 ? PyLong_AsSize_t(args[0]) : 0, stop = nargs == 2 ? PyLong_AsSize_t(args[1]) : 0;
    if (PyErr_Occurred()) {
        return NULL;
    }
    size_t calls = c->block != 0 ? (c->length + c->block - 1) / c->block : c->length;
    if (nargs != 2 || stop > calls) {
        PyErr_Format(PyExc_ValueError, "run() takes a part of the %zu calls", calls);
        return NULL;
    }
    size_t slice = c->block == 0 ? SLICE : c->block < SLICE ? SLICE / c->block : 1;
    for (; start < stop; start += slice) {
        size_t end = stop - start < slice ? stop : start + slice;
        Py_BEGIN_ALLOW_THREADS
            fmp_native_call_run(c, start, end);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef native_methods[] = {
    {"run", (PyCFunction)(void (*)(void))native_run, METH_FASTCALL,
     "run($self, start, stop, /)\n--\n\nMake the calls [start, stop), without the GIL."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot native_slots[] = {
    {Py_tp_doc, "NativeCall(function, result, params, args, out, length, block)\n--\n\nA C function over arrays in "
                "shared memory."},
    {Py_tp_new, native_new},
    {Py_tp_dealloc, native_dealloc},
    {Py_tp_methods, native_methods},
    {0, NULL},
};

static PyType_Spec native_spec = {
    .name = "fastmp._core.NativeCall",
    .basicsize = sizeof(struct native),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = native_slots,
};

/* ---- where things are ---- */

static PyObject *
native_locate(PyObject *module, PyObject *arg)
{
    (void)module;
    uintptr_t address = (uintptr_t)PyLong_AsVoidPtr(arg), offset = address;
    unsigned char code[FMP_NATIVE_CODE_BYTES];
    const char *path = NULL;
    if (PyErr_Occurred()) {
        return NULL;
    }
    int n = fmp_native_read_code(address, code);
    if (n <= 0) {
        PyErr_Format(PyExc_ValueError, "there is no function at the address %p", (void *)address);
        return NULL;
    }
    (void)fmp_native_locate(address, &path, &offset);
    PyObject *file = path != NULL ? PyUnicode_DecodeFSDefault(path) : Py_NewRef(Py_None);
    return Py_BuildValue("(NKy#)", file, (unsigned long long)offset, (const char *)code, (Py_ssize_t)n);
}

static PyObject *
native_open(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *path = NULL;
    unsigned long long offset;
    Py_buffer wanted;
    const char *why = "";
    unsigned char code[FMP_NATIVE_CODE_BYTES];
    if (!PyArg_ParseTuple(args, "O&Ky*:native_open", PyUnicode_FSConverter, &path, &offset, &wanted)) {
        return NULL;
    }
    uintptr_t address = 0;
    int rc = fmp_native_open(PyBytes_AS_STRING(path), (uintptr_t)offset, &address, &why);
    int n = rc == 0 ? fmp_native_read_code(address, code) : rc;
    PyObject *result = NULL;
    if (rc != 0) {
        PyErr_Format(PyExc_OSError, "the worker cannot open the library: %s", why);
    } else if (n < wanted.len || memcmp(code, wanted.buf, (size_t)wanted.len) != 0) {
        PyErr_Format(PyExc_OSError, "%R is not the library that the other process has loaded: it has changed since",
                     path);
    } else {
        result = PyLong_FromVoidPtr((void *)address);
    }
    PyBuffer_Release(&wanted);
    Py_DECREF(path);
    return result;
}

static PyObject *
native_has_code(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long address;
    Py_buffer wanted;
    unsigned char code[FMP_NATIVE_CODE_BYTES];
    if (!PyArg_ParseTuple(args, "Ky*:native_has_code", &address, &wanted)) {
        return NULL;
    }
    int n = fmp_native_read_code((uintptr_t)address, code);
    bool same = n >= wanted.len && memcmp(code, wanted.buf, (size_t)wanted.len) == 0;
    PyBuffer_Release(&wanted);
    return PyBool_FromLong(same);
}

static PyObject *
native_layout(PyObject *module, PyObject *text)
{
    (void)module;
    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "native_layout() takes a str");
        return NULL;
    }
    ffi_type *type = parse_type(text);
    if (type == NULL) {
        return NULL;
    }
    size_t offsets[4096], count = 0;
    (void)fmp_native_type_offsets(type, offsets, sizeof offsets / sizeof *offsets, &count);
    PyObject *list = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *offset = PyLong_FromSize_t(offsets[i]);
        if (offset == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyTuple_SET_ITEM(list, (Py_ssize_t)i, offset);
    }
    PyObject *result = list != NULL ? Py_BuildValue("(niN)", (Py_ssize_t)type->size, (int)type->alignment, list) : NULL;
    fmp_native_type_free(type);
    return result;
}

static PyObject *
region_offset(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long address, bytes;
    if (!PyArg_ParseTuple(args, "KK:region_offset", &address, &bytes)) {
        return NULL;
    }
    const char *at = (const char *)(uintptr_t)address;
    struct fmp_space *space = fmp_space_around(at, bytes);
    if (space == NULL || space != fmp_space_if_any()) { /* the workers have the default one for certain */
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLongLong(fmp_off_of(&space->region, at));
}

static PyMethodDef functions[] = {
    {"native_locate", native_locate, METH_O,
     "native_locate($module, address, /)\n--\n\n(path, offset, code) of a function: its library (\"\" is the program), "
     "or (None, address, code)."},
    {"native_open", native_open, METH_VARARGS,
     "native_open($module, path, offset, code, /)\n--\n\nThe address of that function in this process; OSError if it "
     "is "
     "not the same code."},
    {"native_has_code", native_has_code, METH_VARARGS,
     "native_has_code($module, address, code, /)\n--\n\nWhether this process has that code at that address."},
    {"native_layout", native_layout, METH_O,
     "native_layout($module, text, /)\n--\n\n(size, alignment, offsets of the members) of a C type."},
    {"region_offset", region_offset, METH_VARARGS,
     "region_offset($module, address, bytes, /)\n--\n\nWhere in the shared memory that is, or None."},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_native(PyObject *module)
{
    return fmp_py_add_type(module, &native_spec, NULL) != NULL ? PyModule_AddFunctions(module, functions) : -1;
}

/* bytearray and array.array; see flat.h. */
#include "wire/flat.h"

#include "wire/large.h"

/* Process-wide; guarded by the GIL. */
static PyObject *array_type;

/* array.array, if that is what `type` seems to be, from the module that is there; else NULL. */
static PyObject *
find_array_type(PyTypeObject *type)
{
    if (array_type == NULL && strcmp(type->tp_name, "array.array") == 0) {
        /* By look-ups that run no Python code: this is in the middle of an encode. */
        PyObject *name = PyUnicode_FromString("array"), *modules = PyImport_GetModuleDict();
        PyObject *module = name && PyDict_CheckExact(modules) ? PyDict_GetItemWithError(modules, name) : NULL;
        bool is_one = module != NULL && PyModule_CheckExact(module);
        array_type = is_one ? Py_XNewRef(PyDict_GetItemWithError(PyModule_GetDict(module), name)) : NULL;
        Py_XDECREF(name);
        PyErr_Clear(); /* then pickle will see what to make of it */
    }
    return array_type;
}

bool
fmp_flat_is(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    return type == &PyByteArray_Type || (find_array_type(type) == (PyObject *)type &&
                                         fmp_wire_is_array_as_ever((PyObject *)type) && !fmp_wire_is_overridden());
}

/* The bytes of an item of an array of numbers; 0 of any other. */
static size_t
item_bytes(char typecode)
{
    switch (typecode) {
    case 'b':
    case 'B':
        return sizeof(char);
    case 'h':
    case 'H':
        return sizeof(short);
    case 'i':
    case 'I':
        return sizeof(int);
    case 'l':
    case 'L':
        return sizeof(long);
    case 'q':
    case 'Q':
        return sizeof(long long);
    case 'f':
        return sizeof(float);
    case 'd':
        return sizeof(double);
    default:
        return 0;
    }
}

int
fmp_flat_put(struct fmp_wire_writer *w, PyObject *o)
{
    Py_buffer view;
    if (fmp_writer_room(w, 1 + FMP_TAG_ROOM) < 0 || PyObject_GetBuffer(o, &view, PyBUF_FORMAT) < 0) {
        return -1;
    }
    if (PyByteArray_CheckExact(o)) {
        fmp_writer_byte(w, FMP_TAG_BYTEARRAY);
    } else if (item_bytes(view.format[0]) != 0) {
        fmp_writer_byte(w, FMP_TAG_ARRAY);
        fmp_writer_byte(w, (unsigned char)view.format[0]);
    } else {
        PyBuffer_Release(&view); /* of characters */
        return 1;
    }
    fmp_writer_size_of(w, (uint64_t)view.len);
    return view.len >= FMP_WIRE_LEAF_MIN ? fmp_writer_add_view(w, 0, &view) : fmp_writer_copy_view(w, &view);
}

int
fmp_wire_settle(struct fmp_wire_writer *w)
{
    bool is_plain = *w->start != FMP_TAG_PICKLE && *w->start != FMP_TAG_BUFFERS;
    for (size_t i = 0; is_plain && i < w->segments.count; i++) {
        PyObject *o = w->segments.list[i].view.obj;
        if (!PyBytes_CheckExact(o) && !PyUnicode_CheckExact(o) && fmp_view_freeze(&w->segments.list[i].view) < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *
fmp_flat_get_bytearray(struct fmp_reader *r)
{
    size_t n;
    return fmp_take_size(r, 1, &n) < 0 ? NULL : fmp_large_bytearray(fmp_take(r, n), n);
}

/* An empty array, or NULL with an exception set. */
static PyObject *
new_array(char typecode)
{
    if (array_type == NULL) { /* a receiver may never have sent one */
        PyObject *module = PyImport_ImportModule("array");
        array_type = module ? PyObject_GetAttrString(module, "array") : NULL;
        Py_XDECREF(module);
    }
    return array_type != NULL ? PyObject_CallFunction(array_type, "C", typecode) : NULL;
}

/* Appends the bytes, whole items. 0, or -1 with an exception set. */
static int
fill_array(PyObject *array, const unsigned char *from, size_t bytes)
{
    PyObject *view = PyMemoryView_FromMemory((char *)from, (Py_ssize_t)bytes, PyBUF_READ);
    PyObject *none = view ? PyObject_CallMethod(array, "frombytes", "O", view) : NULL;
    Py_XDECREF(view);
    Py_XDECREF(none);
    return none != NULL ? 0 : -1;
}

PyObject *
fmp_flat_get_array(struct fmp_reader *r)
{
    size_t n;
    const unsigned char *p = fmp_take(r, 1);
    if (p == NULL) {
        return NULL;
    }
    char typecode = (char)*p;
    FMP_READ_ONCE(typecode);
    size_t each = item_bytes(typecode);
    if (fmp_take_size(r, 1, &n) < 0) {
        return NULL;
    }
    if (each == 0 || n % each != 0) {
        return fmp_wire_damaged("no array of numbers");
    }
    PyObject *array = new_array(typecode);
    if (array != NULL && fill_array(array, fmp_take(r, n), n) < 0) {
        Py_CLEAR(array);
    }
    return array;
}

/*
 * The message of a function that pickle sends by its name, as most are. It is what pickle would say, but written and
 * read without it: a pool's first task comes when all pages are still shared with its new processes, and pickle would
 * write to dozens of them on either side. Called by: pool/function.c.
 *
 * Only what is plain is found: by a name of ASCII, in a module that is there. Of all else pickle has the say, and the
 * words for what is wrong with it.
 */
#include "wire/encode.h"
#include "wire/format.h"

#define NAME_MAX_BYTES UINT8_MAX

enum { PROTO = 0x80, SHORT_BINUNICODE = 0x8c, STACK_GLOBAL = 0x93, STOP = '.' }; /* pickle's */
static const unsigned char head[] = {FMP_TAG_PICKLE, PROTO, 4};
static const unsigned char tail[] = {STACK_GLOBAL, STOP};

static_assert(FMP_WIRE_NAMED_MAX == sizeof head + sizeof tail + 2 * (2 + NAME_MAX_BYTES), "the longest names fit");

/* Where pickle looks for it. New references, or NULL. */
static PyObject *
module_name_of(PyObject *function)
{
    return Py_XNewRef(PyFunction_Check(function) ? ((PyFunctionObject *)function)->func_module
                                                 : ((PyCFunctionObject *)function)->m_module);
}

static PyObject *
name_of(PyObject *function)
{
    return PyFunction_Check(function) ? Py_NewRef(((PyFunctionObject *)function)->func_qualname)
                                      : PyUnicode_FromString(((PyCFunctionObject *)function)->m_ml->ml_name);
}

static bool
is_plain(PyObject *name)
{
    return name != NULL && PyUnicode_CheckExact(name) && PyUnicode_IS_COMPACT_ASCII(name) &&
           PyUnicode_GET_LENGTH(name) <= NAME_MAX_BYTES;
}

/* What has this name in a module that is there. Borrowed; NULL, without an exception, if it is not found so. */
static PyObject *
find(PyObject *module_name, PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *module = PyDict_CheckExact(modules) ? PyDict_GetItemWithError(modules, module_name) : NULL;
    PyObject *found =
        module != NULL && PyModule_CheckExact(module) ? PyDict_GetItemWithError(PyModule_GetDict(module), name) : NULL;
    PyErr_Clear(); /* pickle says it again */
    return found;
}

static unsigned char *
put_name(unsigned char *at, PyObject *name)
{
    size_t bytes = (size_t)PyUnicode_GET_LENGTH(name);
    *at++ = SHORT_BINUNICODE;
    *at++ = (unsigned char)bytes;
    memcpy(at, PyUnicode_1BYTE_DATA(name), bytes);
    return at + bytes;
}

static size_t
write_names(unsigned char *message, PyObject *module_name, PyObject *name)
{
    memcpy(message, head, sizeof head);
    unsigned char *at = put_name(put_name(message + sizeof head, module_name), name);
    memcpy(at, tail, sizeof tail);
    return (size_t)(at - message) + sizeof tail;
}

static bool
may_be_named(PyObject *function)
{
    return (PyFunction_Check(function) || PyCFunction_CheckExact(function)) &&
           fmp_wire_is_left_to_pickle(Py_TYPE(function));
}

size_t
fmp_wire_name(PyObject *function, unsigned char message[FMP_WIRE_NAMED_MAX])
{
    if (!may_be_named(function)) {
        return 0;
    }
    PyObject *module_name = module_name_of(function), *name = name_of(function);
    bool is_found = is_plain(module_name) && is_plain(name) && find(module_name, name) == function;
    size_t bytes = is_found ? write_names(message, module_name, name) : 0;
    Py_XDECREF(name);
    Py_XDECREF(module_name);
    PyErr_Clear();
    return bytes;
}

/* ---- back ---- */

/* The name at *at, which is moved behind it; NULL if there is none. */
static PyObject *
take_name(const unsigned char **at, const unsigned char *end)
{
    const unsigned char *from = *at;
    if (end - from < 2 || from[0] != SHORT_BINUNICODE || end - from - 2 < from[1]) {
        return NULL;
    }
    *at = from + 2 + from[1];
    return PyUnicode_DecodeASCII((const char *)from + 2, from[1], NULL);
}

/* As fmp_wire_find_named, of a message that nobody else can change. */
static PyObject *
find_in(const unsigned char *message, size_t bytes)
{
    const unsigned char *at = message + sizeof head, *end = message + bytes;
    PyObject *module_name = take_name(&at, end);
    PyObject *name = module_name != NULL ? take_name(&at, end) : NULL;
    bool is_whole = name != NULL && end - at == sizeof tail && memcmp(at, tail, sizeof tail) == 0;
    PyErr_Clear();
    PyObject *found = is_whole ? Py_XNewRef(find(module_name, name)) : NULL;
    if (found != NULL && PySys_Audit("pickle.find_class", "OO", module_name, name) < 0) {
        Py_CLEAR(found);
    }
    Py_XDECREF(name);
    Py_XDECREF(module_name);
    return found;
}

PyObject *
fmp_wire_find_named(const unsigned char *message, size_t bytes)
{
    unsigned char copy[FMP_WIRE_NAMED_MAX];
    if (bytes < sizeof head || bytes > sizeof copy) {
        return NULL;
    }
    memcpy(copy, message, bytes);
    return memcmp(copy, head, sizeof head) == 0 ? find_in(copy, bytes) : NULL;
}

/* Simple C types; see ctype.h. Each load and store is one: a reader without the lock never sees half a value. */
#include "py/ctype.h"

#include <wchar.h>

#include "base/atomic.h"

/* Relaxed here and below: the order comes from the lock around the access. */
#define FMP_GETTERS(name, type, from)                                                  \
    static PyObject *get_##name(const void *at)                                        \
    {                                                                                  \
        return from(fmp_load_relaxed((const _Atomic(type) *)at));                      \
    }                                                                                  \
    static PyObject *get_and_release_##name(const void *at, struct fmp_lock_shm *lock) \
    {                                                                                  \
        type x = fmp_load_relaxed((const _Atomic(type) *)at);                          \
        (void)fmp_lock_release(lock); /* as in fmp_guard_leave */                      \
        return from(x);                                                                \
    }

/* Integers wrap, as ctypes' do. */
#define FMP_INTEGER(name, type, from)                                \
    FMP_GETTERS(name, type, from)                                    \
    static bool set_##name(void *at, PyObject *value)                \
    {                                                                \
        if (!PyLong_Check(value)) {                                  \
            return false;                                            \
        }                                                            \
        unsigned long long x = PyLong_AsUnsignedLongLongMask(value); \
        fmp_store_relaxed((_Atomic(type) *)at, (type)x);             \
        return true;                                                 \
    }

FMP_INTEGER(byte, signed char, PyLong_FromLong)
FMP_INTEGER(ubyte, unsigned char, PyLong_FromLong)
FMP_INTEGER(short, short, PyLong_FromLong)
FMP_INTEGER(ushort, unsigned short, PyLong_FromLong)
FMP_INTEGER(int, int, PyLong_FromLong)
FMP_INTEGER(uint, unsigned int, PyLong_FromUnsignedLong)
FMP_INTEGER(long, long, PyLong_FromLong)
FMP_INTEGER(ulong, unsigned long, PyLong_FromUnsignedLong)
FMP_INTEGER(longlong, long long, PyLong_FromLongLong)
FMP_INTEGER(ulonglong, unsigned long long, PyLong_FromUnsignedLongLong)

/* A float, or an int that fits one. */
static bool
as_double(PyObject *value, double *x)
{
    if (PyFloat_CheckExact(value)) {
        *x = PyFloat_AS_DOUBLE(value);
        return true;
    }
    if (!PyLong_CheckExact(value)) {
        return false;
    }
    *x = PyLong_AsDouble(value);
    if (*x == -1.0 && PyErr_Occurred()) {
        PyErr_Clear(); /* ctypes says it in its own words */
        return false;
    }
    return true;
}

#define FMP_FLOATING(name, type)                         \
    FMP_GETTERS(name, type, PyFloat_FromDouble)          \
    static bool set_##name(void *at, PyObject *value)    \
    {                                                    \
        double x;                                        \
        if (!as_double(value, &x)) {                     \
            return false;                                \
        }                                                \
        fmp_store_relaxed((_Atomic(type) *)at, (type)x); \
        return true;                                     \
    }

FMP_FLOATING(float, float)
FMP_FLOATING(double, double)

FMP_GETTERS(bool, unsigned char, PyBool_FromLong)

static bool
set_bool(void *at, PyObject *value)
{
    if (!PyBool_Check(value)) {
        return false;
    }
    fmp_store_relaxed((_Atomic(unsigned char) *)at, value == Py_True); /* relaxed: as for integers */
    return true;
}

static PyObject *
bytes_from(char x)
{
    return PyBytes_FromStringAndSize(&x, 1);
}

FMP_GETTERS(char, char, bytes_from)

static bool
set_char(void *at, PyObject *value)
{
    if (!PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) != 1) {
        return false;
    }
    *(volatile char *)at = PyBytes_AS_STRING(value)[0];
    return true;
}

static PyObject *
str_from(wchar_t x)
{
    return PyUnicode_FromWideChar(&x, 1);
}

FMP_GETTERS(wchar, wchar_t, str_from)

static bool
set_wchar(void *at, PyObject *value)
{
    if (!PyUnicode_CheckExact(value) || PyUnicode_GET_LENGTH(value) != 1) {
        return false;
    }
    *(volatile wchar_t *)at = (wchar_t)PyUnicode_READ_CHAR(value, 0);
    return true;
}

#define FMP_CTYPE(code_, type, name, integer_, text_)                                                      \
    {                                                                                                      \
        .code = (code_), .integer = (integer_), .text = (text_), .bytes = sizeof(type), .get = get_##name, \
        .get_and_release = get_and_release_##name, .set = set_##name                                       \
    }

static const struct fmp_ctype ctypes[] = {
    FMP_CTYPE('b', signed char, byte, true, false),
    FMP_CTYPE('B', unsigned char, ubyte, true, false),
    FMP_CTYPE('h', short, short, true, false),
    FMP_CTYPE('H', unsigned short, ushort, true, false),
    FMP_CTYPE('i', int, int, true, false),
    FMP_CTYPE('I', unsigned int, uint, true, false),
    FMP_CTYPE('l', long, long, true, false),
    FMP_CTYPE('L', unsigned long, ulong, true, false),
    FMP_CTYPE('q', long long, longlong, true, false),
    FMP_CTYPE('Q', unsigned long long, ulonglong, true, false),
    FMP_CTYPE('f', float, float, false, false),
    FMP_CTYPE('d', double, double, false, false),
    FMP_CTYPE('?', bool, bool, false, false),
    FMP_CTYPE('c', char, char, false, true),
    FMP_CTYPE('u', wchar_t, wchar, false, true),
};

const struct fmp_ctype *
fmp_ctype_find(Py_UCS4 code)
{
    for (size_t i = 0; i < sizeof ctypes / sizeof *ctypes; i++) {
        if ((Py_UCS4)ctypes[i].code == code) {
            return &ctypes[i];
        }
    }
    return NULL;
}

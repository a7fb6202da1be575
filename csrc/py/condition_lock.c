/* The condition's lock; see condition_lock.h. */
#include "py/condition_lock.h"

int
fmp_py_condition_lock_check(PyObject *lock)
{
    static const char *const needed[] = {"acquire", "release", "_semlock"};
    for (unsigned i = 0; !fmp_py_is_plain_lock(lock) && i < sizeof needed / sizeof *needed; i++) {
        PyObject *found = PyObject_GetAttrString(lock, needed[i]);
        if (found == NULL) {
            return -1;
        }
        Py_DECREF(found);
    }
    return 0;
}

/* lock._semlock.<look>(), or NULL. */
static PyObject *
look(PyObject *lock, const char *name)
{
    PyObject *inner = PyObject_GetAttrString(lock, "_semlock");
    PyObject *result = inner != NULL ? PyObject_CallMethod(inner, name, NULL) : NULL;
    Py_XDECREF(inner);
    return result;
}

int
fmp_py_condition_lock_is_mine(PyObject *lock)
{
    if (FMP_LIKELY(fmp_py_is_plain_lock(lock))) {
        return fmp_py_lock_is_mine(fmp_py_as_lock(lock));
    }
    PyObject *mine = look(lock, "_is_mine");
    int rc = mine != NULL ? PyObject_IsTrue(mine) : -1;
    Py_XDECREF(mine);
    return rc;
}

static int
call_times(PyObject *lock, const char *method, size_t times)
{
    for (size_t i = 0; i < times; i++) {
        PyObject *result = PyObject_CallMethod(lock, method, NULL);
        if (result == NULL) {
            return -1;
        }
        Py_DECREF(result);
    }
    return 0;
}

int
fmp_py_condition_lock_release(PyObject *lock, size_t *count)
{
    if (FMP_LIKELY(fmp_py_is_plain_lock(lock))) {
        *count = fmp_py_lock_release_all(fmp_py_as_lock(lock));
        return 0;
    }
    PyObject *held = look(lock, "_count");
    *count = held != NULL ? PyLong_AsSize_t(held) : (size_t)-1;
    Py_XDECREF(held);
    return *count == (size_t)-1 ? -1 : call_times(lock, "release", *count);
}

int
fmp_py_condition_lock_retake(PyObject *lock, size_t count)
{
    if (FMP_LIKELY(fmp_py_is_plain_lock(lock))) {
        return fmp_py_lock_retake(fmp_py_as_lock(lock), count);
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (call_times(lock, "acquire", count) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return -1;
    }
    PyErr_Restore(type, value, traceback);
    return 0;
}

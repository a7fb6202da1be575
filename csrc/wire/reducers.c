/*
 * The reducers in force: copyreg's and those registered for ForkingPickler, as one plain dict. Called by:
 * wire/pickle.c, for each message.
 *
 * Anybody may register at any time, and must be heard from the next message on. A plain dict is what the pickler looks
 * up fast, and merging the two for each message would be slow, so the merged one is kept as long as its sources hold
 * exactly the pairs that they held when it was made. Comparing pointers is enough: the merged dict keeps all keys
 * alive, and `pairs` all values, so no other object can have their addresses. Messages have reducers of their own for
 * some types (fastmp.reduction.in_messages), which are registered after they were written there.
 */
#include "wire/encode.h"

struct source {
    PyObject *dict;   /* of somebody else */
    PyObject **pairs; /* key, value, key, value, ...: what it held; strong references */
    Py_ssize_t count; /* of pairs */
};

/* Process-wide, as copyreg's table is; guarded by the GIL. */
static struct source sources[2];
static PyObject *merged;

static PyObject *
attribute_of(const char *module_name, const char *class_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *holder = module && class_name ? PyObject_GetAttrString(module, class_name) : Py_XNewRef(module);
    PyObject *attribute = holder ? PyObject_GetAttrString(holder, name) : NULL;
    Py_XDECREF(holder);
    Py_XDECREF(module);
    if (attribute != NULL && !PyDict_Check(attribute)) {
        PyErr_Format(PyExc_TypeError, "%s.%s is no dict", module_name, name);
        Py_CLEAR(attribute);
    }
    return attribute;
}

static int
find_sources(void)
{
    if (sources[0].dict == NULL) {
        sources[0].dict = attribute_of("copyreg", NULL, "dispatch_table");
    }
    if (sources[0].dict != NULL && sources[1].dict == NULL) {
        sources[1].dict = attribute_of("multiprocessing.reduction", "ForkingPickler", "_extra_reducers");
    }
    return sources[0].dict && sources[1].dict ? 0 : -1;
}

static bool
unchanged(const struct source *s)
{
    if (PyDict_GET_SIZE(s->dict) != s->count) {
        return false;
    }
    PyObject *key, *value;
    Py_ssize_t at = 0;
    for (PyObject **pair = s->pairs; PyDict_Next(s->dict, &at, &key, &value); pair += 2) {
        if (key != pair[0] || value != pair[1]) {
            return false;
        }
    }
    return true;
}

static void
forget_pairs(struct source *s)
{
    PyObject **pairs = s->pairs;
    Py_ssize_t count = s->count;
    s->pairs = NULL;
    s->count = 0;
    for (Py_ssize_t i = 0; i < count * 2; i++) {
        Py_DECREF(pairs[i]);
    }
    PyMem_Free(pairs);
}

static int
remember_pairs(struct source *s)
{
    forget_pairs(s);
    PyObject **pairs = PyMem_Malloc(((size_t)PyDict_GET_SIZE(s->dict) * 2 + 1) * sizeof *pairs);
    if (pairs == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *key, *value;
    Py_ssize_t at = 0, n = 0;
    while (PyDict_Next(s->dict, &at, &key, &value)) {
        pairs[n++] = Py_NewRef(key);
        pairs[n++] = Py_NewRef(value);
    }
    s->pairs = pairs;
    s->count = n / 2;
    return 0;
}

/* A reducer that is registered, and still the one in force, gives way to the one that knows of protocol 5. */
static int
use_in_message(PyObject *table, PyObject *type, PyObject *pair)
{
    if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "fastmp.reduction.in_messages holds pairs");
        return -1;
    }
    PyObject *in_force = PyDict_GetItemWithError(table, type);
    if (in_force == NULL || in_force != PyTuple_GET_ITEM(pair, 0)) {
        return in_force == NULL && PyErr_Occurred() ? -1 : 0;
    }
    return PyDict_SetItem(table, type, PyTuple_GET_ITEM(pair, 1));
}

static int
use_all_in_messages(PyObject *table)
{
    PyObject *variants = attribute_of("fastmp.reduction", NULL, "in_messages");
    PyObject *type, *pair;
    Py_ssize_t at = 0;
    int rc = variants != NULL ? 0 : -1;
    while (rc == 0 && PyDict_Next(variants, &at, &type, &pair)) {
        rc = use_in_message(table, type, pair);
    }
    Py_XDECREF(variants);
    return rc;
}

/* ForkingPickler's win over copyreg's, as in the standard library. */
static PyObject *
merge(void)
{
    PyObject *table = PyDict_Copy(sources[0].dict);
    if (table != NULL && (PyDict_Update(table, sources[1].dict) < 0 || use_all_in_messages(table) < 0)) {
        Py_CLEAR(table);
    }
    return table;
}

static bool
is_merged(void)
{
    return FMP_LIKELY(merged != NULL) && unchanged(&sources[0]) && unchanged(&sources[1]);
}

/* The one that multiprocessing.managers registers for arrays, when it is imported: it makes the same array. */
static bool
is_of_managers(PyObject *reducer)
{
    if (!PyFunction_Check(reducer)) {
        return false;
    }
    PyObject *module = ((PyFunctionObject *)reducer)->func_module, *name = ((PyFunctionObject *)reducer)->func_name;
    return module != NULL && PyUnicode_Check(module) &&
           PyUnicode_CompareWithASCIIString(module, "multiprocessing.managers") == 0 &&
           PyUnicode_CompareWithASCIIString(name, "reduce_array") == 0;
}

bool
fmp_wire_is_array_as_ever(PyObject *type)
{
    PyObject *reducer = is_merged() ? PyDict_GetItemWithError(merged, type) : Py_None;
    return reducer == NULL ? !PyErr_Occurred() : is_of_managers(reducer);
}

PyObject *
fmp_wire_reducers(void)
{
    if (find_sources() < 0) {
        return NULL;
    }
    if (is_merged()) {
        return merged;
    }
    Py_CLEAR(merged);
    /* Remembered first: what is registered in between makes the next look see a change. */
    if (remember_pairs(&sources[0]) < 0 || remember_pairs(&sources[1]) < 0) {
        return NULL;
    }
    Py_XSETREF(merged, merge());
    return merged;
}

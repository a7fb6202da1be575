/* What is in the shared memory, for tests and `fastmp doctor`. */
#include "py/types.h"

PyDoc_STRVAR(heap_stats_doc,
             "heap_stats()\n--\n\n"
             "Counts of the blocks in shared memory, as a dict: owned, transit, shared, free, and the bytes_in_use and "
             "bytes_backed. Exact only while no other process is at work.");

static PyObject *
heap_stats(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    struct fmp_heap_stats s;
    struct fmp_space *space = fmp_space_default();
    if (space == NULL) {
        return NULL;
    }
    fmp_heap_count(space->heap, &s);
    return Py_BuildValue("{sKsKsKsKsKsK}", "owned", (unsigned long long)s.owned, "transit",
                         (unsigned long long)s.transit, "shared", (unsigned long long)s.shared, "free",
                         (unsigned long long)s.free, "bytes_in_use", (unsigned long long)s.bytes_in_use, "bytes_backed",
                         (unsigned long long)s.bytes_backed);
}

static PyMethodDef stats_functions[] = {
    {"heap_stats", heap_stats, METH_NOARGS, heap_stats_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_stats(PyObject *module)
{
    return PyModule_AddFunctions(module, stats_functions);
}

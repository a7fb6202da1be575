/* The module `fastmp._core`: multi-phase initialisation; each unit of py/ registers its own types. */
#include "py/types.h"

PyTypeObject *
fmp_py_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, bases);
    if (type == NULL) {
        return NULL;
    }
    int rc = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type); /* the module keeps it */
    return rc == 0 ? (PyTypeObject *)type : NULL;
}

PyObject *
fmp_py_lookup(PyObject **kept, const char *module, const char *name)
{
    if (FMP_LIKELY(*kept != NULL)) {
        return *kept;
    }
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *found = imported != NULL ? PyObject_GetAttrString(imported, name) : NULL;
    Py_XDECREF(imported);
    if (*kept == NULL) {
        *kept = found;
    } else if (found != NULL) { /* another thread was faster, while this one imported */
        Py_DECREF(found);
        found = *kept;
    }
    return found;
}

static int
core_exec(PyObject *module)
{
    if (fmp_runtime_start() < 0) {
        return -1;
    }
#define FMP_PY_REGISTER(unit)                 \
    if (fmp_py_register_##unit(module) < 0) { \
        return -1;                            \
    }
    FMP_PY_UNITS(FMP_PY_REGISTER)
#undef FMP_PY_REGISTER
    return 0;
}

/* The region belongs to the process, so one interpreter only. The GIL guards the handles and the heap's hints. */
static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastmp._core",
    .m_doc = "The C core of fastmp: shared memory, locks, queues, pools.",
    .m_size = 0,
    .m_slots = core_slots,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}

/* Bound methods that their objects keep; see bound.h. */
#include "py/bound.h"

#include "py/semlock.h"

static FMP_APART PyObject *
bind(PyObject *descriptor, PyObject *op, PyObject *type)
{
    return PyMethodDescr_Type.tp_descr_get(descriptor, op, type);
}

/* The bound method, kept from now on; unless the garbage collector has run code meanwhile that kept another. */
static FMP_APART PyObject *
bind_and_keep(PyObject *descriptor, PyObject *op, PyObject *type, PyObject **kept)
{
    PyObject *method = bind(descriptor, op, type);
    if (method != NULL && *kept == NULL && !((struct fmp_py_semlock *)op)->bound.is_off) {
        PyObject_GC_UnTrack(method);
        Py_DECREF(op); /* the method's reference; the caller has another */
        *kept = Py_NewRef(method);
    }
    return method;
}

static bool
is_exactly_its(PyObject *descriptor, PyObject *op)
{
    return op != NULL && Py_IS_TYPE(op, PyDescr_TYPE(descriptor));
}

/* `slot` is the offset in struct fmp_py_semlock of where it is kept. */
FMP_INLINE PyObject *
get(PyObject *descriptor, PyObject *op, PyObject *type, size_t slot)
{
    if (FMP_UNLIKELY(!is_exactly_its(descriptor, op))) {
        return bind(descriptor, op, type);
    }
    PyObject **kept = (PyObject **)((char *)op + slot);
    return FMP_LIKELY(*kept != NULL) ? Py_NewRef(*kept) : bind_and_keep(descriptor, op, type, kept);
}

static PyObject *
get_enter(PyObject *descriptor, PyObject *op, PyObject *type)
{
    return get(descriptor, op, type, offsetof(struct fmp_py_semlock, bound.enter));
}

static PyObject *
get_exit(PyObject *descriptor, PyObject *op, PyObject *type)
{
    return get(descriptor, op, type, offsetof(struct fmp_py_semlock, bound.exit));
}

/* ---- giving them up ---- */

static void
forget(PyObject *op, PyObject **kept)
{
    PyObject *method = *kept;
    if (method != NULL) {
        *kept = NULL;
        Py_INCREF(op);
        PyObject_GC_Track(method);
        Py_DECREF(method);
    }
}

void
fmp_py_bound_forget(PyObject *op, struct fmp_py_bound *bound)
{
    forget(op, &bound->enter);
    forget(op, &bound->exit);
}

bool
fmp_py_bound_dealloc(PyObject *op, struct fmp_py_bound *bound)
{
    if (FMP_LIKELY(bound->enter == NULL && bound->exit == NULL)) {
        return false;
    }
    _Py_NewReference(op); /* alive, until here at least */
    fmp_py_bound_forget(op, bound);
    Py_DECREF(op); /* comes here again, unless a method is in use */
    return true;
}

/* ---- the descriptors ---- */

/* Method descriptors in all but how they bind. Static types, as the interpreter's own, from which heap types cannot
 * inherit. */
#define DESCRIPTOR_TYPE(get)                                                                          \
    {                                                                                                 \
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = "method_descriptor", .tp_base = &PyMethodDescr_Type, \
                                    .tp_basicsize = sizeof(PyMethodDescrObject),                      \
                                    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_METHOD_DESCRIPTOR,    \
                                    .tp_descr_get = (get)                                             \
    }

static PyTypeObject enter_type = DESCRIPTOR_TYPE(get_enter);
static PyTypeObject exit_type = DESCRIPTOR_TYPE(get_exit);

/* Idempotent. What PyType_Ready says about `__doc__` would hide the descriptors' own. */
static int
ready(PyTypeObject *descriptor_type)
{
    if (PyType_HasFeature(descriptor_type, Py_TPFLAGS_READY)) {
        return 0;
    }
    return PyType_Ready(descriptor_type) < 0 ? -1 : PyDict_DelItemString(descriptor_type->tp_dict, "__doc__");
}

static int
retype(PyTypeObject *type, const char *name, PyTypeObject *descriptor_type)
{
    PyObject *descriptor = PyDict_GetItemString(type->tp_dict, name);
    if (descriptor == NULL || !Py_IS_TYPE(descriptor, &PyMethodDescr_Type)) {
        PyErr_Format(PyExc_SystemError, "%s of %s is no method", name, type->tp_name);
        return -1;
    }
    if (ready(descriptor_type) < 0) {
        return -1;
    }
    Py_SET_TYPE(descriptor, descriptor_type);
    return 0;
}

int
fmp_py_bound_register(PyTypeObject *type)
{
    /* From 3.14 on `with` calls method descriptors without binding them. */
    if (PY_VERSION_HEX >= 0x030E0000) {
        return 0;
    }
    return retype(type, "__enter__", &enter_type) < 0 ? -1 : retype(type, "__exit__", &exit_type);
}

/*
 * The fault points in Python's hands: tests/crash arms one in a single process of many, and asks what it has passed. In
 * builds with -DFMP_FAULT_POINTS only; elsewhere it adds nothing to the module.
 */
#include "base/fault.h"
#include "py/types.h"
#include "pyrt/wait.h"

#ifdef FMP_FAULT_POINTS
#define NAME_BYTES 64

PyDoc_STRVAR(arm_doc, "_fault_arm(name, nth, action='kill')\n--\n\nKills, stops or delays this process when it "
                      "passes the point for the nth time.");

static int
action_named(const char *name, enum fmp_fault_action *action)
{
    static const char *const names[] = {"kill", "stop", "delay"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *action = (enum fmp_fault_action)i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "a fault point cannot %s", name);
    return -1;
}

/* A copy that outlives the string that the caller gave; there is one for each purpose. */
static const char *
keep(const char *wanted, char name[NAME_BYTES])
{
    if (strlen(wanted) >= NAME_BYTES) {
        PyErr_SetString(PyExc_ValueError, "no fault point has so long a name");
        return NULL;
    }
    return strcpy(name, wanted);
}

static PyObject *
fault_arm(PyObject *Py_UNUSED(module), PyObject *args)
{
    static char name[NAME_BYTES];
    const char *wanted;
    unsigned nth;
    const char *what = "kill";
    enum fmp_fault_action action;
    if (!PyArg_ParseTuple(args, "sI|s:_fault_arm", &wanted, &nth, &what) || action_named(what, &action) < 0 ||
        keep(wanted, name) == NULL) {
        return NULL;
    }
    fmp_fault_arm_with(name, nth, action);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(bequeath_doc,
             "_fault_bequeath(unit, name, nth, action)\n--\n\n"
             "Watches, and kills, stops or delays, the child of this process that is first to pass a point of the "
             "unit. Wants a record.");

static PyObject *
fault_bequeath(PyObject *Py_UNUSED(module), PyObject *args)
{
    static char units[NAME_BYTES], name[NAME_BYTES];
    const char *unit, *wanted, *what;
    unsigned nth;
    enum fmp_fault_action action;
    if (!PyArg_ParseTuple(args, "ssIs:_fault_bequeath", &unit, &wanted, &nth, &what) ||
        action_named(what, &action) < 0 || keep(unit, units) == NULL || keep(wanted, name) == NULL) {
        return NULL;
    }
    fmp_fault_bequeath(units, name, nth, action);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(storm_doc, "_fault_storm(seed, kill_every, delay_every)\n--\n\nFrom now on any point may kill or delay "
                        "this process. Wants a record.");

static PyObject *
fault_storm(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long seed;
    unsigned kill_every, delay_every;
    if (!PyArg_ParseTuple(args, "KII:_fault_storm", &seed, &kill_every, &delay_every)) {
        return NULL;
    }
    fmp_fault_storm(seed, kill_every, delay_every);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(calm_doc, "_fault_calm()\n--\n\nEnds the storms of all processes with this record.");

static PyObject *
fault_calm(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    fmp_fault_calm();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(record_doc, "_fault_record()\n--\n\nA new record of points passed, shared with the children to come. Its "
                         "descriptor.");

static PyObject *
fault_record(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    int fd = fmp_fault_record();
    return fd >= 0 ? PyLong_FromLong(fd) : fmp_py_raise(fd, NULL);
}

PyDoc_STRVAR(join_doc, "_fault_join(fd)\n--\n\nThe record of another process, in one that is not forked from it.");

static PyObject *
fault_join(PyObject *Py_UNUSED(module), PyObject *arg)
{
    int fd = (int)PyLong_AsLong(arg);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    int rc = fmp_fault_join(fd);
    return rc == 0 ? Py_NewRef(Py_None) : fmp_py_raise(rc, NULL);
}

PyDoc_STRVAR(watch_doc, "_fault_watch()\n--\n\nWrites down from now on what this process passes.");

static PyObject *
fault_watch(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    fmp_fault_watch();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(passed_doc, "_fault_passed()\n--\n\nHow often the watched process has passed each point, as a dict.");

static PyObject *
fault_passed(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyObject *counts = PyDict_New();
    const char *name;
    unsigned count;
    for (unsigned i = 0; counts != NULL && (name = fmp_fault_passed(i, &count)) != NULL; i++) {
        PyObject *number = PyLong_FromUnsignedLong(count);
        if (number == NULL || PyDict_SetItemString(counts, name, number) < 0) {
            Py_CLEAR(counts);
        }
        Py_XDECREF(number);
    }
    return counts;
}

static PyMethodDef fault_functions[] = {
    {"_fault_arm", fault_arm, METH_VARARGS, arm_doc},
    {"_fault_bequeath", fault_bequeath, METH_VARARGS, bequeath_doc},
    {"_fault_storm", fault_storm, METH_VARARGS, storm_doc},
    {"_fault_calm", fault_calm, METH_NOARGS, calm_doc},
    {"_fault_record", fault_record, METH_NOARGS, record_doc},
    {"_fault_join", fault_join, METH_O, join_doc},
    {"_fault_watch", fault_watch, METH_NOARGS, watch_doc},
    {"_fault_passed", fault_passed, METH_NOARGS, passed_doc},
    {NULL, NULL, 0, NULL},
};

int
fmp_py_register_fault(PyObject *module)
{
    return PyModule_AddFunctions(module, fault_functions);
}
#else
int
fmp_py_register_fault(PyObject *module)
{
    (void)module;
    return 0;
}
#endif

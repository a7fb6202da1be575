/*
 * What `random` does in each forked child (os.register_at_fork), without its Python: its generator gets a new seed.
 * Random.seed stays what it is; only what a call of the function does first is another (PyFunction_SetVectorcall),
 * where no seed is given. Called by: child.c, child_standard.c; fastmp/_child.py.
 */
#include "py/child.h"

static struct {
    PyObject *original; /* as in fmp_std.originals: Random, "seed", the function, its code */
    PyObject *plain;    /* the method of the class below, which is C's */
    PyObject *type;     /* Random */
    PyObject *defaults; /* of the function */
    vectorcallfunc python;
    bool is_known; /* whatever it is */
} seeding;

static int
forget_gauss(PyObject *random)
{
    PyObject *next = PyObject_GetAttr(random, FMP_NAME(gauss_next));
    int rc = next == NULL ? -1 : next == Py_None ? 0 : PyObject_SetAttr(random, FMP_NAME(gauss_next), Py_None);
    Py_XDECREF(next);
    return rc;
}

/* Random.seed. */
static PyObject *
seed(PyObject *function, PyObject *const *args, size_t nargs, PyObject *names)
{
    if (PyVectorcall_NARGS(nargs) != 1 || names != NULL || (PyObject *)Py_TYPE(args[0]) != seeding.type ||
        PyFunction_GET_DEFAULTS(function) != seeding.defaults || fmp_std_is_traced() ||
        !fmp_std_are_original(seeding.original)) {
        return seeding.python(function, args, nargs, names);
    }
    PyObject *done = PyObject_Vectorcall(seeding.plain, args, 1, NULL);
    if (done != NULL && forget_gauss(args[0]) < 0) {
        Py_CLEAR(done);
    }
    return done;
}

int
fmp_child_meet_random(void)
{
    PyObject *modules = !seeding.is_known ? FMP_STD(sys, modules) : NULL;
    PyObject *module = modules != NULL ? PyDict_GetItemWithError(modules, FMP_NAME(random)) : NULL;
    if (module == NULL) {
        return 0;
    }
    seeding.is_known = true;
    return fmp_child_drop(PyObject_CallOneArg(fmp_std.meet_random, module));
}

const char fmp_child_set_up_random_doc[] =
    "set_up_random(type, original, plain)\n--\n\n"
    "random.Random, what must not have been replaced, with its `seed` as the first, and the `seed` of the class\n"
    "below.";
PyObject *
fmp_child_set_up_random(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *function;
    if (seeding.type != NULL) {
        Py_RETURN_NONE;
    }
    if (!PyArg_ParseTuple(args, "OO!O", &seeding.type, &PyTuple_Type, &seeding.original, &seeding.plain)) {
        return NULL;
    }
    Py_INCREF(args); /* and so all that is in it */
    function = PyTuple_GET_ITEM(PyTuple_GET_ITEM(seeding.original, 0), 2);
    seeding.defaults = PyFunction_GET_DEFAULTS(function);
    seeding.python = fmp_child_set_vectorcall(function, seed);
    Py_RETURN_NONE;
}

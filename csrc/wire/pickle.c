/*
 * The other path: objects that only pickle knows, as protocol 5 with out-of-band buffers. Called by: encode.c and
 * decode.c.
 *
 * Each writer keeps one ForkingPickler, which writes into it through a `sink`; making one for each message would cost
 * more than most pickles. Python code runs during both directions: what it sends itself goes through other writers, as
 * this one is busy.
 *
 * A writer that was told to ask (fmp_wire_ask) gives its pickler a reducer_override, which looks at functions and
 * classes of the main module only.
 *
 * Buffers of FMP_WIRE_BUFFER_MIN bytes or more stay where they are until fmp_wire_copy, and the receiver's objects are
 * views on the message. Smaller ones go in band, so that an array of three numbers does not hold a block for its whole
 * life.
 */
#include "wire/encode.h"
#include "wire/large.h"

#define PROTOCOL 5

struct sink {
    PyObject_HEAD
    struct fmp_wire_writer *writer; /* NULL unless a pickle is being written */
};

/* Process-wide, made at first use; guarded by the GIL. */
static PyTypeObject *sink_type;
static PyObject *loads;
static PyObject *loads_names; /* ("buffers",) */
static PyObject *module_name; /* "__module__" */

static struct fmp_wire_writer *
writer_of(PyObject *self)
{
    struct fmp_wire_writer *w = ((struct sink *)self)->writer;
    if (w == NULL) {
        PyErr_SetString(PyExc_ValueError, "no message is being written");
    }
    return w;
}

/* Any contiguous buffer; 0, or -1 with an exception set. */
static int
get_view(PyObject *data, Py_buffer *view)
{
    if (PyObject_GetBuffer(data, view, PyBUF_FULL_RO) < 0) {
        return -1;
    }
    if (!PyBuffer_IsContiguous(view, 'A')) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_BufferError, "the buffer is not contiguous");
        return -1;
    }
    return 0;
}

/* The pickler's file.write. */
static PyObject *
sink_write(PyObject *self, PyObject *data)
{
    struct fmp_wire_writer *w = writer_of(self);
    Py_buffer view;
    if (w == NULL || get_view(data, &view) < 0) {
        return NULL;
    }
    return fmp_pickle_put(w, &view) < 0 ? NULL : Py_NewRef(Py_None);
}

/* The pickler's buffer_callback: True keeps the buffer in band. */
static PyObject *
sink_collect(PyObject *self, PyObject *buffer)
{
    struct fmp_wire_writer *w = writer_of(self);
    struct fmp_wire_segment segment = {.at = 0};
    if (w == NULL || get_view(buffer, &segment.view) < 0) {
        return NULL;
    }
    if (segment.view.len < FMP_WIRE_BUFFER_MIN) {
        PyBuffer_Release(&segment.view);
        return Py_NewRef(Py_True);
    }
    if (fmp_segments_append(&w->buffers, &segment) < 0) {
        PyBuffer_Release(&segment.view);
        return NULL;
    }
    return Py_NewRef(Py_False);
}

/* Is it a function or a class of the main module? 1, 0, or -1 with an exception set. */
static int
is_of_main(PyObject *obj)
{
    bool is_class = PyType_Check(obj) && PyType_HasFeature((PyTypeObject *)obj, Py_TPFLAGS_HEAPTYPE);
    if (FMP_LIKELY(!is_class && !PyFunction_Check(obj))) {
        return 0;
    }
    if (module_name == NULL && (module_name = PyUnicode_InternFromString("__module__")) == NULL) {
        return -1;
    }
    PyObject *module = PyObject_GetAttr(obj, module_name);
    if (module == NULL) {
        PyErr_Clear(); /* pickle will see what to make of it */
        return 0;
    }
    int rc = PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "__main__") == 0;
    Py_DECREF(module);
    return rc;
}

/* Does the receiver say that it has this very function of the main module? Of a part of a class, and of what is no
 * function, it has to be asked. */
static bool
is_known(PyObject *receiver, PyObject *function)
{
    static PyObject *name; /* "known" */
    PyObject *qualname = PyFunction_Check(function) ? ((PyFunctionObject *)function)->func_qualname : NULL;
    if ((name == NULL && (name = PyUnicode_InternFromString("known")) == NULL) || qualname == NULL ||
        PyUnicode_FindChar(qualname, '.', 0, PyUnicode_GET_LENGTH(qualname), 1) != -1) {
        PyErr_Clear();
        return false;
    }
    PyObject *known = PyObject_GetAttr(receiver, name);
    PyObject *key = known != NULL && PyDict_Check(known) ? PyLong_FromVoidPtr(function) : NULL;
    PyObject *reference = key != NULL ? PyDict_GetItemWithError(known, key) : NULL;
    PyObject *object = reference != NULL ? PyObject_CallNoArgs(reference) : NULL;
    bool is = object == function;
    Py_XDECREF(object);
    Py_XDECREF(key);
    Py_XDECREF(known);
    PyErr_Clear(); /* who is asked says it again */
    return is;
}

/* Is it a function of C, and no method of an object? */
static bool
is_of_module(PyObject *obj)
{
    return PyCFunction_CheckExact(obj) &&
           (PyCFunction_GET_SELF(obj) == NULL || PyModule_Check(PyCFunction_GET_SELF(obj)));
}

bool
fmp_wire_goes_by_name(PyObject *receiver, PyObject *obj)
{
    int is_mains = PyFunction_Check(obj) ? is_of_main(obj) : is_of_module(obj) ? 0 : -1;
    PyErr_Clear(); /* as above */
    return is_mains == 0 || (is_mains > 0 && is_known(receiver, obj));
}

/* The pickler's reducer_override: called for each object that is not of a built-in type. */
static PyObject *
sink_reduce(PyObject *self, PyObject *obj)
{
    struct fmp_wire_writer *w = writer_of(self);
    int rc = w != NULL ? is_of_main(obj) : -1;
    if (rc < 0) {
        return NULL;
    }
    if (rc == 0 || w->definitions == NULL || is_known(w->definitions, obj)) {
        return Py_NewRef(Py_NotImplemented);
    }
    PyObject *definitions = Py_NewRef(w->definitions);
    PyObject *reduced = PyObject_CallMethod(definitions, "reduce_definition", "O", obj);
    Py_DECREF(definitions);
    return reduced;
}

static void
sink_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef sink_methods[] = {
    {"write", sink_write, METH_O, PyDoc_STR("A piece of the pickle.")},
    {"collect", sink_collect, METH_O, PyDoc_STR("An out-of-band buffer; whether it stays in band.")},
    {"reduce", sink_reduce, METH_O, PyDoc_STR("How an object is pickled; NotImplemented: as always.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot sink_slots[] = {
    {Py_tp_dealloc, sink_dealloc},
    {Py_tp_methods, sink_methods},
    {Py_tp_doc, "What fastmp's pickler writes to."},
    {0, NULL},
};

static PyType_Spec sink_spec = {
    .name = "fastmp._core.Sink",
    .basicsize = sizeof(struct sink),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = sink_slots,
};

static PyObject *
new_sink(void)
{
    if (sink_type == NULL) {
        sink_type = (PyTypeObject *)PyType_FromSpec(&sink_spec);
    }
    return sink_type ? sink_type->tp_alloc(sink_type, 0) : NULL;
}

/* ForkingPickler(sink, 5, True, sink.collect) */
static PyObject *
new_pickler(PyObject *sink)
{
    PyObject *module = PyImport_ImportModule("fastmp.reduction");
    PyObject *type = module ? PyObject_GetAttrString(module, "ForkingPickler") : NULL;
    PyObject *collect = type ? PyObject_GetAttrString(sink, "collect") : NULL;
    PyObject *pickler = collect ? PyObject_CallFunction(type, "OiOO", sink, PROTOCOL, Py_True, collect) : NULL;
    Py_XDECREF(collect);
    Py_XDECREF(type);
    Py_XDECREF(module);
    return pickler;
}

void
fmp_wire_forget_pickler(struct fmp_wire_writer *w)
{
    struct fmp_wire_pickler p = w->pickle;
    w->pickle = (struct fmp_wire_pickler){0};
    Py_XDECREF(p.dump);
    Py_XDECREF(p.clear_memo);
    Py_XDECREF(p.reducers);
    Py_XDECREF(p.pickler);
    Py_XDECREF(p.sink);
}

static int
make_pickler(struct fmp_wire_writer *w)
{
    struct fmp_wire_pickler *p = &w->pickle;
    p->sink = new_sink();
    p->pickler = p->sink ? new_pickler(p->sink) : NULL;
    p->dump = p->pickler ? PyObject_GetAttrString(p->pickler, "dump") : NULL;
    p->clear_memo = p->dump ? PyObject_GetAttrString(p->pickler, "clear_memo") : NULL;
    if (p->clear_memo == NULL) {
        fmp_wire_forget_pickler(w);
        return -1;
    }
    return 0;
}

bool
fmp_wire_is_overridden(void)
{
    static PyObject *module_of_it, *class, *override; /* kept for ever */
    if (override == NULL) {
        module_of_it = PyUnicode_InternFromString("fastmp.reduction");
        class = PyUnicode_InternFromString("ForkingPickler");
        override = PyUnicode_InternFromString("reducer_override");
    }
    PyObject *module = module_of_it && class && override ? PyImport_GetModule(module_of_it) : NULL;
    PyObject *type = module != NULL ? PyObject_GetAttr(module, class) : NULL;
    bool is = type == NULL || !PyType_Check(type) || _PyType_Lookup((PyTypeObject *)type, override) != NULL;
    Py_XDECREF(type);
    Py_XDECREF(module);
    PyErr_Clear();
    return is;
}

bool
fmp_wire_is_left_to_pickle(PyTypeObject *type)
{
    PyObject *reducers = fmp_wire_reducers();
    bool is = reducers != NULL && PyDict_Contains(reducers, (PyObject *)type) == 0 && !fmp_wire_is_overridden();
    PyErr_Clear(); /* pickle will say it again */
    return is;
}

/* Sets the pickler's reducer_override, or takes it away: it costs a call for each object. One that somebody has given
 * to the class stays in force. */
static int
set_override(struct fmp_wire_pickler *p, bool asks)
{
    if (asks && PyObject_HasAttrString(p->pickler, "reducer_override")) {
        return 0;
    }
    PyObject *reduce = asks ? PyObject_GetAttrString(p->sink, "reduce") : NULL;
    if (asks && reduce == NULL) {
        return -1;
    }
    int rc = PyObject_SetAttrString(p->pickler, "reducer_override", reduce);
    Py_XDECREF(reduce);
    if (rc == 0) {
        p->asks = asks;
    }
    return rc;
}

/* The writer's pickler, with the reducers of this moment; 0, or -1 with an exception set. */
static int
prepare_pickler(struct fmp_wire_writer *w)
{
    struct fmp_wire_pickler *p = &w->pickle;
    if (FMP_UNLIKELY(p->pickler == NULL) && make_pickler(w) < 0) {
        return -1;
    }
    if (FMP_UNLIKELY(p->asks != (w->definitions != NULL)) && set_override(p, w->definitions != NULL) < 0) {
        return -1;
    }
    PyObject *reducers = fmp_wire_reducers();
    if (FMP_LIKELY(reducers == p->reducers)) {
        return reducers ? 0 : -1;
    }
    if (reducers == NULL || PyObject_SetAttrString(p->pickler, "dispatch_table", reducers) < 0) {
        return -1;
    }
    Py_XSETREF(p->reducers, Py_NewRef(reducers));
    return 0;
}

/* Lets the pickler write into this writer. After a failure it is not used again: there is no telling what it holds. */
static int
dump(struct fmp_wire_writer *w, PyObject *obj)
{
    struct sink *sink = (struct sink *)w->pickle.sink;
    sink->writer = w;
    struct fmp_carrier *before = fmp_carrier_enter(&w->carrier);
    PyObject *done = PyObject_CallOneArg(w->pickle.dump, obj);
    (void)fmp_carrier_enter(before);
    sink->writer = NULL;
    PyObject *cleared = done ? PyObject_CallNoArgs(w->pickle.clear_memo) : NULL;
    Py_XDECREF(done);
    Py_XDECREF(cleared);
    if (cleared == NULL) {
        fmp_wire_forget_pickler(w);
        return -1;
    }
    return 0;
}

static uint64_t
flags_of(const struct fmp_wire_segment *buffer)
{
    return (buffer->view.readonly ? FMP_BUFFER_READONLY : 0) | (buffer->is_object ? FMP_BUFFER_OBJECT : 0);
}

/* Moves the collected buffers behind the pickle, and writes the table and the trailer behind them. */
static int
put_buffers(struct fmp_wire_writer *w)
{
    struct fmp_wire_trailer trailer = {.pickle_bytes = fmp_wire_size(w) - 1, .buffers = w->buffers.count};
    size_t count = w->buffers.count, own = fmp_writer_own(w);
    /* The table is written while the buffers are moved in front of it: they all go before the first byte that is not
     * written yet. */
    if (fmp_writer_room(w, count * sizeof(struct fmp_wire_entry) + sizeof trailer) < 0) {
        return -1;
    }
    size_t at = fmp_wire_size(w);
    for (size_t i = 0; i < count; i++) {
        struct fmp_wire_segment *s = &w->buffers.list[i];
        s->at = own;
        s->pad = -at & (FMP_WIRE_ALIGN - 1);
        struct fmp_wire_entry entry = {at + s->pad, (uint64_t)s->view.len << FMP_BUFFER_FLAG_BITS | flags_of(s)};
        if (fmp_segments_append(&w->segments, s) < 0) {
            w->segments.count -= i; /* they are still in `buffers`, which releases them */
            return -1;
        }
        fmp_writer_copy(w, &entry, sizeof entry);
        w->segment_bytes += s->pad + (size_t)s->view.len;
        at += s->pad + (size_t)s->view.len;
    }
    w->buffers.count = 0;
    fmp_writer_copy(w, &trailer, sizeof trailer);
    return 0;
}

int
fmp_wire_pickle(struct fmp_wire_writer *w, PyObject *obj)
{
    if (prepare_pickler(w) < 0) {
        return -1;
    }
    fmp_writer_byte(w, FMP_TAG_PICKLE); /* an empty writer has room */
    if (dump(w, obj) < 0) {
        return -1;
    }
    if (w->buffers.count == 0) {
        return 0;
    }
    *w->start = FMP_TAG_BUFFERS;
    return put_buffers(w);
}

/* ---- back ---- */

/* `pickle.loads` of a pickle that nobody keeps a view on. */
static PyObject *
load(const unsigned char *data, size_t bytes, PyObject *buffers)
{
    if (loads == NULL) {
        PyObject *module = PyImport_ImportModule("_pickle");
        loads = module ? PyObject_GetAttrString(module, "loads") : NULL;
        loads_names = loads ? Py_BuildValue("(s)", "buffers") : NULL;
        Py_XDECREF(module);
        if (loads_names == NULL) {
            Py_CLEAR(loads);
            return NULL;
        }
    }
    PyObject *pickle = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)bytes, PyBUF_READ);
    if (pickle == NULL) {
        return NULL;
    }
    PyObject *args[] = {pickle, buffers};
    PyObject *obj = PyObject_Vectorcall(loads, args, 1, buffers ? loads_names : NULL);
    Py_DECREF(pickle);
    return obj;
}

void
fmp_wire_practise(void)
{
    static const unsigned char empty_tuple[] = {0x80, PROTOCOL, ')', '.'};
    Py_XDECREF(load(empty_tuple, sizeof empty_tuple, NULL));
    PyErr_Clear();
}

/* One buffer of the message: a view on its owner, or a copy with the same right to write. */
static PyObject *
get_buffer(const unsigned char *data, uint64_t bytes, bool readonly, PyObject *owner)
{
    if (owner == NULL) {
        return readonly ? fmp_large_bytes(data, bytes) : fmp_large_bytearray(data, bytes);
    }
    PyObject *whole = PyMemoryView_FromObject(owner);
    if (whole == NULL) {
        return NULL;
    }
    Py_ssize_t offset = (const char *)data - (const char *)PyMemoryView_GET_BUFFER(whole)->buf;
    PyObject *view = PySequence_GetSlice(whole, offset, offset + (Py_ssize_t)bytes);
    Py_DECREF(whole);
    return view;
}

/* Does `owner`'s buffer hold the message? Asked once, as a view elsewhere would be no view at all. */
static int
check_owner(const unsigned char *data, size_t bytes, PyObject *owner)
{
    Py_buffer view;
    if (PyObject_GetBuffer(owner, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    const unsigned char *from = view.buf;
    bool inside = data >= from && bytes <= (size_t)view.len && (size_t)(data - from) <= (size_t)view.len - bytes;
    PyBuffer_Release(&view);
    if (!inside) {
        PyErr_SetString(PyExc_ValueError, "the owner's buffer does not hold the message");
    }
    return inside ? 0 : -1;
}

/* The list of the `count` buffers that lie between `low` and the table; each begins where the last one has ended, or
 * behind. */
static PyObject *
get_buffers(const unsigned char *data, uint64_t low, uint64_t table, uint64_t count, PyObject *owner)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; list != NULL && i < count; i++) {
        struct fmp_wire_entry entry;
        memcpy(&entry, data + table + i * sizeof entry, sizeof entry);
        FMP_READ_ONCE(entry.offset);
        FMP_READ_ONCE(entry.bytes_flags);
        uint64_t bytes = entry.bytes_flags >> FMP_BUFFER_FLAG_BITS;
        PyObject *buffer = NULL;
        if (entry.offset < low || entry.offset > table || bytes > table - entry.offset) {
            fmp_wire_damaged("a buffer lies outside of its place");
        } else {
            buffer = get_buffer(data + entry.offset, bytes, entry.bytes_flags & FMP_BUFFER_READONLY,
                                entry.bytes_flags & FMP_BUFFER_OBJECT ? NULL : owner);
            low = entry.offset + bytes;
        }
        if (buffer == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, buffer);
        }
    }
    return list;
}

static PyObject *
load_with_buffers(const unsigned char *data, size_t bytes, PyObject *owner)
{
    struct fmp_wire_trailer trailer;
    if (bytes < 1 + sizeof trailer) {
        return fmp_wire_damaged("it ends too early");
    }
    uint64_t table = bytes - sizeof trailer; /* the end of the table */
    memcpy(&trailer, data + table, sizeof trailer);
    FMP_READ_ONCE(trailer.buffers);
    FMP_READ_ONCE(trailer.pickle_bytes);
    if (trailer.buffers > (table - 1) / sizeof(struct fmp_wire_entry)) {
        return fmp_wire_damaged("more buffers than it can hold");
    }
    table -= trailer.buffers * sizeof(struct fmp_wire_entry);
    if (trailer.pickle_bytes > table - 1) {
        return fmp_wire_damaged("the pickle is larger than the message");
    }
    if (owner != NULL && check_owner(data, bytes, owner) < 0) {
        return NULL;
    }
    PyObject *buffers = get_buffers(data, 1 + trailer.pickle_bytes, table, trailer.buffers, owner);
    if (buffers == NULL) {
        return NULL;
    }
    PyObject *obj = load(data + 1, trailer.pickle_bytes, buffers);
    Py_DECREF(buffers);
    return obj;
}

PyObject *
fmp_wire_unpickle(const unsigned char *data, size_t bytes, PyObject *owner)
{
    return *data == FMP_TAG_BUFFERS ? load_with_buffers(data, bytes, owner) : load(data + 1, bytes - 1, NULL);
}

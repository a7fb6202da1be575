/*
 * What a message's reader believes: wire messages, the frame of buffers, keys of shared dicts, and records of a queue
 * or pipe with their blocks. Python itself is linked in; each result is an object or an exception.
 *
 * The bytes of a pickle are left as they are: they are the program of pickle's own machine, which does what it is told.
 */
#include "conn/message.h"

#include <Python.h>

#include "heap/layout.h"
#include "kit.h"
#include "py/dict_key.h"
#include "wire/format.h"
#include "wire/items.h"

#define LIMIT 8
#define FRAME_MAX 8192
#define OPERATIONS_MAX 60

PyMODINIT_FUNC PyInit__core(void);

static struct fmp_space *space;
static struct fmp_handle handle; /* of the ring's block */
static struct fmp_channel channel;
static struct fmp_wire_writer *writer;
static PyObject *objects; /* of the sizes that take different ways; none of them is a pickle */
static unsigned char *frame, *ring_memory;
static size_t frame_bytes, pickle_end;

static const char SCRIPT[] = "import fastmp.reduction, pickle\n"
                             "objects = [7, 'x' * 50, b'y' * 300, [1, 2, {'k': (1.5, None)}], b'z' * 9000,\n"
                             "           2.5, ['\\u20ac' * 40] * 3, [{'id': n, 'name': b'x' * n} for n in range(20)]]\n"
                             "buffers = [pickle.PickleBuffer(bytearray(5000)), pickle.PickleBuffer(bytes(1))]\n";

static void
encode_frame(PyObject *buffers)
{
    FUZZ_CHECK(fmp_wire_encode(writer, buffers) == 0);
    frame_bytes = fmp_wire_size(writer);
    FUZZ_CHECK(frame_bytes <= FRAME_MAX);
    frame = malloc(frame_bytes);
    fmp_wire_copy(writer, frame);
    fmp_wire_reset(writer);
    struct fmp_wire_trailer trailer;
    memcpy(&trailer, frame + frame_bytes - sizeof trailer, sizeof trailer);
    pickle_end = 1 + trailer.pickle_bytes;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    FUZZ_CHECK(PyImport_AppendInittab("fastmp._core", PyInit__core) == 0);
    Py_InitializeEx(0);
    PyObject *globals = PyModule_GetDict(PyImport_AddModule("__main__"));
    PyObject *done = PyRun_String(SCRIPT, Py_file_input, globals, globals);
    if (done == NULL) {
        PyErr_Print();
        abort();
    }
    objects = PyDict_GetItemString(globals, "objects");
    space = fmp_space_default();
    writer = fmp_wire_writer_new();
    FUZZ_CHECK(space != NULL && writer != NULL);
    FUZZ_CHECK(fmp_handle_new(&handle, fmp_ring_bytes(LIMIT), FMP_BLOCK_RING) == 0);
    encode_frame(PyDict_GetItemString(globals, "buffers"));
    ring_memory = fmp_handle_at(&handle);
    return 0;
}

static void
judge(PyObject *obj)
{
    FUZZ_CHECK((obj == NULL) == (PyErr_Occurred() != NULL));
    /* Memory is for what is there: nothing that an input claims may use it up. */
    FUZZ_CHECK(obj != NULL || !PyErr_ExceptionMatches(PyExc_MemoryError));
    PyErr_Clear();
    Py_XDECREF(obj);
}

/* A copy without a byte behind it, so that each byte read too many is seen. */
static void
decode(const uint8_t *data, size_t size, PyObject *(*function)(const unsigned char *, size_t))
{
    unsigned char *copy = malloc(size != 0 ? size : 1);
    memcpy(copy, data, size);
    judge(function(copy, size));
    free(copy);
}

static PyObject *
decode_message(const unsigned char *data, size_t size)
{
    return fmp_wire_decode(data, size, NULL);
}

/* What is made straight from a message beside its cell is what the message says, or nothing. */
static PyObject *
decode_leaf(const unsigned char *data, size_t size)
{
    PyObject *leaf = fmp_wire_leaf(data, size);
    FUZZ_CHECK(PyErr_Occurred() == NULL);
    PyObject *whole = fmp_wire_decode(data, size, NULL);
    FUZZ_CHECK(leaf == NULL || (whole != NULL && PyObject_RichCompareBool(leaf, whole, Py_EQ) == 1));
    Py_XDECREF(leaf);
    return whole;
}

/* Those in the item that is next: false, with an exception, if that is none. */
static bool
pass_item(struct fmp_items *items)
{
    PyObject *in_it[4] = {NULL};
    Py_ssize_t n = fmp_items_next_short(items, in_it, 4);
    if (n == -EAGAIN) {
        in_it[0] = fmp_items_next(items);
        n = in_it[0] != NULL ? 1 : -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_DECREF(in_it[i]);
    }
    return n >= 0;
}

/* A list can be read item by item if and only if it can be read. */
static PyObject *
decode_items(const unsigned char *data, size_t size)
{
    struct fmp_items items;
    bool is_list = fmp_items_begin(&items, data, size), is_good = is_list;
    FUZZ_CHECK(PyErr_Occurred() == NULL);
    while (is_good && items.left != 0) {
        is_good = pass_item(&items);
    }
    if (is_list && fmp_items_end(&items) < 0) {
        is_good = false;
    }
    FUZZ_CHECK((PyErr_Occurred() != NULL) == (is_list && !is_good));
    PyErr_Clear();
    PyObject *whole = fmp_wire_decode(data, size, NULL);
    FUZZ_CHECK(!is_list || is_good == (whole != NULL));
    return whole;
}

static void
fuzz_message(const struct fuzz_input *in)
{
    if (in->left > 0 && (in->next[0] == FMP_TAG_PICKLE || in->next[0] == FMP_TAG_BUFFERS)) {
        return;
    }
    decode(in->next, in->left, decode_leaf);
    decode(in->next, in->left, decode_items);
}

static bool
reads_its_pickle(const unsigned char *bytes, size_t size)
{
    struct fmp_wire_trailer trailer;
    memcpy(&trailer, bytes + size - sizeof trailer, sizeof trailer);
    return trailer.pickle_bytes == pickle_end - 1 || trailer.pickle_bytes > size;
}

/* The frame behind the pickle: damaged here and there, cut, or longer. */
static void
fuzz_frame(struct fuzz_input *in)
{
    unsigned char bytes[FRAME_MAX];
    size_t size = frame_bytes - fuzz_take(in, 1) % 64;
    memcpy(bytes, frame, frame_bytes);
    for (int i = 0; i < 8 && in->left > 0; i++) {
        uint64_t word;
        size_t at = size - 8 - 8 * (fuzz_take(in, 1) % 8);
        memcpy(&word, bytes + at, sizeof word);
        word = fuzz_word(in, word);
        memcpy(bytes + at, &word, sizeof word);
    }
    if (reads_its_pickle(bytes, size)) {
        decode(bytes, size, decode_message);
    }
}

static void
send(struct fuzz_input *in)
{
    PyObject *obj = PyList_GET_ITEM(objects, (Py_ssize_t)(fuzz_take(in, 1) % (size_t)PyList_GET_SIZE(objects)));
    FUZZ_CHECK(fmp_wire_encode(writer, obj) == 0);
    (void)fmp_message_send(&channel, 0, NULL, writer);
    PyErr_Clear();
    fmp_wire_reset(writer);
}

static int
receive(bool discard)
{
    struct fmp_message m;
    int rc = fmp_message_pop(&channel, &m);
    if (rc != 0) {
        PyErr_Clear();
        return rc;
    }
    const unsigned char *data = fmp_message_data(space, &m);
    bool is_pickle = m.bytes > 0 && (*data == FMP_TAG_PICKLE || *data == FMP_TAG_BUFFERS);
    if (discard || is_pickle) {
        fmp_message_discard(space, &m);
    } else {
        judge(fmp_message_decode(space, &m));
    }
    return 0;
}

/* Damages a cell, or the header or the first words of the block that it names. */
static void
damage(struct fuzz_input *in)
{
    struct fmp_cell_shm *cell = &channel.ring.shm->cells[fuzz_take(in, 1) % channel.ring.capacity];
    uint64_t block = cell->record.block;
    if (fuzz_take(in, 1) % 2 == 0 || fmp_heap_usable(space->heap, block) < 64) {
        fuzz_damage(in, cell, 8);
    } else if (fuzz_take(in, 1) % 2 == 0) {
        fuzz_damage(in, (char *)fmp_at(&space->region, block) - sizeof(struct fmp_block_shm), 5);
    } else {
        fuzz_damage(in, fmp_at(&space->region, block), 8);
    }
}

static void
fuzz_records(struct fuzz_input *in)
{
    memset(ring_memory, 0, fmp_ring_bytes(LIMIT));
    FUZZ_CHECK(fmp_ring_init((struct fmp_ring_shm *)ring_memory, LIMIT) == 0);
    FUZZ_CHECK(fmp_channel_open(&channel, space, handle.off, handle.bytes) == 0);
    for (int i = 0; i < OPERATIONS_MAX && in->left > 0; i++) {
        uint64_t what = fuzz_take(in, 1) % 4;
        if (what < 2) {
            send(in);
        } else if (what == 2) {
            damage(in);
        } else {
            (void)receive(fuzz_take(in, 1) % 4 == 0);
        }
    }
    for (uint64_t i = 0; i < 4 * channel.ring.capacity && receive(false) != -EAGAIN; i++) {
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {.next = data, .left = size};
    switch (fuzz_take(&in, 1) % 4) {
    case 0:
        fuzz_message(&in);
        break;
    case 1:
        fuzz_frame(&in);
        break;
    case 2:
        decode(in.next, in.left, fmp_key_decode);
        break;
    default:
        fuzz_records(&in);
    }
    return 0;
}

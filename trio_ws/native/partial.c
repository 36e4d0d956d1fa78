/* A large message in one frame that arrives in parts: it is received into the buffer that it is handed out in.

   The buffer grows with what has arrived: a header alone reserves next to nothing. Text is checked as it comes, so that a
   wrong byte is seen with its part (RFC 6455 8.1). The Python decoder takes over by `take`, whatever the reason. */

#include "core.h"
#include "frames.h"

#include <stddef.h>

enum {
    LEAST_ROOM = 4096, /* bytes that are reserved for what has not arrived */
    GROWTH = 4,        /* the buffer has at most so many times what has arrived */
};

/* A character that is not complete: how many bytes it still needs, and between what the next of them is (RFC 3629 4). */
struct character {
    unsigned char missing, low, high;
};

struct partial {
    PyObject_HEAD
    PyObject *buffer; /* bytes, of which `got` are there, unmasked */
    Py_ssize_t got, size, capacity;
    unsigned char key[KEY_SIZE]; /* of the next byte */
    bool masked;
    int first; /* the frame's first byte */
    struct character cut;
};

static PyTypeObject *partial_type;

bool
is_partial(PyObject *object)
{
    return object != NULL && Py_TYPE(object) == partial_type;
}

/* --- text --- */

/* Return the position of the first byte from `at` on that is not ASCII; some before it may be counted to it. */
static Py_ssize_t
skip_ascii(const unsigned char *data, Py_ssize_t at, Py_ssize_t size)
{
    uint64_t words[4];
    for (; size - at >= (Py_ssize_t)sizeof words; at += (Py_ssize_t)sizeof words) {
        memcpy(words, data + at, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) & UINT64_C(0x8080808080808080))
            break;
    }
    while (at < size && data[at] < 0x80)
        at++;
    return at;
}

static bool
begin_character(struct character *cut, unsigned char byte)
{
    if (byte < 0xC2 || byte > 0xF4)
        return false;
    cut->missing = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    cut->low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    cut->high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return true;
}

/* Return whether a text can go on with these bytes. */
static bool
check_text(struct character *cut, const unsigned char *data, Py_ssize_t size)
{
    for (Py_ssize_t at = 0; at < size; at++) {
        if (cut->missing == 0) {
            at = skip_ascii(data, at, size);
            if (at < size && !begin_character(cut, data[at]))
                return false;
        } else {
            if (data[at] < cut->low || data[at] > cut->high)
                return false;
            cut->missing--;
            cut->low = 0x80;
            cut->high = 0xBF;
        }
    }
    return true;
}

/* --- the buffer --- */

static unsigned char *
end_of(const struct partial *partial)
{
    return (unsigned char *)PyBytes_AsString(partial->buffer) + partial->got;
}

static Py_ssize_t
smaller(Py_ssize_t one, Py_ssize_t other)
{
    return one < other ? one : other;
}

/* Return a capacity for a message of which so much has arrived. */
static Py_ssize_t
capacity_for(Py_ssize_t arrived, Py_ssize_t size)
{
    if (arrived > size / GROWTH)
        return size;
    return smaller(arrived < LEAST_ROOM / GROWTH ? LEAST_ROOM : arrived * GROWTH, size);
}

/* Have the buffer grow for more that has arrived, if it has no room for that. */
static bool
reserve(struct partial *partial, Py_ssize_t more)
{
    if (partial->got + more <= partial->capacity)
        return true;
    Py_ssize_t capacity = capacity_for(partial->got + more, partial->size);
    PyObject *buffer = PyBytes_FromStringAndSize(NULL, capacity);
    if (buffer == NULL)
        return false;
    memcpy(PyBytes_AsString(buffer), PyBytes_AsString(partial->buffer), (size_t)partial->got);
    Py_DECREF(partial->buffer);
    partial->buffer = buffer;
    partial->capacity = capacity;
    return true;
}

/* Count bytes that were unmasked, and rotate the key. */
static void
advance(struct partial *partial, Py_ssize_t size)
{
    unsigned char key[KEY_SIZE];
    for (int at = 0; at < KEY_SIZE; at++)
        key[at] = partial->key[(size + at) % KEY_SIZE];
    memcpy(partial->key, key, KEY_SIZE);
    partial->got += size;
}

/* Take bytes that lie unmasked at the end of the buffer; if the message is complete, return it in `message`. False with
   UnicodeDecodeError: they are no text, and were not taken. Likewise with MemoryError. */
static bool
take_bytes(struct partial *partial, Py_ssize_t size, PyObject **message)
{
    struct character cut = partial->cut;
    if (partial->got + size == partial->size) {
        *message = partial->first == WHOLE_BINARY
                       ? Py_NewRef(partial->buffer)
                       : PyUnicode_DecodeUTF8(PyBytes_AsString(partial->buffer), partial->size, NULL);
        return *message != NULL;
    }
    if (partial->first == WHOLE_TEXT && !check_text(&cut, end_of(partial), size)) {
        PyErr_SetString(PyExc_ValueError, "no text");
        return false;
    }
    partial->cut = cut;
    advance(partial, size);
    return true;
}

/* --- called from read.c --- */

/* Return the message whose frame begins the data and is cut, with the part of it that is there; NULL with an exception;
   None if it is something that only Python understands. */
PyObject *
begin_partial(const unsigned char *data, Py_ssize_t there, int masked, Py_ssize_t largest)
{
    struct frame frame;
    if (!read_start(data, there, masked, largest, &frame))
        return Py_NewRef(Py_None);
    Py_ssize_t got = there - (frame.payload - data);
    struct partial *partial = PyObject_New(struct partial, partial_type);
    if (partial == NULL)
        return NULL;
    partial->first = frame.first;
    partial->size = frame.size;
    partial->got = 0;
    partial->masked = frame.key != NULL;
    memset(partial->key, 0, KEY_SIZE);
    if (partial->masked)
        memcpy(partial->key, frame.key, KEY_SIZE);
    partial->cut = (struct character){0, 0, 0};
    partial->capacity = capacity_for(got, frame.size);
    partial->buffer = PyBytes_FromStringAndSize(NULL, partial->capacity);
    PyObject *message = NULL;
    if (partial->buffer != NULL && extend_partial((PyObject *)partial, frame.payload, got, &message) == got)
        return (PyObject *)partial;
    Py_DECREF((PyObject *)partial);
    if (PyErr_ExceptionMatches(PyExc_MemoryError))
        return NULL;
    PyErr_Clear();
    return Py_NewRef(Py_None);
}

Py_ssize_t
partial_size(const PyObject *self)
{
    return ((const struct partial *)self)->size;
}

/* Return how many bytes may be received into the buffer without its growing. */
Py_ssize_t
partial_room(const PyObject *self)
{
    const struct partial *partial = (const struct partial *)self;
    return partial->capacity - partial->got;
}

/* Return how many bytes are missing of the message. */
Py_ssize_t
partial_left(const PyObject *self)
{
    const struct partial *partial = (const struct partial *)self;
    return partial->size - partial->got;
}

/* Return where bytes are received into, after the buffer has grown for so many that have arrived; NULL with an
   exception. */
unsigned char *
reserve_partial(PyObject *self, Py_ssize_t arrived)
{
    struct partial *partial = (struct partial *)self;
    return reserve(partial, smaller(arrived, partial->size - partial->got)) ? end_of(partial) : NULL;
}

/* Take bytes that were received into the room; the rest is as of `take_bytes`, and the bytes are masked again. */
bool
fill_partial(PyObject *self, Py_ssize_t size, PyObject **message)
{
    struct partial *partial = (struct partial *)self;
    unsigned char *bytes = end_of(partial);
    if (partial->masked)
        xor_with_key(bytes, bytes, size, partial->key);
    if (take_bytes(partial, size, message))
        return true;
    if (partial->masked)
        xor_with_key(bytes, bytes, size, partial->key);
    return false;
}

/* Take the beginning of other data, as far as it is of this message; return how much that is, or -1 with an exception, as
   of `take_bytes`. */
Py_ssize_t
extend_partial(PyObject *self, const unsigned char *data, Py_ssize_t size, PyObject **message)
{
    struct partial *partial = (struct partial *)self;
    size = smaller(size, partial->size - partial->got);
    if (!reserve(partial, size))
        return -1;
    if (partial->masked)
        xor_with_key(end_of(partial), data, size, partial->key);
    else
        memcpy(end_of(partial), data, (size_t)size);
    return take_bytes(partial, size, message) ? size : -1;
}

/* --- the type --- */

static PyObject *
partial_take(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    const struct partial *partial = (struct partial *)self;
    /* Built by hand: the formats with `#` are other functions in the headers of Python 3.13 than in those before, and a
       module of the stable ABI that is compiled with the former would fail on 3.11 and 3.12. */
    PyObject *key = partial->masked ? PyBytes_FromStringAndSize((const char *)partial->key, KEY_SIZE) : Py_NewRef(Py_None);
    PyObject *beginning = PyBytes_FromStringAndSize(PyBytes_AsString(partial->buffer), partial->got);
    if (key == NULL || beginning == NULL) {
        Py_XDECREF(key);
        Py_XDECREF(beginning);
        return NULL;
    }
    return Py_BuildValue("inNN", partial->first, partial->size - partial->got, key, beginning);
}

static void
partial_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct partial *)self)->buffer);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef partial_methods[] = {
    {"take", partial_take, METH_NOARGS,
     "take($self, /)\n--\n\nReturn the frame's first byte, how many bytes are missing, their key, and those that came."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot partial_slots[] = {
    {Py_tp_doc, "A message that is received into a buffer of its own."},
    {Py_tp_dealloc, partial_dealloc},
    {Py_tp_methods, partial_methods},
    {0, NULL},
};

bool
add_partial_type(PyObject *module)
{
    PyType_Spec spec = {
        .name = "trio_ws.native._core.Partial",
        .basicsize = sizeof(struct partial),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = partial_slots,
    };
    PyObject *type = PyType_FromSpec(&spec);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) == 0) {
        partial_type = (PyTypeObject *)type; /* kept: the process has one module */
        return true;
    }
    Py_XDECREF(type);
    return false;
}

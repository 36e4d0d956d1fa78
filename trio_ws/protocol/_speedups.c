/* The hot parts of the frame codec in C: whole, uncompressed messages in one frame, and the XOR of masking.

   Nothing else is here. Whatever is cut, fragmented, compressed, a control frame or wrong is left to the Python code
   that calls this (see `compiled.py`), which knows all the rules and names them. No I/O, no state, no threads: every
   function reads the buffers that it is given and returns new objects, so any interpreter of a process may load it, and
   it needs no GIL (see `choose_slots`). C11 and the stable ABI of CPython 3.11, which free-threaded builds do not have:
   for these it is built for one version. */

#include <pyconfig.h>
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../native/frames.h"
#include "../native/interface.h"

enum { SCRATCH = 4096 }; /* Text up to this size is unmasked on the stack. */

static bool
argument_count_is(Py_ssize_t count, Py_ssize_t expected)
{
    if (count != expected)
        PyErr_Format(PyExc_TypeError, "%zd arguments expected, not %zd", expected, count);
    return count == expected;
}

/* Read an integer; one that is out of range is taken as the nearest one that is not. Return false with an error if it is
   none: its `__index__` may have raised anything. */
static bool
get_size(PyObject *object, Py_ssize_t *size)
{
    *size = PyNumber_AsSsize_t(object, NULL);
    return *size != -1 || PyErr_Occurred() == NULL;
}

/* Take hold of a key for as long as `view` is not released. */
static bool
get_key(PyObject *object, Py_buffer *view)
{
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0)
        return false;
    if (view->len == KEY_SIZE)
        return true;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "a masking key has four bytes");
    return false;
}

/* --- bytes to messages --- */

/* Return a message as bytes; `key` is NULL if it is not masked. */
static PyObject *
binary_message(const unsigned char *payload, Py_ssize_t size, const unsigned char *key)
{
    if (key == NULL)
        return PyBytes_FromStringAndSize((const char *)payload, size);
    PyObject *message = PyBytes_FromStringAndSize(NULL, size);
    if (message != NULL)
        xor_with_key((unsigned char *)PyBytes_AsString(message), payload, size, key);
    return message;
}

PyDoc_STRVAR(apply_mask_doc, "apply_mask(payload, key, /)\n--\n\nAs `masking.apply_mask`.");

static PyObject *
apply_mask(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Py_buffer payload, key;
    PyObject *result = NULL;
    if (!argument_count_is(count, 2) || PyObject_GetBuffer(args[0], &payload, PyBUF_SIMPLE) < 0)
        return NULL;
    if (get_key(args[1], &key)) {
        result = binary_message(payload.buf, payload.len, key.buf);
        PyBuffer_Release(&key);
    }
    PyBuffer_Release(&payload);
    return result;
}

/* Return a message as str, or NULL with UnicodeDecodeError; `key` is NULL if it is not masked. */
static PyObject *
text_message(const unsigned char *payload, Py_ssize_t size, const unsigned char *key)
{
    unsigned char scratch[SCRATCH];
    if (key == NULL)
        return PyUnicode_DecodeUTF8((const char *)payload, size, NULL);
    unsigned char *plain = size <= SCRATCH ? scratch : PyMem_Malloc((size_t)size);
    if (plain == NULL)
        return PyErr_NoMemory();
    xor_with_key(plain, payload, size, key);
    PyObject *message = PyUnicode_DecodeUTF8((const char *)plain, size, NULL);
    if (plain != scratch)
        PyMem_Free(plain);
    return message;
}

/* Append the messages that `data` holds from `*position` on; move `*position` and `*budget`. */
static bool
append_messages(const Py_buffer *data, Py_ssize_t *position, PyObject *out, Py_ssize_t stop, Py_ssize_t *budget,
                int masked, Py_ssize_t largest)
{
    const unsigned char *bytes = data->buf;
    struct frame frame;
    while (read_frame(bytes + *position, data->len - *position, masked, largest, &frame)) {
        PyObject *message = (frame.first == WHOLE_TEXT ? text_message : binary_message)(frame.payload, frame.size,
                                                                                        frame.key);
        if (message == NULL)
            return false;
        int failed = PyList_Append(out, message);
        Py_DECREF(message);
        if (failed)
            return false;
        *position = frame.payload + frame.size - bytes;
        *budget -= frame.size;
        if (*budget <= 0 || PyList_Size(out) >= stop)
            break;
    }
    return true;
}

PyDoc_STRVAR(parse_doc,
             "parse(data, position, out, stop, budget, masked, largest, /)\n--\n\n"
             "Append the whole messages in `data` to `out`, up to the first frame that is something else, or until\n"
             "`out` has `stop` items or messages of `budget` bytes were appended; return position and budget then.\n"
             "Integers that are out of range are taken as the nearest ones that are not.");

static PyObject *
parse(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (!argument_count_is(count, 7))
        return NULL;
    Py_ssize_t position, stop, budget, masked, largest;
    if (!get_size(args[1], &position) || !get_size(args[3], &stop) || !get_size(args[4], &budget) ||
        !get_size(args[5], &masked) || !get_size(args[6], &largest))
        return NULL;
    if (!PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "messages are appended to a list");
        return NULL;
    }
    Py_buffer data;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    bool done = false;
    /* A budget that is used up lets one message pass, which has no more bytes than the data. */
    if (budget < PY_SSIZE_T_MIN + data.len)
        budget = PY_SSIZE_T_MIN + data.len;
    if (position < 0 || position > data.len)
        PyErr_SetString(PyExc_ValueError, "the position is outside the data");
    else
        done = append_messages(&data, &position, args[2], stop, &budget, masked ? MASKED : 0, largest);
    PyBuffer_Release(&data);
    return done ? Py_BuildValue("nn", position, budget) : NULL;
}

/* --- messages to bytes --- */

/* Return a frame; `key` is NULL if it is not masked. */
static PyObject *
make_frame(int first, const char *payload, Py_ssize_t size, const unsigned char *key)
{
    unsigned char header[LARGEST_HEADER];
    Py_ssize_t header_size = write_header(header, first, size, key == NULL ? 0 : MASKED);
    Py_ssize_t key_size = key == NULL ? 0 : KEY_SIZE;
    /* No overflow: what an object can hold is less than PY_SSIZE_T_MAX by the object's own header, which is longer. */
    PyObject *frame = PyBytes_FromStringAndSize(NULL, header_size + key_size + size);
    if (frame == NULL)
        return NULL;
    unsigned char *out = (unsigned char *)PyBytes_AsString(frame);
    memcpy(out, header, (size_t)header_size);
    out += header_size;
    if (key == NULL) {
        memcpy(out, payload, (size_t)size);
    } else {
        memcpy(out, key, KEY_SIZE);
        xor_with_key(out + KEY_SIZE, (const unsigned char *)payload, size, key);
    }
    return frame;
}

PyDoc_STRVAR(plain_message_doc, "plain_message(data, /)\n--\n\nAs `encoder.plain_message`.");

static PyObject *
plain_message(PyObject *Py_UNUSED(module), PyObject *data)
{
    Py_ssize_t size;
    if (PyUnicode_Check(data)) {
        const char *payload = PyUnicode_AsUTF8AndSize(data, &size);
        return payload == NULL ? NULL : make_frame(WHOLE_TEXT, payload, size, NULL);
    }
    if (PyBytes_Check(data))
        return make_frame(WHOLE_BINARY, PyBytes_AsString(data), PyBytes_Size(data), NULL);
    if (!PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyObject *name = PyType_GetName(Py_TYPE(data));
        if (name != NULL)
            PyErr_Format(PyExc_TypeError,
                         "a message is str, bytes, bytearray or memoryview, not %U: send_json() sends values", name);
        Py_XDECREF(name);
        return NULL;
    }
    PyObject *copy = PyObject_Bytes(data); /* a memoryview may have gaps */
    if (copy == NULL)
        return NULL;
    PyObject *frame = make_frame(WHOLE_BINARY, PyBytes_AsString(copy), PyBytes_Size(copy), NULL);
    Py_DECREF(copy);
    return frame;
}

PyDoc_STRVAR(encode_doc,
             "encode(first, payload, take_key, /)\n--\n\n"
             "Return a frame with this first byte, whose payload is `bytes`, or `str` as UTF-8. `take_key` is called\n"
             "for a masking key when nothing but memory can be wanting any more; None: the frame is not masked.");

static PyObject *
encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (!argument_count_is(count, 3))
        return NULL;
    Py_ssize_t first, size;
    if (!get_size(args[0], &first))
        return NULL;
    const char *payload;
    if (PyUnicode_Check(args[1])) {
        payload = PyUnicode_AsUTF8AndSize(args[1], &size);
        if (payload == NULL)
            return NULL;
    } else if (PyBytes_Check(args[1])) {
        payload = PyBytes_AsString(args[1]);
        size = PyBytes_Size(args[1]);
    } else {
        PyErr_SetString(PyExc_TypeError, "a payload is str or bytes");
        return NULL;
    }
    if (args[2] == Py_None)
        return make_frame((int)first, payload, size, NULL);
    PyObject *taken = PyObject_CallNoArgs(args[2]);
    if (taken == NULL)
        return NULL;
    PyObject *frame = NULL;
    Py_buffer key;
    if (get_key(taken, &key)) {
        frame = make_frame((int)first, payload, size, key.buf);
        PyBuffer_Release(&key);
    }
    Py_DECREF(taken);
    return frame;
}

static PyMethodDef functions[] = {
    {"apply_mask", (PyCFunction)(void (*)(void))apply_mask, METH_FASTCALL, apply_mask_doc},
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, encode_doc},
    {"plain_message", plain_message, METH_O, plain_message_doc},
    {"parse", (PyCFunction)(void (*)(void))parse, METH_FASTCALL, parse_doc},
    {NULL, NULL, 0, NULL},
};

/* What later versions ask of a module, by the numbers that the stable ABI fixes: the headers of 3.11, which this is built
   with, do not name them, and 3.11 itself refuses a slot that it does not know. */
enum {
    PYTHON_3_12 = 0x030C0000,
    PYTHON_3_13 = 0x030D0000,
    MULTIPLE_INTERPRETERS = 3, /* Py_mod_multiple_interpreters */
    GIL = 4,                   /* Py_mod_gil */
};
#define PER_INTERPRETER_GIL_SUPPORTED ((void *)2)
#define GIL_NOT_USED ((void *)1)

static int
execute(PyObject *module)
{
    return PyModule_AddIntConstant(module, "INTERFACE", TRIO_WS_INTERFACE);
}

static PyModuleDef_Slot slots[4] = {{Py_mod_exec, execute}}; /* ends with a slot of zeros */

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "trio_ws.protocol._speedups",
    .m_doc = "The hot parts of the frame codec; see compiled.py.",
    .m_methods = functions,
    .m_slots = slots,
};

/* State what is true of the module, as far as the running interpreter can be told. It is the same each time. */
static void
choose_slots(void)
{
    if (Py_Version >= PYTHON_3_12)
        slots[1] = (PyModuleDef_Slot){MULTIPLE_INTERPRETERS, PER_INTERPRETER_GIL_SUPPORTED};
    if (Py_Version >= PYTHON_3_13)
        slots[2] = (PyModuleDef_Slot){GIL, GIL_NOT_USED};
}

PyMODINIT_FUNC
PyInit__speedups(void)
{
    choose_slots();
    return PyModuleDef_Init(&definition);
}

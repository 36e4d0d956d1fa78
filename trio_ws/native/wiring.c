/* What the Python code tells the core at import: its classes, values, functions, and what is used of Trio. */

#include "core.h"

#include <stddef.h>

struct wiring wired;

/* A class, and the struct's type that it must inherit; NULL for one that is not ours. */
struct class_entry {
    const char *name;
    const char *base;
    PyTypeObject **place;
};

static const struct class_entry classes[] = {
    {"inbox", "InboxState", &wired.inbox},
    {"outbox", "OutboxState", &wired.outbox},
    {"socket", "SocketState", &wired.socket},
    {"decoder", "DecoderState", &wired.decoder},
    {"encoder", "EncoderState", &wired.encoder},
    {"endpoint", "EndpointState", &wired.endpoint},
    {"reader", "ReaderState", &wired.reader},
    {"writer", "WriterState", &wired.writer},
    {"channel", "ChannelState", &wired.channel},
    {"context", "ContextState", &wired.context},
    {"python_socket", NULL, &wired.python_socket},
};

struct object_entry {
    const char *name;
    PyObject **place;
};

static const struct object_entry objects[] = {
    {"open", &wired.open},
    {"resume", &wired.resume},
    {"current_task", &wired.current_task},
    {"current_time", &wired.current_time},
    {"reschedule", &wired.reschedule},
    {"wait_task_rescheduled", &wired.wait_task_rescheduled},
    {"checkpoint_if_cancelled", &wired.checkpoint_if_cancelled},
    {"receive", &wired.receive},
    {"send", &wired.send},
    {"websocket_receive", &wired.websocket_receive},
    {"websocket_anext", &wired.websocket_anext},
    {"websocket_send", &wired.websocket_send},
    {"websocket_offer", &wired.websocket_offer},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Return what the arguments hold under a name, borrowed from them. */
static PyObject *
argument(PyObject *arguments, const char *name)
{
    PyObject *value = PyDict_GetItemString(arguments, name);
    if (value == NULL)
        PyErr_Format(PyExc_TypeError, "wire() needs %s", name);
    return value;
}

/* Return whether an argument is a class with the struct that is expected of it. */
static bool
check_class(PyObject *module, PyObject *arguments, const struct class_entry *entry)
{
    PyObject *class = argument(arguments, entry->name);
    if (class == NULL)
        return false;
    if (!PyType_Check(class)) {
        PyErr_Format(PyExc_TypeError, "%s is no class", entry->name);
        return false;
    }
    if (entry->base == NULL)
        return true;
    PyObject *base = PyObject_GetAttrString(module, entry->base);
    if (base == NULL)
        return false;
    bool inherits = PyType_Check(base) && PyType_IsSubtype((PyTypeObject *)class, (PyTypeObject *)base);
    Py_DECREF(base);
    if (!inherits)
        PyErr_Format(PyExc_TypeError, "%s does not inherit %s", entry->name, entry->base);
    return inherits;
}

/* Check everything before anything is changed. */
static bool
check_arguments(PyObject *module, PyObject *arguments)
{
    for (size_t at = 0; at < COUNT(classes); at++)
        if (!check_class(module, arguments, &classes[at]))
            return false;
    for (size_t at = 0; at < COUNT(objects); at++)
        if (argument(arguments, objects[at].name) == NULL)
            return false;
    return true;
}

static void
take_class(const struct class_entry *entry, PyObject *arguments)
{
    PyTypeObject *before = *entry->place;
    *entry->place = (PyTypeObject *)Py_NewRef(PyDict_GetItemString(arguments, entry->name));
    Py_XDECREF((PyObject *)before);
}

static void
take_object(const struct object_entry *entry, PyObject *arguments)
{
    PyObject *before = *entry->place;
    *entry->place = Py_NewRef(PyDict_GetItemString(arguments, entry->name));
    Py_XDECREF(before);
}

/* wire(arguments): a dictionary with all that struct wiring names. */
PyObject *
wire(PyObject *module, PyObject *arguments)
{
    if (!PyDict_Check(arguments)) {
        PyErr_SetString(PyExc_TypeError, "wire() takes a dictionary");
        return NULL;
    }
    PyObject *every = argument(arguments, "yield_every"), *shortcut = argument(arguments, "shortcut");
    if (every == NULL || shortcut == NULL || !check_arguments(module, arguments))
        return NULL;
    Py_ssize_t yield_every = PyLong_AsSsize_t(every);
    if (yield_every == -1 && PyErr_Occurred() != NULL)
        return NULL;
    wired.yield_every = yield_every;
    wired.shortcut = shortcut == Py_True;
    for (size_t at = 0; at < COUNT(classes); at++)
        take_class(&classes[at], arguments);
    for (size_t at = 0; at < COUNT(objects); at++)
        take_object(&objects[at], arguments);
    if (!take_docs())
        return NULL;
    Py_RETURN_NONE;
}

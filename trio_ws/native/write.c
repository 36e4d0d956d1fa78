/* The way out: a message is framed and sent, or put into the outbox, in one call. It does what the second half of
   `MessageWriter.send` and `SocketTransport.write` do, for the messages of a server without compression. */

#include "core.h"
#include "frames.h"
#include "system.h"

enum {
    CORK_BYTES = 16 * 1024, /* as in transport/sockets.py */
    WANTS_WRITABLE = 0x4,   /* WRITABLE of transport/selector.py */
    SMALL_MESSAGE = 2048,   /* up to this size a copy beside the header is cheaper than a second part */
};

struct message {
    unsigned char header[LARGEST_HEADER];
    Py_ssize_t header_size;
    const char *payload;
    Py_ssize_t payload_size;
    bool binary;
};

/* Read a str or bytes; false with an exception. The payload is that of `data`, for as long as that lives. */
static bool
frame_message(struct message *message, PyObject *data)
{
    message->binary = PyBytes_Check(data);
    if (message->binary) {
        message->payload = PyBytes_AsString(data);
        message->payload_size = PyBytes_Size(data);
    } else {
        message->payload = PyUnicode_AsUTF8AndSize(data, &message->payload_size);
    }
    if (message->payload == NULL)
        return false;
    int first = message->binary ? WHOLE_BINARY : WHOLE_TEXT;
    message->header_size = write_header(message->header, first, message->payload_size, 0);
    return true;
}

/* Return the bytes of the frame from `sent` on. */
static PyObject *
copy_frame(const struct message *message, Py_ssize_t sent)
{
    Py_ssize_t header_left = sent < message->header_size ? message->header_size - sent : 0;
    Py_ssize_t from = sent < message->header_size ? 0 : sent - message->header_size;
    PyObject *rest = PyBytes_FromStringAndSize(NULL, header_left + message->payload_size - from);
    if (rest == NULL)
        return NULL;
    char *out = PyBytes_AsString(rest);
    memcpy(out, message->header + message->header_size - header_left, (size_t)header_left);
    memcpy(out + header_left, message->payload + from, (size_t)(message->payload_size - from));
    return rest;
}

/* Return the frame from `sent` on, which is behind the header: a view of the message if that is large. */
static PyObject *
rest_of_frame(const struct message *message, PyObject *data, Py_ssize_t sent)
{
    Py_ssize_t from = sent - message->header_size;
    if (from < 0 || !message->binary || message->payload_size - from <= CORK_BYTES)
        return copy_frame(message, sent);
    PyObject *view = PyMemoryView_FromObject(data);
    PyObject *rest = view == NULL ? NULL : PySequence_GetSlice(view, from, message->payload_size);
    Py_XDECREF(view);
    return rest;
}

/* Send no more, as `_keep` does when it fails: the frame's beginning may be on its way, and no rest will follow. */
static void
give_up_frame(Socket *socket)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    if (!call_method(socket, "_break_writing"))
        PyErr_WriteUnraisable((PyObject *)socket);
    PyErr_Restore(kind, value, trace);
}

/* Call the transport with data that it keeps; it is stolen. Return false with an exception, also if it is NULL. */
static bool
keep(Socket *socket, PyObject *data)
{
    PyObject *result = data == NULL ? NULL : PyObject_CallMethod((PyObject *)socket, "_keep", "Oi", data, 0);
    Py_XDECREF(data);
    if (result == NULL)
        give_up_frame(socket);
    Py_XDECREF(result);
    return result != NULL;
}

/* Send what the socket takes, and keep the rest. */
static bool
send_message(Socket *socket, const struct message *message, PyObject *data)
{
    unsigned char small[LARGEST_HEADER + SMALL_MESSAGE];
    struct iovec parts[2] = {{(void *)message->header, (size_t)message->header_size},
                             {(void *)message->payload, (size_t)message->payload_size}};
    size_t count = 2;
    if (message->payload_size <= SMALL_MESSAGE) {
        memcpy(small, message->header, (size_t)message->header_size);
        memcpy(small + message->header_size, message->payload, (size_t)message->payload_size);
        parts[0] = (struct iovec){small, (size_t)(message->header_size + message->payload_size)};
        count = 1;
    }
    ssize_t sent = send_parts(socket->fd, parts, count);
    if (sent < 0 && !would_block())
        return call_method(socket, "_break_writing");
    if (sent < 0)
        sent = 0;
    if (sent == message->header_size + message->payload_size)
        return true;
    if (sent < message->header_size && message->payload_size > CORK_BYTES) {
        /* Two parts, so that the message need not be copied for the rest of its header. */
        PyObject *header = PyBytes_FromStringAndSize((const char *)message->header + sent, message->header_size - sent);
        if (!keep(socket, header))
            return false;
        sent = message->header_size;
    }
    return keep(socket, rest_of_frame(message, data, sent));
}

/* Make the list of what waits, if nothing did. */
static bool
have_chunks(Outbox *outbox)
{
    if (outbox->chunks != Py_None)
        return true;
    PyObject *chunks = PyList_New(0);
    if (chunks == NULL)
        return false;
    outbox->chunks = chunks;
    Py_DECREF(Py_None);
    return true;
}

/* Put a frame, which is stolen, behind what waits, and see that it is sent in time. */
static bool
queue_frame(Socket *socket, Outbox *outbox, PyObject *frame, bool hold)
{
    Py_ssize_t size = frame == NULL ? 0 : PyBytes_Size(frame);
    int failed = frame == NULL || !have_chunks(outbox) || PyList_Append(outbox->chunks, frame) < 0;
    Py_XDECREF(frame);
    if (failed)
        return false;
    outbox->size += size;
    if (socket->interest & WANTS_WRITABLE)
        return true;
    if (!hold || outbox->size >= CORK_BYTES)
        return call_method(socket, "flush");
    return socket->corked || call_method(socket, "cork");
}

/* Count the message, as `MessageWriter.send` does. */
static bool
count_message(Writer *writer, Outbox *outbox)
{
    writer->sent++;
    if (writer->clocked) {
        PyObject *now = PyObject_CallNoArgs(wired.current_time);
        double seconds = now == NULL ? -1.0 : PyFloat_AsDouble(now);
        Py_XDECREF(now);
        if (PyErr_Occurred() != NULL)
            return false;
        writer->message_time = seconds;
    }
    return outbox->size < outbox->high_water || call_method(writer, "_watch_outbox");
}

static bool
commit_on(Writer *writer, Socket *socket, Outbox *outbox, Inbox *inbox, PyObject *data)
{
    struct message message;
    if (!frame_message(&message, data))
        return false;
    /* A large message is not held back: it would be copied, to be sent at once all the same. */
    bool hold = PyList_Size(inbox->items) > 0 && message.payload_size < CORK_BYTES;
    bool done = hold || outbox->size > 0 ? queue_frame(socket, outbox, copy_frame(&message, 0), hold)
                                         : send_message(socket, &message, data);
    return done && count_message(writer, outbox);
}

/* Return whether a message may be committed now, and there is nothing about it that only Python understands. */
static bool
may_commit(const Writer *writer, const Socket *socket)
{
    const Endpoint *endpoint = (const Endpoint *)writer->endpoint;
    const Inbox *inbox = (const Inbox *)writer->inbox;
    if (!IS(endpoint, endpoint) || !IS(inbox, inbox) || !IS(endpoint->encoder, encoder) || !IS(socket->outbox, outbox))
        return false;
    const Outbox *outbox = (const Outbox *)socket->outbox;
    return !writer->blocked && outbox->size < outbox->high_water && !outbox->closed && endpoint->state == wired.open &&
           ((const Encoder *)endpoint->encoder)->plain && IS(socket->sock, python_socket) && socket->fd >= 0 &&
           !socket->write_broken && inbox->items != NULL && PyList_CheckExact(inbox->items) &&
           outbox->chunks != NULL && (outbox->chunks == Py_None || PyList_CheckExact(outbox->chunks));
}

/* Send what the socket takes of a frame of many connections, and keep the rest. */
static bool
send_frame(Socket *socket, PyObject *frame)
{
    Py_ssize_t size = PyBytes_Size(frame);
    struct iovec part = {PyBytes_AsString(frame), (size_t)size};
    ssize_t sent = send_parts(socket->fd, &part, 1);
    if (sent < 0 && !would_block())
        return call_method(socket, "_break_writing");
    if (sent == size)
        return true;
    PyObject *view = PyMemoryView_FromObject(frame);
    PyObject *rest = view == NULL ? NULL : PySequence_GetSlice(view, sent < 0 ? 0 : sent, size);
    Py_XDECREF(view);
    return keep(socket, rest);
}

static bool
commit_frame_on(Writer *writer, Socket *socket, Outbox *outbox, Inbox *inbox, PyObject *frame, bool hold)
{
    hold = hold || PyList_Size(inbox->items) > 0;
    bool done = hold || outbox->size > 0 ? queue_frame(socket, outbox, Py_NewRef(frame), hold)
                                         : send_frame(socket, frame);
    return done && count_message(writer, outbox);
}

/* Commit a message, or with `frame` that, in one step, whole or not at all. */
static Outcome
commit(Writer *writer, PyObject *data, PyObject *frame, bool hold)
{
    Socket *socket = (Socket *)writer->transport;
    if (!IS(socket, socket) || !may_commit(writer, socket))
        return DECLINED;
    Outbox *outbox = (Outbox *)Py_NewRef(socket->outbox);
    Inbox *inbox = (Inbox *)Py_NewRef(writer->inbox);
    HOLD(socket);
    bool done = frame == NULL ? commit_on(writer, socket, outbox, inbox, data)
                              : commit_frame_on(writer, socket, outbox, inbox, frame, hold);
    RELEASE(socket);
    RELEASE(inbox);
    RELEASE(outbox);
    return done ? DONE : FAILED;
}

Outcome
commit_message(Writer *writer, PyObject *data)
{
    return commit(writer, data, NULL, false);
}

/* Append a position to the list of those that are Python's. */
static bool
leave(PyObject *left, Py_ssize_t position)
{
    PyObject *number = PyLong_FromSsize_t(position);
    int failed = number == NULL || PyList_Append(left, number) < 0;
    Py_XDECREF(number);
    return !failed;
}

/* Commit a frame on each of the writers. Committing may run Python code, so that the list may change. */
static bool
commit_on_each(PyObject *writers, PyObject *frame, bool hold, PyObject *left)
{
    for (Py_ssize_t at = 0; at < PyList_Size(writers); at++) {
        PyObject *writer = Py_NewRef(PyList_GetItem(writers, at));
        Outcome outcome = IS(writer, writer) ? commit((Writer *)writer, NULL, frame, hold) : DECLINED;
        Py_DECREF(writer);
        if (outcome == FAILED || (outcome == DECLINED && !leave(left, at)))
            return false;
    }
    return true;
}

/* commit_frame(writers, frame, hold): commit bytes that are the frame of a plain message on each writer of the list;
   return a list of the positions that are Python's turn. */
PyObject *
commit_frame(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyList_CheckExact(arguments[0]) || !PyBytes_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "commit_frame() takes a list, bytes and a flag");
        return NULL;
    }
    PyObject *left = PyList_New(0);
    if (left != NULL && !commit_on_each(arguments[0], arguments[1], arguments[2] == Py_True, left)) {
        Py_DECREF(left);
        return NULL;
    }
    return left;
}

/* commit(writer, data): True if the message, str or bytes, was committed; False: Python's turn. */
PyObject *
commit_data(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "commit() takes 2 arguments");
        return NULL;
    }
    if (!IS(arguments[0], writer) || !(PyUnicode_CheckExact(arguments[1]) || PyBytes_CheckExact(arguments[1])))
        return Py_NewRef(Py_False);
    Outcome outcome = commit_message((Writer *)arguments[0], arguments[1]);
    return outcome == FAILED ? NULL : Py_NewRef(outcome == DONE ? Py_True : Py_False);
}

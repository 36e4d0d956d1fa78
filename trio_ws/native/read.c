/* The way in: what epoll reports is read and parsed into the inboxes, all sockets of a turn in one call.

   It does what `Poller`, `SocketTransport.ready` and `MessageReader.data_received` do, for whole uncompressed messages.
   One socket is read once in a turn, at most the shared buffer's size, as in Python: that bounds what one peer gets. */

#include "core.h"
#include "frames.h"
#include "system.h"

/* One turn of the poller. */
struct turn {
    PyObject *buffer;     /* the memoryview that sockets are read into */
    Py_buffer memory;     /* the same */
    PyObject *now;        /* float */
    double seconds;       /* the same */
    PyObject *woken;      /* list of tasks that are to be rescheduled */
    PyObject *unfinished; /* list of pairs: a transport with its events, or with an exception */
};

/* The parts of a connection, held while its data is parsed. */
struct receiver {
    Reader *reader;
    Inbox *inbox;
    Endpoint *endpoint;
    Decoder *decoder;
};

/* --- messages --- */

/* Return a whole message, unmasked where it lies. If it is text and not UTF-8, it is masked again and there is an
   exception: the Python decoder judges it. */
static PyObject *
message_of(const struct frame *frame, unsigned char *payload)
{
    if (frame->first == WHOLE_BINARY) {
        PyObject *message = PyBytes_FromStringAndSize(NULL, frame->size);
        if (message == NULL)
            return NULL;
        unsigned char *out = (unsigned char *)PyBytes_AsString(message);
        if (frame->key != NULL)
            xor_with_key(out, payload, frame->size, frame->key);
        else
            memcpy(out, payload, (size_t)frame->size);
        return message;
    }
    if (frame->key != NULL)
        xor_with_key(payload, payload, frame->size, frame->key);
    PyObject *message = PyUnicode_DecodeUTF8((const char *)payload, frame->size, NULL);
    if (message == NULL && frame->key != NULL)
        xor_with_key(payload, payload, frame->size, frame->key);
    return message;
}

/* Put the whole messages at the start of the data into the inbox, as far as it has room. Return their end, or -1 with
   an exception, MemoryError for one. */
static Py_ssize_t
take_messages(struct receiver *to, unsigned char *data, Py_ssize_t size)
{
    Inbox *inbox = to->inbox;
    Py_ssize_t position = 0, room = inbox->max_bytes - inbox->size;
    struct frame frame;
    while (room > 0 && PyList_Size(inbox->items) < inbox->max_items &&
           read_frame(data + position, size - position, to->decoder->masked, to->decoder->max_message_size, &frame)) {
        PyObject *message = message_of(&frame, (unsigned char *)frame.payload);
        if (message == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
                return -1;
            PyErr_Clear();
            break;
        }
        int failed = PyList_Append(inbox->items, message);
        Py_DECREF(message);
        if (failed)
            return -1;
        inbox->size += frame.size;
        room -= frame.size;
        to->reader->received++;
        position = frame.payload + frame.size - data;
    }
    return position;
}

/* Have the task that waits for the inbox rescheduled at the end of the turn. */
static bool
wake(struct turn *turn, Inbox *inbox)
{
    PyObject *task = inbox->reader;
    if (task == Py_None || task == NULL)
        return true;
    if (PyList_Append(turn->woken, task) < 0)
        return false;
    inbox->reader = Py_NewRef(Py_None);
    Py_DECREF(task);
    return true;
}

/* Reschedule the tasks now: Python code is about to run, and may cancel one of them. A failure is no reason to leave the
   others asleep: it is reported. */
static bool
reschedule_woken(struct turn *turn)
{
    for (Py_ssize_t at = 0; at < PyList_Size(turn->woken); at++) {
        PyObject *task = Py_NewRef(PyList_GetItem(turn->woken, at));
        PyObject *result = PyObject_CallFunctionObjArgs(wired.reschedule, task, wired.resume, NULL);
        if (result == NULL)
            PyErr_WriteUnraisable(task);
        Py_DECREF(task);
        Py_XDECREF(result);
    }
    return PyList_SetSlice(turn->woken, 0, PyList_Size(turn->woken), NULL) == 0;
}

/* Give the data from `position` on to the Python code. */
static bool
pass_on(struct turn *turn, Reader *reader, Py_ssize_t position, Py_ssize_t size)
{
    if (!reschedule_woken(turn))
        return false;
    PyObject *rest = PySequence_GetSlice(turn->buffer, position, size);
    if (rest == NULL)
        return false;
    PyObject *result = PyObject_CallMethod((PyObject *)reader, "data_received", "OO", rest, turn->now);
    Py_DECREF(rest);
    Py_XDECREF(result);
    return result != NULL;
}

/* Have a function called with the messages, in this turn. */
static bool
call_back(struct turn *turn, Reader *reader)
{
    PyObject *function = Py_NewRef(reader->on_messages);
    PyObject *result = reschedule_woken(turn) ? PyObject_CallNoArgs(function) : NULL;
    Py_DECREF(function);
    Py_XDECREF(result);
    return result != NULL;
}

/* Parse what was read. */
static bool
parse(struct turn *turn, struct receiver *to, Py_ssize_t size)
{
    Reader *reader = to->reader;
    Inbox *inbox = to->inbox;
    Py_ssize_t before = reader->received;
    reader->read_time = turn->seconds;
    Py_ssize_t position = take_messages(to, turn->memory.buf, size);
    if (reader->received != before) {
        reader->message_time = turn->seconds;
        if (PyList_Size(inbox->items) >= inbox->max_items || inbox->size >= inbox->max_bytes)
            reader->paused = 1;
        PyObject *kind, *value, *trace; /* also if memory ran out behind them */
        PyErr_Fetch(&kind, &value, &trace);
        bool calls = reader->on_messages != NULL && reader->on_messages != Py_None;
        if (!calls && !wake(turn, inbox)) {
            Py_XDECREF(kind);
            Py_XDECREF(value);
            Py_XDECREF(trace);
            return false;
        }
        PyErr_Restore(kind, value, trace);
    }
    if (position < 0)
        return false;
    if (position < size)
        return pass_on(turn, reader, position, size);
    return reader->on_messages == NULL || reader->on_messages == Py_None || call_back(turn, reader);
}

/* --- sockets --- */

/* Return whether a socket's data is for a connection that C understands, in a state in which whole messages are what it
   waits for. Data that was kept back is never there: then the reader is paused. */
static bool
may_read(Socket *socket, struct receiver *to)
{
    Reader *reader = to->reader = (Reader *)socket->receiver;
    if (!IS(reader, reader) || reader->paused || socket->reading_over || !IS(socket->sock, python_socket) ||
        socket->fd < 0)
        return false;
    Inbox *inbox = to->inbox = (Inbox *)reader->inbox;
    Endpoint *endpoint = to->endpoint = (Endpoint *)reader->endpoint;
    if (!IS(inbox, inbox) || !IS(endpoint, endpoint) || endpoint->state != wired.open)
        return false;
    Decoder *decoder = to->decoder = (Decoder *)endpoint->decoder;
    return IS(decoder, decoder) && decoder->between && inbox->items != NULL && PyList_CheckExact(inbox->items);
}

/* Read a socket once. */
static Outcome
read_socket(struct turn *turn, Socket *socket)
{
    struct receiver to;
    if (!may_read(socket, &to))
        return DECLINED;
    ssize_t size = receive_bytes(socket->fd, turn->memory.buf, (size_t)turn->memory.len);
    if (size <= 0)
        return DECLINED; /* the end, an error, or nothing: Python reads again, and knows what to do */
    HOLD(to.reader);
    HOLD(to.inbox);
    HOLD(to.endpoint);
    HOLD(to.decoder);
    bool done = parse(turn, &to, (Py_ssize_t)size);
    RELEASE(to.decoder);
    RELEASE(to.endpoint);
    RELEASE(to.inbox);
    RELEASE(to.reader);
    return done ? DONE : FAILED;
}

/* Leave a transport to Python: with its events, or with the exception that is set. */
static bool
leave(struct turn *turn, PyObject *transport, PyObject *what)
{
    PyObject *pair = what == NULL ? NULL : PyTuple_Pack(2, transport, what);
    int failed = pair == NULL || PyList_Append(turn->unfinished, pair) < 0;
    Py_XDECREF(pair);
    Py_XDECREF(what);
    return !failed;
}

static PyObject *
take_exception(void)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return value;
}

#ifdef HAVE_EPOLL

enum { LARGEST_BATCH = 1024 };

struct ready {
    PyObject *transport; /* NULL if its socket is not watched any more */
    unsigned int events;
};

/* Ask epoll; return how many sockets are ready, with their transports held, or -1 with an exception. All are looked up
   before the first is read: reading may close others, whose descriptors are used again. */
static int
find_ready(int epoll, PyObject *transports, struct ready *found, int most)
{
    struct epoll_event events[LARGEST_BATCH];
    int count = epoll_wait(epoll, events, most, 0);
    if (count < 0) {
        if (errno == EINTR)
            return 0;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    for (int at = 0; at < count; at++) {
        PyObject *fd = PyLong_FromLong(events[at].data.fd);
        found[at].events = events[at].events;
        found[at].transport = fd == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(transports, fd));
        Py_XDECREF(fd);
    }
    return count;
}

/* Read those that are only readable; leave all others to Python. */
static bool
serve(struct turn *turn, const struct ready *ready)
{
    Outcome outcome = DECLINED;
    if (ready->events == EPOLLIN && IS(ready->transport, socket))
        outcome = read_socket(turn, (Socket *)ready->transport);
    if (outcome == DONE)
        return true;
    if (outcome == FAILED && !PyErr_ExceptionMatches(PyExc_Exception))
        return false; /* SystemExit, say, of a signal's handler: it ends more than one connection */
    return leave(turn, ready->transport, outcome == FAILED ? take_exception() : PyLong_FromUnsignedLong(ready->events));
}

static PyObject *
serve_all(struct turn *turn, int epoll, PyObject *transports, int most)
{
    struct ready found[LARGEST_BATCH];
    int count = find_ready(epoll, transports, found, most);
    if (count < 0)
        return NULL;
    bool done = PyErr_Occurred() == NULL;
    for (int at = 0; at < count; at++) {
        if (found[at].transport == NULL)
            continue;
        done = done && serve(turn, &found[at]); /* what is left out is reported again */
        Py_DECREF(found[at].transport);
    }
    if (!done) {
        PyObject *exception = take_exception();
        reschedule_woken(turn); /* whatever happens: their inboxes have forgotten them */
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
        return NULL;
    }
    return Py_BuildValue("iOO", count, turn->woken, turn->unfinished);
}

/* poll(epoll, batch, transports, buffer, now) -> (count, tasks to reschedule, unfinished) */
PyObject *
poll_sockets(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "poll() takes 5 arguments");
        return NULL;
    }
    long epoll = PyLong_AsLong(arguments[0]), most = PyLong_AsLong(arguments[1]);
    struct turn turn = {.buffer = arguments[3], .now = arguments[4], .seconds = PyFloat_AsDouble(arguments[4])};
    if (PyErr_Occurred() != NULL)
        return NULL;
    if (!PyDict_Check(arguments[2]) || most < 1 || epoll != (int)epoll) {
        PyErr_SetString(PyExc_ValueError, "poll() takes a descriptor, a positive number and a dictionary");
        return NULL;
    }
    if (PyObject_GetBuffer(turn.buffer, &turn.memory, PyBUF_WRITABLE) < 0)
        return NULL;
    turn.woken = PyList_New(0);
    turn.unfinished = turn.woken == NULL ? NULL : PyList_New(0);
    PyObject *result = NULL;
    if (turn.unfinished != NULL)
        result = serve_all(&turn, (int)epoll, arguments[2], most < LARGEST_BATCH ? (int)most : LARGEST_BATCH);
    Py_XDECREF(turn.woken);
    Py_XDECREF(turn.unfinished);
    PyBuffer_Release(&turn.memory);
    return result;
}

#endif

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

static bool
has_room(const Inbox *inbox)
{
    return inbox->size < inbox->max_bytes && PyList_Size(inbox->items) < inbox->max_items;
}

/* Put a message, which is stolen, into the inbox. */
static bool
put(struct receiver *to, PyObject *message, Py_ssize_t size)
{
    int failed = PyList_Append(to->inbox->items, message);
    Py_DECREF(message);
    if (failed)
        return false;
    to->inbox->size += size;
    to->reader->received++;
    return true;
}

/* Put the whole messages in the data from `position` on into the inbox, as far as it has room. Return their end, or -1
   with an exception, MemoryError for one. */
static Py_ssize_t
take_messages(struct receiver *to, unsigned char *data, Py_ssize_t position, Py_ssize_t size)
{
    Inbox *inbox = to->inbox;
    struct frame frame;
    while (has_room(inbox) &&
           read_frame(data + position, size - position, to->decoder->masked, to->decoder->max_message_size, &frame)) {
        PyObject *message = message_of(&frame, (unsigned char *)frame.payload);
        if (message == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
                return -1;
            PyErr_Clear();
            break;
        }
        if (!put(to, message, frame.size))
            return -1;
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

/* --- a large message that arrives in parts --- */

/* Replace the decoder's partial message; `partial` is stolen. */
static void
set_partial(Decoder *decoder, PyObject *partial)
{
    PyObject *before = decoder->partial;
    decoder->partial = partial;
    decoder->between = partial == Py_None;
    Py_XDECREF(before);
}

/* Return whether the exception says that bytes are no text: then the Python decoder judges them, as they came. */
static bool
is_for_python(void)
{
    if (!PyErr_ExceptionMatches(PyExc_ValueError))
        return false;
    PyErr_Clear();
    return true;
}

/* Give a part that is no text to the Python code. */
static bool
pass_on_part(struct turn *turn, Reader *reader, const unsigned char *bytes, Py_ssize_t size)
{
    PyObject *part = reschedule_woken(turn) ? PyBytes_FromStringAndSize((const char *)bytes, size) : NULL;
    PyObject *view = part == NULL ? NULL : PyMemoryView_FromObject(part);
    PyObject *result =
        view == NULL ? NULL : PyObject_CallMethod((PyObject *)reader, "data_received", "OO", view, turn->now);
    Py_XDECREF(part);
    Py_XDECREF(view);
    Py_XDECREF(result);
    return result != NULL;
}

/* Take `direct` bytes at `room`, where the message had room, and what follows them in the shared buffer. Return where
   other messages begin there: its end if Python has taken over. -1 with an exception. */
static Py_ssize_t
continue_partial(struct turn *turn, struct receiver *to, PyObject *partial, const unsigned char *room,
                 Py_ssize_t direct, Py_ssize_t size)
{
    PyObject *message = NULL;
    Py_ssize_t more = 0;
    if (!fill_partial(partial, direct, &message)) {
        bool passed = is_for_python() && pass_on_part(turn, to->reader, room, direct);
        return passed && (size == 0 || pass_on(turn, to->reader, 0, size)) ? size : -1;
    }
    if (message == NULL && size > 0) {
        more = extend_partial(partial, turn->memory.buf, size, &message);
        if (more < 0)
            return is_for_python() && pass_on(turn, to->reader, 0, size) ? size : -1;
    }
    if (message == NULL)
        return more;
    set_partial(to->decoder, Py_NewRef(Py_None));
    return put(to, message, partial_size(partial)) ? more : -1;
}

/* Keep the beginning of a message that is cut there. Return DECLINED if it is something else. */
static Outcome
keep_beginning(struct turn *turn, struct receiver *to, Py_ssize_t position, Py_ssize_t size)
{
    Decoder *decoder = to->decoder;
    const unsigned char *data = (const unsigned char *)turn->memory.buf + position;
    if (!has_room(to->inbox))
        return DECLINED;
    PyObject *partial = begin_partial(data, size - position, decoder->masked, decoder->max_message_size);
    if (partial == NULL)
        return FAILED;
    set_partial(decoder, partial);
    return partial == Py_None ? DECLINED : DONE;
}

/* --- what was read --- */

/* Note that messages came, and wake the task that waits for them. */
static bool
note_messages(struct turn *turn, Reader *reader, Inbox *inbox)
{
    reader->message_time = turn->seconds;
    if (!has_room(inbox))
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
    return true;
}

/* Parse what is in the shared buffer from `position` on. */
static bool
parse_from(struct turn *turn, struct receiver *to, Py_ssize_t before, Py_ssize_t position, Py_ssize_t size)
{
    Reader *reader = to->reader;
    if (position >= 0)
        position = take_messages(to, turn->memory.buf, position, size);
    Outcome kept = DECLINED;
    if (position >= 0 && position < size)
        kept = keep_beginning(turn, to, position, size);
    if (reader->received != before && !note_messages(turn, reader, to->inbox))
        return false;
    if (position < 0 || kept == FAILED)
        return false;
    if (position < size && kept == DECLINED)
        return pass_on(turn, reader, position, size);
    return reader->on_messages == NULL || reader->on_messages == Py_None || call_back(turn, reader);
}

/* Read into the message that had begun, and the rest into the shared buffer, together no more than that has room for. */
static Outcome
read_partial(struct turn *turn, Socket *socket, struct receiver *to, PyObject *partial)
{
    Py_ssize_t most = turn->memory.len, left = partial_left(partial), before = to->reader->received;
    Py_ssize_t direct = left < most ? left : most;
    bool grows = partial_room(partial) < direct; /* only for what has arrived: the peer has sent as much as it reserves */
    unsigned char *room = reserve_partial(partial, grows ? arrived_bytes(socket->fd) : 0);
    if (room == NULL)
        return FAILED;
    if (partial_room(partial) < direct)
        direct = partial_room(partial);
    struct iovec parts[2] = {{room, (size_t)direct}, {turn->memory.buf, (size_t)(most - direct)}};
    ssize_t got = receive_parts(socket->fd, parts, direct < most ? 2 : 1);
    if (got <= 0)
        return DECLINED;
    to->reader->read_time = turn->seconds;
    Py_ssize_t size = got > direct ? got - direct : 0;
    Py_ssize_t position = continue_partial(turn, to, partial, room, got - size, size);
    return parse_from(turn, to, before, position, size) ? DONE : FAILED;
}

static Outcome
read_whole(struct turn *turn, Socket *socket, struct receiver *to)
{
    ssize_t size = receive_bytes(socket->fd, turn->memory.buf, (size_t)turn->memory.len);
    if (size <= 0)
        return DECLINED; /* the end, an error, or nothing: Python reads again, and knows what to do */
    to->reader->read_time = turn->seconds;
    return parse_from(turn, to, to->reader->received, 0, (Py_ssize_t)size) ? DONE : FAILED;
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
    return IS(decoder, decoder) && (decoder->between || is_partial(decoder->partial)) && inbox->items != NULL && PyList_CheckExact(inbox->items);
}

/* Read a socket once. */
static Outcome
read_socket(struct turn *turn, Socket *socket)
{
    struct receiver to;
    if (!may_read(socket, &to))
        return DECLINED;
    HOLD(to.reader);
    HOLD(to.inbox);
    HOLD(to.endpoint);
    HOLD(to.decoder);
    Outcome outcome;
    if (is_partial(to.decoder->partial)) {
        PyObject *partial = Py_NewRef(to.decoder->partial);
        outcome = read_partial(turn, socket, &to, partial);
        Py_DECREF(partial);
    } else {
        outcome = read_whole(turn, socket, &to);
    }
    RELEASE(to.decoder);
    RELEASE(to.endpoint);
    RELEASE(to.inbox);
    RELEASE(to.reader);
    return outcome;
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
        int fd = events[at].data.fd;
        PyObject *transport = fd < PyList_Size(transports) ? PyList_GetItem(transports, fd) : NULL;
        found[at].events = events[at].events;
        found[at].transport = transport == Py_None ? NULL : Py_XNewRef(transport);
    }
    return count;
}

/* Write what waits, as `SocketTransport._attend` does first. */
static bool
flush(struct turn *turn, PyObject *transport)
{
    return reschedule_woken(turn) && call_method(transport, "flush");
}

/* Write and read, as far as the events say; all other events are left to Python. */
static bool
serve(struct turn *turn, const struct ready *ready)
{
    PyObject *transport = ready->transport;
    unsigned int events = ready->events;
    Outcome outcome = DECLINED;
    if ((events & ~(unsigned int)(EPOLLIN | EPOLLOUT)) == 0 && IS(transport, socket)) {
        if (events & EPOLLOUT)
            outcome = flush(turn, transport) ? DONE : FAILED;
        events &= EPOLLIN;
        if (outcome != FAILED && events)
            outcome = read_socket(turn, (Socket *)transport);
    }
    if (outcome == DONE)
        return true;
    if (outcome == FAILED && !PyErr_ExceptionMatches(PyExc_Exception))
        return false; /* SystemExit, say, of a signal's handler: it ends more than one connection */
    return leave(turn, transport, outcome == FAILED ? take_exception() : PyLong_FromUnsignedLong(events));
}

static PyObject *
serve_all(struct turn *turn, int epoll, PyObject *transports, int most)
{
    struct ready found[LARGEST_BATCH];
    int count = find_ready(epoll, transports, found, most);
    if (count < 0)
        return NULL;
    bool done = true;
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
    if (!PyList_Check(arguments[2]) || most < 1 || epoll != (int)epoll) {
        PyErr_SetString(PyExc_ValueError, "poll() takes a descriptor, a positive number and a list");
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

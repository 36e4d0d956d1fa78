/* The structs of core.h as types: bases that the Python classes inherit, each with its members as attributes.

   They have no methods and no rules, but for `Face`, whose methods take the way through C where all is plain. */

#include "core.h"

#include <stddef.h>
#include <structmember.h>

/* --- what all have in common: the members that are objects are found in the table --- */

static PyObject **
slot_of(PyObject *self, const PyMemberDef *member)
{
    return (PyObject **)((char *)self + member->offset);
}

static int
visit_members(PyObject *self, const PyMemberDef *members, visitproc visit, void *arg)
{
    for (const PyMemberDef *member = members; member->name != NULL; member++)
        if (member->type == T_OBJECT_EX)
            Py_VISIT(*slot_of(self, member));
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int
clear_members(PyObject *self, const PyMemberDef *members)
{
    for (const PyMemberDef *member = members; member->name != NULL; member++)
        if (member->type == T_OBJECT_EX)
            Py_CLEAR(*slot_of(self, member));
    return 0;
}

static void
free_state(PyObject *self, const PyMemberDef *members)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear_members(self, members);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* A struct with its table `id_members`; `more` are further slots, each followed by a comma. */
#define STATE(id, Struct, label, doc, ...)                                                                           \
    static int id##_traverse(PyObject *self, visitproc visit, void *arg)                                             \
    {                                                                                                                  \
        return visit_members(self, id##_members, visit, arg);                                                        \
    }                                                                                                                  \
    static int id##_clear(PyObject *self)                                                                            \
    {                                                                                                                  \
        return clear_members(self, id##_members);                                                                    \
    }                                                                                                                  \
    static void id##_dealloc(PyObject *self)                                                                         \
    {                                                                                                                  \
        free_state(self, id##_members);                                                                              \
    }                                                                                                                  \
    static PyType_Slot id##_slots[] = {                                                                              \
        {Py_tp_doc, doc},                                                                                              \
        {Py_tp_members, id##_members},                                                                               \
        {Py_tp_traverse, id##_traverse},                                                                             \
        {Py_tp_clear, id##_clear},                                                                                   \
        {Py_tp_dealloc, id##_dealloc},                                                                               \
        __VA_ARGS__{0, NULL},                                                                                          \
    };                                                                                                                 \
    static PyType_Spec id##_spec = {                                                                                 \
        .name = "trio_ws.native._core." label,                                                                         \
        .basicsize = sizeof(Struct),                                                                                   \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,                                        \
        .slots = id##_slots,                                                                                         \
    }

#define OBJECT(Struct, field, name) {name, T_OBJECT_EX, offsetof(Struct, field), 0, NULL}
#define SIZE(Struct, field, name) {name, T_PYSSIZET, offsetof(Struct, field), 0, NULL}
#define NUMBER(Struct, field, name) {name, T_LONGLONG, offsetof(Struct, field), 0, NULL}
#define INT(Struct, field, name) {name, T_INT, offsetof(Struct, field), 0, NULL}
#define BOOL(Struct, field, name) {name, T_BOOL, offsetof(Struct, field), 0, NULL}
#define TIME(Struct, field, name) {name, T_DOUBLE, offsetof(Struct, field), 0, NULL}
#define END {NULL, 0, 0, 0, NULL}

/* --- the structs --- */

static PyMemberDef inbox_members[] = {
    OBJECT(Inbox, items, "items"),
    OBJECT(Inbox, reader, "reader"),
    OBJECT(Inbox, task, "task"),
    OBJECT(Inbox, trap, "trap"),
    SIZE(Inbox, size, "size"),
    SIZE(Inbox, max_items, "max_items"),
    SIZE(Inbox, max_bytes, "max_bytes"),
    SIZE(Inbox, streak, "streak"),
    END,
};
STATE(inbox, Inbox, "InboxState", "The state of an inbox.");

static PyMemberDef outbox_members[] = {
    OBJECT(Outbox, chunks, "chunks"),
    SIZE(Outbox, size, "size"),
    SIZE(Outbox, high_water, "high_water"),
    BOOL(Outbox, closed, "closed"),
    END,
};
STATE(outbox, Outbox, "OutboxState", "The state of an outbox.");

static PyMemberDef socket_members[] = {
    OBJECT(Socket, outbox, "outbox"),
    OBJECT(Socket, receiver, "receiver"),
    OBJECT(Socket, sock, "_sock"),
    INT(Socket, fd, "_fd"),
    INT(Socket, interest, "_interest"),
    BOOL(Socket, corked, "_corked"),
    BOOL(Socket, reading_over, "_reading_over"),
    BOOL(Socket, write_broken, "_write_broken"),
    BOOL(Socket, dead, "_dead"),
    BOOL(Socket, finishing, "_finishing"),
    END,
};
STATE(socket, Socket, "SocketState", "The state of a transport over a socket.");

static PyMemberDef decoder_members[] = {
    OBJECT(Decoder, partial, "_partial"),
    SIZE(Decoder, max_message_size, "_max_message_size"),
    SIZE(Decoder, budget, "budget"),
    INT(Decoder, masked, "_masked"),
    INT(Decoder, patience, "_patience"),
    BOOL(Decoder, between, "_between"),
    BOOL(Decoder, failed, "failed"),
    BOOL(Decoder, closed, "closed"),
    BOOL(Decoder, discarding, "_discarding"),
    BOOL(Decoder, armed, "_armed"),
    END,
};
STATE(decoder, Decoder, "DecoderState", "The part of a decoder's state that whole messages need.");

static PyMemberDef encoder_members[] = {
    BOOL(Encoder, plain, "plain"),
    END,
};
STATE(encoder, Encoder, "EncoderState", "The part of an encoder's state that whole messages need.");

static PyMemberDef endpoint_members[] = {
    OBJECT(Endpoint, state, "state"),
    OBJECT(Endpoint, close_info, "close_info"),
    OBJECT(Endpoint, decoder, "decoder"),
    OBJECT(Endpoint, encoder, "encoder"),
    END,
};
STATE(endpoint, Endpoint, "EndpointState", "The state of an endpoint.");

static PyMemberDef reader_members[] = {
    OBJECT(Reader, inbox, "inbox"),
    OBJECT(Reader, outbox, "_outbox"),
    OBJECT(Reader, endpoint, "_endpoint"),
    OBJECT(Reader, closing, "closing"),
    OBJECT(Reader, on_messages, "on_messages"),
    SIZE(Reader, received, "received"),
    TIME(Reader, read_time, "read_time"),
    TIME(Reader, message_time, "message_time"),
    BOOL(Reader, paused, "paused"),
    BOOL(Reader, reads, "reads"),
    BOOL(Reader, end_reported, "end_reported"),
    BOOL(Reader, in_stream, "_in_stream"),
    BOOL(Reader, resume_scheduled, "_resume_scheduled"),
    END,
};
STATE(reader, Reader, "ReaderState", "The part of a reader's state that whole messages need.");

static PyMemberDef writer_members[] = {
    OBJECT(Writer, transport, "_transport"),
    OBJECT(Writer, endpoint, "_endpoint"),
    OBJECT(Writer, inbox, "_inbox"),
    SIZE(Writer, sent, "sent"),
    TIME(Writer, message_time, "message_time"),
    BOOL(Writer, blocked, "blocked"),
    BOOL(Writer, clocked, "_clocked"),
    BOOL(Writer, streaming, "_streaming"),
    END,
};
STATE(writer, Writer, "WriterState", "The part of a writer's state that whole messages need.");

static PyMemberDef closing_members[] = {
    BOOL(Closing, client, "_client"),
    BOOL(Closing, gone, "gone"),
    BOOL(Closing, network_ended, "network_ended"),
    BOOL(Closing, notified, "notified"),
    BOOL(Closing, peer_ended, "peer_ended"),
    BOOL(Closing, peer_lags, "_peer_lags"),
    END,
};
STATE(closing, Closing, "ClosingState", "The flags of a closing handshake.");

static PyMemberDef channel_members[] = {
    OBJECT(Channel, reader, "reader"),
    OBJECT(Channel, writer, "writer"),
    TIME(Channel, open_time, "open_time"),
    END,
};
STATE(channel, Channel, "ChannelState", "The parts of a channel that messages pass, and its time.");

static PyMemberDef context_members[] = {
    OBJECT(Context, channel, "channel"),
    BOOL(Context, handler_finished, "handler_finished"),
    BOOL(Context, nursery_used, "nursery_used"),
    END,
};
STATE(context, Context, "ContextState", "The part of a connection's context that messages need, and its flags.");

static PyTypeObject *deadline_type; /* kept: the process has one module */

static PyMemberDef deadline_members[] = {
    TIME(Deadline, due, "due"),
    NUMBER(Deadline, order, "order"),
    BOOL(Deadline, armed, "armed"),
    END,
};

/* Compare two deadlines, as a heap does; `<` is all there is. */
static PyObject *
compare_deadlines(PyObject *self, PyObject *other, int operation)
{
    if (operation != Py_LT || !PyObject_TypeCheck(other, deadline_type))
        return Py_NewRef(Py_NotImplemented);
    const Deadline *one = (Deadline *)self, *two = (Deadline *)other;
    return PyBool_FromLong(one->due < two->due || (one->due == two->due && one->order < two->order));
}

static Py_hash_t
hash_deadline(PyObject *self)
{
    return (Py_hash_t)((size_t)self / sizeof(Deadline));
}

STATE(deadline, Deadline, "DeadlineState", "The time of a deadline, by which deadlines are compared.",
      {Py_tp_richcompare, compare_deadlines}, {Py_tp_hash, hash_deadline}, );

/* --- the face --- */

static PyMemberDef face_members[] = {
    OBJECT(Face, context, "context"),
    OBJECT(Face, decode, "_decode"),
    OBJECT(Face, encode, "_encode"),
    END,
};

/* Return the open channel, borrowed, if it is one whose messages pass through C; else NULL. */
static Channel *
channel_of(Face *face)
{
    Context *context = (Context *)face->context;
    if (!IS(context, context) || !IS(context->channel, channel))
        return NULL;
    return (Channel *)context->channel;
}

/* Return a message's awaitable; with `iteration`, `async for` asks. */
static PyObject *
face_next(PyObject *self, bool iteration, PyObject *in_python)
{
    Face *face = (Face *)self;
    Channel *channel = channel_of(face);
    if (channel != NULL && face->decode == Py_None && IS(channel->reader, reader))
        return new_receive((Reader *)channel->reader, iteration ? face->context : Py_None);
    return PyObject_CallFunctionObjArgs(in_python, self, NULL);
}

static PyObject *
face_receive(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    return face_next(self, false, wired.websocket_receive);
}

static PyObject *
face_anext(PyObject *self)
{
    return face_next(self, true, wired.websocket_anext);
}

static PyObject *
face_aiter(PyObject *self)
{
    return Py_NewRef(self);
}

/* Call a method in Python with arguments of any kind. */
static PyObject *
call_in_python(PyObject *function, PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    PyObject *result = NULL, *positional = PyTuple_New(count + 1), *keywords = PyDict_New();
    if (positional == NULL || keywords == NULL || PyTuple_SetItem(positional, 0, Py_NewRef(self)) < 0)
        goto done;
    for (Py_ssize_t at = 0; at < count; at++)
        if (PyTuple_SetItem(positional, at + 1, Py_NewRef(arguments[at])) < 0)
            goto done;
    for (Py_ssize_t at = 0; at < named; at++)
        if (PyDict_SetItem(keywords, PyTuple_GetItem(names, at), arguments[count + at]) < 0)
            goto done;
    if (function != NULL)
        result = PyObject_Call(function, positional, keywords);
    else
        PyErr_SetString(PyExc_RuntimeError, "the core is not wired");
done:
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

static PyObject *
face_send(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Face *face = (Face *)self;
    Channel *channel = channel_of(face);
    if (channel != NULL && face->encode == Py_None && count == 1 && names == NULL &&
        (PyUnicode_CheckExact(arguments[0]) || PyBytes_CheckExact(arguments[0])) && IS(channel->writer, writer))
        return new_send((Writer *)channel->writer, arguments[0]);
    return call_in_python(wired.websocket_send, self, arguments, count, names);
}

/* Commit a message now if there is room, and all is plain. */
static PyObject *
face_offer(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Face *face = (Face *)self;
    Channel *channel = channel_of(face);
    if (channel != NULL && face->encode == Py_None && count == 1 && names == NULL &&
        (PyUnicode_CheckExact(arguments[0]) || PyBytes_CheckExact(arguments[0])) && IS(channel->writer, writer)) {
        PyObject *writer = Py_NewRef(channel->writer);
        Outcome outcome = commit_message((Writer *)writer, arguments[0]);
        Py_DECREF(writer);
        if (outcome != DECLINED)
            return outcome == DONE ? Py_NewRef(Py_True) : NULL;
    }
    return call_in_python(wired.websocket_offer, self, arguments, count, names);
}

static PyMethodDef face_methods[] = {
    {"receive", face_receive, METH_NOARGS, NULL},
    {"offer", (PyCFunction)(void (*)(void))face_offer, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"send", (PyCFunction)(void (*)(void))face_send, METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

/* Give a method the docstring of the one in Python; it is kept for ever. */
static bool
take_doc(PyMethodDef *method, const char *signature, PyObject *function)
{
    PyObject *doc = PyObject_GetAttrString(function, "__doc__");
    PyObject *text = doc == NULL ? NULL : PyUnicode_FromFormat("%s\n--\n\n%S", signature, doc);
    Py_XDECREF(doc);
    const char *characters = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, NULL);
    if (characters != NULL)
        method->ml_doc = characters;
    return characters != NULL;
}

bool
take_docs(void)
{
    return face_methods[0].ml_doc != NULL || (take_doc(&face_methods[0], "receive($self, /)", wired.websocket_receive) &&
                                              take_doc(&face_methods[1], "offer($self, /, data)", wired.websocket_offer) &&
                                              take_doc(&face_methods[2], "send($self, /, data)", wired.websocket_send));
}

STATE(face, Face, "FaceState", "What `WebSocket` needs for messages, and its methods for them.",
      {Py_tp_methods, face_methods}, {Py_am_aiter, face_aiter}, {Py_am_anext, face_anext}, );

bool
add_state_types(PyObject *module)
{
    PyType_Spec *specs[] = {&inbox_spec,  &outbox_spec, &socket_spec,  &decoder_spec, &encoder_spec, &endpoint_spec,
                            &reader_spec, &writer_spec, &closing_spec, &channel_spec, &context_spec, &deadline_spec,
                            &face_spec};
    for (size_t at = 0; at < sizeof specs / sizeof *specs; at++) {
        PyObject *type = PyType_FromSpec(specs[at]);
        int failed = type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0;
        if (specs[at] == &deadline_spec)
            deadline_type = (PyTypeObject *)Py_XNewRef(type);
        Py_XDECREF(type);
        if (failed)
            return false;
    }
    return true;
}

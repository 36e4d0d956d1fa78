/* The compiled core: the state of a connection that its hot path needs, as C structs that the Python classes inherit.

   `state.c` defines the structs as types, `wiring.c` is told the Python classes and what is used of Trio, `read.c` and
   `write.c` are a message's way in and out, `partial.c` holds a large one that is not complete, `awaitable.c` is what `WebSocket.receive` and `send` return, `module.c` puts
   it together.

   The rule of all files: a struct is reached through an object only after `IS` has compared the object's type with the
   Python class that `wire` was told. Python code may put anything into an attribute, and a subclass may have changed a
   method; in both cases the Python code runs instead. No borrowed reference is held across a call that can run Python.
   The state of the module is the process's: one interpreter, with the GIL. */

#ifndef TRIO_WS_CORE_H
#define TRIO_WS_CORE_H

#include <pyconfig.h>
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* --- state.c: the structs. A member that is NULL was not assigned yet. --- */

/* connection/inbox.py */
typedef struct {
    PyObject_HEAD
    PyObject *items;  /* list */
    PyObject *reader; /* the task that waits, or None */
    PyObject *task;   /* the last task that received or sent, or None */
    PyObject *trap;   /* what a waiting task yields to Trio, once it was made; else None */
    Py_ssize_t size, max_items, max_bytes, streak;
} Inbox;

/* transport/outbox.py */
typedef struct {
    PyObject_HEAD
    PyObject *chunks; /* list; None while nothing waits */
    Py_ssize_t size, high_water;
    char closed;
} Outbox;

/* transport/sockets.py */
typedef struct {
    PyObject_HEAD
    PyObject *outbox, *receiver;
    PyObject *sock; /* socket.socket, or None once it is closed */
    int fd;         /* -1 while it is not watched */
    int interest;
    char corked, reading_over, write_broken, dead, finishing;
} Socket;

/* protocol/decoder.py */
typedef struct {
    PyObject_HEAD
    PyObject *partial; /* of partial.c: the message that is being received into its own buffer; None without one */
    Py_ssize_t max_message_size, budget;
    int masked, patience;
    char between, failed, closed, discarding, armed;
} Decoder;

/* protocol/encoder.py */
typedef struct {
    PyObject_HEAD
    char plain;
} Encoder;

/* protocol/closing.py, protocol/endpoint.py */
typedef struct {
    PyObject_HEAD
    PyObject *state, *close_info, *decoder, *encoder;
} Endpoint;

/* connection/reader.py */
typedef struct {
    PyObject_HEAD
    PyObject *inbox, *outbox, *endpoint, *closing;
    PyObject *on_messages; /* None, or what is called instead of waking a task */
    Py_ssize_t received;
    double read_time, message_time;
    char paused, reads, end_reported, in_stream, resume_scheduled;
} Reader;

/* connection/writer.py */
typedef struct {
    PyObject_HEAD
    PyObject *transport, *endpoint, *inbox;
    Py_ssize_t sent;
    double message_time;
    char blocked, clocked, streaming;
} Writer;

/* connection/closing.py */
typedef struct {
    PyObject_HEAD
    char client, gone, network_ended, notified, peer_ended, peer_lags;
} Closing;

/* connection/channel.py */
typedef struct {
    PyObject_HEAD
    PyObject *reader, *writer;
    double open_time;
} Channel;

/* websocket/context.py */
typedef struct {
    PyObject_HEAD
    PyObject *channel;
    char handler_finished, nursery_used;
} Context;

/* runtime/timers.py */
typedef struct {
    PyObject_HEAD
    double due;
    long long order;
    char armed;
} Deadline;

/* websocket/handshake.py, websocket/websocket.py */
typedef struct {
    PyObject_HEAD
    PyObject *context, *decode, *encode;
} Face;

bool add_state_types(PyObject *module);
bool take_docs(void);

/* --- wiring.c: what Python tells --- */

extern struct wiring {
    /* Classes: each inherits the struct of the same name. */
    PyTypeObject *inbox, *outbox, *socket, *decoder, *encoder, *endpoint, *reader, *writer, *channel, *context;
    PyTypeObject *python_socket; /* socket.socket: tests put others in its place, which know of each call */
    /* Values. */
    PyObject *open; /* State.OPEN */
    PyObject *resume;
    /* Of Trio. */
    PyObject *current_task, *current_time, *reschedule, *wait_task_rescheduled, *checkpoint_if_cancelled;
    /* The same in Python: functions that take the object. */
    PyObject *receive, *send, *websocket_receive, *websocket_anext, *websocket_send, *websocket_offer;
    Py_ssize_t yield_every;
    bool shortcut; /* a pending cancellation is seen in attributes of the task */
} wired;

/* The number of the class's struct is checked when it is wired, so that equality is all there is to check later. */
#define IS(object, kind) ((object) != NULL && Py_TYPE((PyObject *)(object)) == wired.kind)

/* References to the structs. */
#define HOLD(object) Py_INCREF((PyObject *)(object))
#define RELEASE(object) Py_DECREF((PyObject *)(object))

PyObject *wire(PyObject *module, PyObject *arguments);

/* --- read.c, write.c, partial.c, awaitable.c --- */

/* What a fused step can say. */
typedef enum {
    FAILED = -1,  /* with an exception */
    DECLINED = 0, /* nothing was done: it is the Python code's */
    DONE = 1,
} Outcome;

Outcome commit_message(Writer *writer, PyObject *data);
PyObject *commit_data(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *commit_frame(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *poll_sockets(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

bool is_partial(PyObject *object);
PyObject *begin_partial(const unsigned char *data, Py_ssize_t there, int masked, Py_ssize_t largest);
Py_ssize_t partial_size(const PyObject *partial);
Py_ssize_t partial_room(const PyObject *partial);
Py_ssize_t partial_left(const PyObject *partial);
unsigned char *reserve_partial(PyObject *partial, Py_ssize_t arrived);
bool fill_partial(PyObject *partial, Py_ssize_t size, PyObject **message);
Py_ssize_t extend_partial(PyObject *partial, const unsigned char *data, Py_ssize_t size, PyObject **message);

bool add_partial_type(PyObject *module);
bool add_awaitable_types(PyObject *module);
PyObject *new_receive(Reader *reader, PyObject *iteration);
PyObject *new_send(Writer *writer, PyObject *data);

/* Call a method without arguments and drop what it returns. */
static inline bool
call_method(void *object, const char *name)
{
    PyObject *result = PyObject_CallMethod(object, name, NULL);
    Py_XDECREF(result);
    return result != NULL;
}

#endif

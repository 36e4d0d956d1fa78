/* The awaitables of `WebSocket.receive`, `async for` and `WebSocket.send`.

   They do what the coroutines `MessageReader.receive` and `MessageWriter.send` do, with the same checkpoints, and without
   a frame of Python for each message. What is out of the common is done by a coroutine, which they await in turn.

   Only public parts of Trio are used, but for the shortcut below: what `wait_task_rescheduled` yields is yielded again
   for each wait of a busy inbox, and a pending cancellation is asked for with `checkpoint_if_cancelled`. */

#include "core.h"

typedef enum {
    FRESH,     /* not awaited yet */
    WAITING,   /* the task sleeps until a message arrives */
    PAUSED,    /* `delegate` is a checkpoint on the way: then the step goes on */
    DELEGATED, /* `delegate` does it all */
    OVER,
} Stage;

typedef struct {
    PyObject_HEAD
    PyObject *part;     /* the Reader, or the Writer */
    PyObject *inbox;    /* of the part; NULL if it is none that C understands */
    PyObject *argument; /* the iteration or None; the message */
    PyObject *delegate; /* the coroutine that is being awaited, if any */
    const void *sleeper; /* the task that sleeps, while it is WAITING: only compared */
    Stage stage;
    bool running;
} Step;

static PyTypeObject *receive_type, *send_type;

/* --- making and freeing: one is made for each message, so some are kept --- */

enum { SPARE = 16 };
static Step *spare[SPARE];
static int spares;

static PyObject *
new_step(PyTypeObject *type, PyObject *part, PyObject *inbox, PyObject *argument)
{
    Step *step;
    if (spares > 0) {
        step = spare[--spares];
        PyObject_Init((PyObject *)step, type);
    } else {
        step = PyObject_GC_New(Step, type);
        if (step == NULL)
            return NULL;
    }
    step->part = Py_NewRef(part);
    step->inbox = IS(inbox, inbox) ? Py_NewRef(inbox) : NULL;
    step->argument = Py_NewRef(argument);
    step->delegate = NULL;
    step->sleeper = NULL;
    step->stage = FRESH;
    step->running = false;
    PyObject_GC_Track((PyObject *)step);
    return (PyObject *)step;
}

PyObject *
new_receive(Reader *reader, PyObject *iteration)
{
    return new_step(receive_type, (PyObject *)reader, reader->inbox, iteration);
}

PyObject *
new_send(Writer *writer, PyObject *data)
{
    return new_step(send_type, (PyObject *)writer, writer->inbox, data);
}

static int
step_traverse(PyObject *self, visitproc visit, void *arg)
{
    Step *step = (Step *)self;
    Py_VISIT(step->part);
    Py_VISIT(step->inbox);
    Py_VISIT(step->argument);
    Py_VISIT(step->delegate);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

/* Warn as Python does of a coroutine. No exception leaves a deallocation. */
static void
warn_never_awaited(PyTypeObject *type)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine 'WebSocket.%s' was never awaited",
                         type == send_type ? "send" : "receive") < 0)
        PyErr_WriteUnraisable((PyObject *)type);
    PyErr_Restore(kind, value, trace);
}

static int
step_clear(PyObject *self)
{
    Step *step = (Step *)self;
    bool fresh = step->stage == FRESH;
    step->stage = OVER; /* what is garbage may be called still */
    if (fresh)
        warn_never_awaited(Py_TYPE(self));
    Py_CLEAR(step->part);
    Py_CLEAR(step->inbox);
    Py_CLEAR(step->argument);
    Py_CLEAR(step->delegate);
    return 0;
}

static void
step_dealloc(PyObject *self)
{
    Step *step = (Step *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    step_clear(self);
    if (spares < SPARE)
        spare[spares++] = step;
    else
        PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* --- awaiting a coroutine on the way --- */

/* Await `coroutine`, which is stolen and may be NULL with an exception; `stage` says what follows it. */
static PySendResult
begin_delegate(Step *step, PyObject *coroutine, Stage stage, PyObject **result)
{
    if (coroutine == NULL) {
        step->stage = OVER;
        return PYGEN_ERROR;
    }
    step->delegate = coroutine;
    step->stage = stage;
    return PyIter_Send(coroutine, Py_None, result);
}

/* Act on what a delegate has done: it is dropped unless it has yielded. */
static PySendResult
after_delegate(Step *step, PySendResult done)
{
    if (done != PYGEN_NEXT)
        Py_CLEAR(step->delegate);
    if (done == PYGEN_ERROR || (done == PYGEN_RETURN && step->stage == DELEGATED))
        step->stage = OVER;
    return done;
}

/* Leave all the rest to the coroutine of a Python function. */
static PySendResult
delegate(Step *step, PyObject *function, PyObject **result)
{
    PyObject *coroutine = PyObject_CallFunctionObjArgs(function, step->part, step->argument, NULL);
    return after_delegate(step, begin_delegate(step, coroutine, DELEGATED, result));
}

/* --- the question whether the task is cancelled --- */

/* Names of Trio's attributes: `native.shortcut` looks at import whether they are those that its own function uses. As
   strings that exist already they cost a tenth. */
static struct {
    PyObject *status, *cancelled, *runner, *interrupted, *points;
    PyObject *coro, *running; /* public ones */
} names;

static bool
make_names(void)
{
    names.status = PyUnicode_InternFromString("_cancel_status");
    names.cancelled = PyUnicode_InternFromString("effectively_cancelled");
    names.runner = PyUnicode_InternFromString("_runner");
    names.interrupted = PyUnicode_InternFromString("ki_pending");
    names.points = PyUnicode_InternFromString("_cancel_points");
    names.coro = PyUnicode_InternFromString("coro");
    names.running = PyUnicode_InternFromString("cr_running");
    return names.coro && names.running && names.status && names.cancelled && names.runner && names.interrupted && names.points;
}

/* Take the value of an attribute that must be True or False: 1, 0, or -1 with an exception. */
static int
flag_of(PyObject *object, PyObject *name)
{
    PyObject *flag = PyObject_GetAttr(object, name);
    if (flag == NULL)
        return -1;
    int truth = PyObject_IsTrue(flag);
    Py_DECREF(flag);
    return truth;
}

/* Return what `flag_of` does of an attribute's attribute. */
static int
flag_within(PyObject *object, PyObject *part_name, PyObject *name)
{
    PyObject *part = PyObject_GetAttr(object, part_name);
    int flag = part == NULL ? -1 : flag_of(part, name);
    Py_XDECREF(part);
    return flag;
}

/* Return the task that runs. The inbox remembers the last one that asked: if its coroutine is being executed, it is that. */
static PyObject *
current_task(Inbox *inbox)
{
    if (inbox->task != NULL && inbox->task != Py_None) {
        PyObject *known = Py_NewRef(inbox->task);
        int running = flag_within(known, names.coro, names.running);
        if (running > 0)
            return known;
        Py_DECREF(known);
        PyErr_Clear();
    }
    PyObject *task = PyObject_CallNoArgs(wired.current_task);
    if (task != NULL) {
        PyObject *before = inbox->task;
        inbox->task = Py_NewRef(task);
        Py_XDECREF(before);
    }
    return task;
}

/* Do what `checkpoint_if_cancelled` does for a task that is not cancelled, and return 1; 0 if it may be cancelled. */
static int
pass_checkpoint(PyObject *task)
{
    int flag = flag_within(task, names.status, names.cancelled);
    if (flag == 0)
        flag = flag_within(task, names.runner, names.interrupted);
    if (flag != 0)
        return flag < 0 ? -1 : 0;
    PyObject *points = PyObject_GetAttr(task, names.points);
    PyObject *more = points == NULL ? NULL : PyLong_FromLongLong(PyLong_AsLongLong(points) + 1);
    Py_XDECREF(points);
    if (more == NULL || PyErr_Occurred() != NULL) {
        Py_XDECREF(more);
        return -1;
    }
    int failed = PyObject_SetAttr(task, names.points, more);
    Py_DECREF(more);
    return failed ? -1 : 1;
}

/* Be a checkpoint that lets no other task run: PYGEN_RETURN if the task is not cancelled. */
static PySendResult
check_cancelled(Step *step, PyObject **result)
{
    if (wired.shortcut) {
        PyObject *task = current_task((Inbox *)step->inbox);
        int passed = task == NULL ? -1 : pass_checkpoint(task);
        Py_XDECREF(task);
        if (passed < 0)
            step->stage = OVER;
        if (passed != 0) {
            *result = passed < 0 ? NULL : Py_NewRef(Py_None);
            return passed < 0 ? PYGEN_ERROR : PYGEN_RETURN;
        }
    }
    PyObject *coroutine = PyObject_CallNoArgs(wired.checkpoint_if_cancelled);
    return after_delegate(step, begin_delegate(step, coroutine, PAUSED, result));
}

/* --- receiving --- */

/* Have the task's inbox yield what makes Trio wait: Trio's own coroutine is asked for it once. */
static bool
make_trap(Inbox *inbox)
{
    PyObject *trap = NULL;
    PyObject *coroutine = PyObject_CallFunctionObjArgs(wired.wait_task_rescheduled, inbox, NULL);
    if (coroutine == NULL)
        return false;
    PySendResult done = PyIter_Send(coroutine, Py_None, &trap);
    bool made = done == PYGEN_NEXT && call_method(coroutine, "close");
    Py_DECREF(coroutine);
    if (made) {
        PyObject *before = inbox->trap;
        inbox->trap = trap;
        Py_XDECREF(before);
        return true;
    }
    Py_XDECREF(trap);
    if (PyErr_Occurred() == NULL)
        PyErr_SetString(PyExc_RuntimeError, "wait_task_rescheduled() did not wait");
    return false;
}

enum { BUSY_FROM = 16 }; /* messages */

/* Forget what the task yields unless the connection is a busy one: an idle one has no use for it. */
static void
forget_trap_if_idle(const Reader *reader, Inbox *inbox)
{
    if (reader->received >= BUSY_FROM)
        return;
    PyObject *before = inbox->trap;
    inbox->trap = Py_NewRef(Py_None);
    Py_XDECREF(before);
}

/* Sleep until a message arrives. */
static PySendResult
begin_wait(Step *step, Inbox *inbox, PyObject **result)
{
    if ((inbox->trap == NULL || inbox->trap == Py_None) && !make_trap(inbox)) {
        step->stage = OVER;
        return PYGEN_ERROR;
    }
    PyObject *task = current_task(inbox);
    if (task == NULL) {
        step->stage = OVER;
        return PYGEN_ERROR;
    }
    PyObject *before = inbox->reader;
    inbox->reader = task;
    inbox->streak = 0;
    step->sleeper = task;
    step->stage = WAITING;
    *result = Py_NewRef(inbox->trap);
    forget_trap_if_idle((Reader *)step->part, inbox);
    Py_XDECREF(before);
    return PYGEN_NEXT;
}

/* Return whether the task can sleep here without more ado; as `MessageReader.receive` asks. */
static bool
may_wait(const Reader *reader, const Inbox *inbox)
{
    return inbox->reader == Py_None && ((const Outbox *)reader->outbox)->size == 0 &&
           ((const Endpoint *)reader->endpoint)->close_info == Py_None;
}

/* Remove the oldest item, and read on when that was the last. Return it, or NULL with an exception. */
static PyObject *
take_item(Reader *reader, Inbox *inbox)
{
    PyObject *item = Py_XNewRef(PyList_GetItem(inbox->items, 0));
    if (item == NULL || PyList_SetSlice(inbox->items, 0, 1, NULL) < 0)
        goto failed;
    if (PyList_Size(inbox->items) == 0) {
        inbox->size = 0;
        if (reader->paused && !call_method(reader, "read_on"))
            goto failed;
    }
    if (reader->end_reported) {
        PyObject *closing = Py_XNewRef(reader->closing);
        bool reported = closing != NULL && call_method(closing, "report_read");
        Py_XDECREF(closing);
        if (!reported)
            goto failed;
    }
    return item;
failed:
    Py_XDECREF(item);
    return NULL;
}

/* Return the message that the oldest item is, or completes; None if more is to come. */
static PyObject *
take_message(Reader *reader, Inbox *inbox)
{
    PyObject *item = take_item(reader, inbox);
    if (item == NULL || PyUnicode_Check(item) || PyBytes_Check(item))
        return item;
    PyObject *message = PyObject_CallMethod((PyObject *)reader, "add_part", "O", item);
    Py_DECREF(item);
    return message;
}

/* Wait for a message, or for the next turn if there is one and it is time for that; PYGEN_RETURN: look for one. */
static PySendResult
await_item(Step *step, Reader *reader, Inbox *inbox, PyObject **result)
{
    PyObject *coroutine;
    if (PyList_Size(inbox->items) > 0) {
        if (++inbox->streak < wired.yield_every)
            return check_cancelled(step, result);
        coroutine = PyObject_CallMethod((PyObject *)inbox, "let_others_run", NULL);
    } else if (may_wait(reader, inbox)) {
        return begin_wait(step, inbox, result);
    } else {
        coroutine = PyObject_CallMethod((PyObject *)reader, "arrival", "O", step->argument);
    }
    return after_delegate(step, begin_delegate(step, coroutine, PAUSED, result));
}

/* Return whether a reader's parts are those that C understands: the first thing after anything else has run. */
static bool
understands(const Reader *reader, const Inbox *inbox)
{
    return inbox != NULL && inbox->items != NULL && PyList_CheckExact(inbox->items) && IS(reader->outbox, outbox) &&
           IS(reader->endpoint, endpoint);
}

/* Go on until there is a message or something to wait for; `waited` if an item may be taken without a checkpoint. */
static PySendResult
receive_on(Step *step, bool waited, PyObject **result)
{
    Reader *reader = (Reader *)step->part;
    Inbox *inbox = (Inbox *)step->inbox;
    while (true) {
        if (!understands(reader, inbox))
            return delegate(step, wired.receive, result);
        if (waited && PyList_Size(inbox->items) > 0) {
            PyObject *message = take_message(reader, inbox);
            if (message != Py_None) {
                step->stage = OVER;
                *result = message;
                return message == NULL ? PYGEN_ERROR : PYGEN_RETURN;
            }
            Py_DECREF(message);
        } else {
            PySendResult done = await_item(step, reader, inbox, result);
            if (done != PYGEN_RETURN)
                return done;
            Py_CLEAR(*result);
            waited = true;
            continue;
        }
        waited = false;
    }
}

/* Take what Trio has woken the task with: return false with its exception. */
static bool
unwrap(PyObject *outcome)
{
    return outcome == wired.resume || call_method(outcome, "unwrap");
}

static PySendResult
reuse(void)
{
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return PYGEN_ERROR;
}

static PySendResult
receive_resume(Step *step, PyObject *value, PyObject **result)
{
    Reader *reader = (Reader *)step->part;
    switch (step->stage) {
    case FRESH:
        reader->reads = 1;
        return receive_on(step, false, result);
    case WAITING:
        if (unwrap(value))
            return receive_on(step, true, result);
        step->stage = OVER;
        return PYGEN_ERROR;
    case PAUSED:
    case DELEGATED: {
        bool paused = step->stage == PAUSED;
        PySendResult done = after_delegate(step, PyIter_Send(step->delegate, value, result));
        if (done != PYGEN_RETURN || !paused)
            return done;
        Py_CLEAR(*result);
        return receive_on(step, true, result);
    }
    default:
        return reuse();
    }
}

/* --- sending --- */

static PySendResult
send_now(Step *step, PyObject **result)
{
    Inbox *inbox = (Inbox *)step->inbox;
    switch (commit_message((Writer *)step->part, step->argument)) {
    case DONE:
        step->stage = OVER;
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    case DECLINED:
        inbox->streak--; /* the coroutine counts it again */
        return delegate(step, wired.send, result);
    default:
        step->stage = OVER;
        return PYGEN_ERROR;
    }
}

static PySendResult
send_first(Step *step, PyObject **result)
{
    Inbox *inbox = (Inbox *)step->inbox;
    if (inbox == NULL || inbox->streak + 1 >= wired.yield_every)
        return delegate(step, wired.send, result);
    inbox->streak++;
    PySendResult done = check_cancelled(step, result);
    if (done != PYGEN_RETURN)
        return done;
    Py_CLEAR(*result);
    return send_now(step, result);
}

static PySendResult
send_resume(Step *step, PyObject *value, PyObject **result)
{
    switch (step->stage) {
    case FRESH:
        return send_first(step, result);
    case PAUSED:
    case DELEGATED: {
        bool paused = step->stage == PAUSED;
        PySendResult done = after_delegate(step, PyIter_Send(step->delegate, value, result));
        if (done != PYGEN_RETURN || !paused)
            return done;
        Py_CLEAR(*result);
        return send_now(step, result);
    }
    default:
        return reuse();
    }
}

/* --- the protocol of awaitables --- */

/* Begin to run a step, which is held meanwhile: what runs may drop the last other reference to it. Return false with an
   exception if it runs already: what it calls may call it. */
static bool
begin_run(Step *step)
{
    if (step->running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return false;
    }
    HOLD(step);
    step->running = true;
    return true;
}

static void
end_run(Step *step)
{
    step->running = false;
    RELEASE(step);
}

static PySendResult
step_resume(PyObject *self, PyObject *value, PyObject **result)
{
    Step *step = (Step *)self;
    *result = NULL;
    if (!begin_run(step))
        return PYGEN_ERROR;
    PySendResult done = (Py_TYPE(self) == send_type ? send_resume : receive_resume)(step, value, result);
    end_run(step);
    return done;
}

/* Return what a coroutine's `send` returns, or raises. */
static PyObject *
as_call(PySendResult done, PyObject *result)
{
    if (done != PYGEN_RETURN)
        return result;
    PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
    Py_DECREF(result);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *
step_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult done = step_resume(self, value, &result);
    return as_call(done, result);
}

static PyObject *
step_next(PyObject *self)
{
    return step_send(self, Py_None);
}

/* Return the iterator that `await` drives: itself. A second task that awaits it must not disturb the first. */
static PyObject *
step_await(PyObject *self)
{
    Stage stage = ((Step *)self)->stage;
    if (stage == FRESH || stage == OVER)
        return Py_NewRef(self);
    PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
    return NULL;
}

/* Leave the inbox if the task sleeps there: it may have been woken, and another be asleep. */
static void
stop_waiting(Step *step)
{
    Inbox *inbox = (Inbox *)step->inbox;
    PyObject *reader = inbox->reader;
    if (reader != step->sleeper)
        return;
    inbox->reader = Py_NewRef(Py_None);
    Py_XDECREF(reader);
}

static PyObject *
step_close(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    Step *step = (Step *)self;
    if (!begin_run(step))
        return NULL;
    if (step->stage == WAITING)
        stop_waiting(step);
    bool closed = step->delegate == NULL || call_method(step->delegate, "close");
    step->stage = OVER;
    Py_CLEAR(step->delegate);
    end_run(step);
    if (!closed)
        return NULL;
    Py_RETURN_NONE;
}

/* Raise the exception of `throw(exception)` or `throw(type, value, trace)`. */
static void
raise_thrown(PyObject *arguments)
{
    PyObject *kind, *value = NULL, *trace = NULL;
    if (!PyArg_UnpackTuple(arguments, "throw", 1, 3, &kind, &value, &trace))
        return;
    if (PyExceptionInstance_Check(kind)) {
        PyErr_SetObject((PyObject *)Py_TYPE(kind), kind);
    } else if (PyExceptionClass_Check(kind)) {
        PyErr_SetObject(kind, value == Py_None ? NULL : value);
    } else {
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
    }
}

/* Throw into the coroutine that is awaited. What it returns ends it all: nothing throws into a checkpoint, and goes on. */
static PyObject *
throw_into_delegate(Step *step, PyObject *arguments)
{
    PyObject *method = PyObject_GetAttrString(step->delegate, "throw");
    PyObject *result = method == NULL ? NULL : PyObject_Call(method, arguments, NULL);
    Py_XDECREF(method);
    if (result == NULL) {
        step->stage = OVER;
        Py_CLEAR(step->delegate);
    }
    return result;
}

static PyObject *
step_throw(PyObject *self, PyObject *arguments)
{
    Step *step = (Step *)self;
    PyObject *result = NULL;
    if (!begin_run(step))
        return NULL;
    if (step->delegate != NULL) {
        result = throw_into_delegate(step, arguments);
    } else if (step->stage == OVER) {
        reuse();
    } else {
        if (step->stage == WAITING)
            stop_waiting(step);
        step->stage = OVER;
        raise_thrown(arguments);
    }
    end_run(step);
    return result;
}

/* What Trio asks of a coroutine whose task it shows: no frame of Python, and what is awaited. */
static PyObject *
step_frame(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

static PyObject *
step_awaits(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *coroutine = ((Step *)self)->delegate;
    return Py_NewRef(coroutine == NULL ? Py_None : coroutine);
}

static PyMethodDef step_methods[] = {
    {"send", step_send, METH_O, "send($self, value, /)\n--\n\nGo on, as a coroutine does."},
    {"throw", step_throw, METH_VARARGS, "Raise an exception where it waits, as a coroutine does."},
    {"close", step_close, METH_NOARGS, "close($self, /)\n--\n\nEnd it, as a coroutine does."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef step_attributes[] = {
    {"cr_frame", step_frame, NULL, "None: it has no frame of Python.", NULL},
    {"cr_await", step_awaits, NULL, "The coroutine that it awaits, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot step_slots[] = {
    {Py_tp_doc, "What `WebSocket` returns for `await`: a coroutine in C."},
    {Py_tp_traverse, step_traverse},
    {Py_tp_clear, step_clear},
    {Py_tp_dealloc, step_dealloc},
    {Py_tp_iter, step_await},
    {Py_tp_iternext, step_next},
    {Py_tp_methods, step_methods},
    {Py_tp_getset, step_attributes},
    {Py_am_await, step_await},
    {Py_am_send, step_resume},
    {0, NULL},
};

static PyTypeObject *
add_step_type(PyObject *module, const char *name)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(Step),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = step_slots,
    };
    PyObject *type = PyType_FromSpec(&spec);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) == 0)
        return (PyTypeObject *)type; /* kept: the process has one module */
    Py_XDECREF(type);
    return NULL;
}

bool
add_awaitable_types(PyObject *module)
{
    if (!make_names())
        return false;
    receive_type = add_step_type(module, "trio_ws.native._core.Receive");
    send_type = receive_type == NULL ? NULL : add_step_type(module, "trio_ws.native._core.Send");
    return send_type != NULL;
}

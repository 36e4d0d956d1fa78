/* The module `trio_ws.native._core`. */

#include "core.h"
#include "interface.h"
#include "system.h"

#ifdef TRIO_WS_FAULTS
PyObject *script_faults(PyObject *module, PyObject *script);
#endif

static PyMethodDef functions[] = {
    {"wire", wire, METH_O, "wire(arguments, /)\n--\n\nTake what `core.h` lists in struct wiring."},
    {"commit", (PyCFunction)(void (*)(void))commit_data, METH_FASTCALL,
     "commit(writer, data, /)\n--\n\nCommit a message if nothing is in the way of it."},
    {"commit_frame", (PyCFunction)(void (*)(void))commit_frame, METH_FASTCALL,
     "commit_frame(writers, frame, hold, /)\n--\n\n"
     "Commit a plain message's frame on each writer, if nothing is in the way of it. Return the positions of the others."},
#ifdef HAVE_EPOLL
    {"poll", (PyCFunction)(void (*)(void))poll_sockets, METH_FASTCALL,
     "poll(epoll, batch, transports, buffer, now, /)\n--\n\n"
     "Read the sockets that epoll reports. Return their number, the tasks to reschedule, and what is left to do."},
#endif
#ifdef TRIO_WS_FAULTS
    {"script_faults", script_faults, METH_O, "script_faults(script, /)\n--\n\nSay how system calls fail from now on."},
#endif
    {NULL, NULL, 0, NULL},
};

/* The types and what is wired are the process's, so one interpreter has them: any other runs the Python code. */
static int
execute(PyObject *module)
{
    static bool loaded = false;
    if (loaded) {
        PyErr_SetString(PyExc_ImportError, "the compiled core is loaded already");
        return -1;
    }
    if (!add_state_types(module) || !add_partial_type(module) || !add_awaitable_types(module) ||
        PyModule_AddIntConstant(module, "INTERFACE", TRIO_WS_INTERFACE) < 0)
        return -1;
    loaded = true;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "trio_ws.native._core",
    .m_doc = "The compiled core; see core.h.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}

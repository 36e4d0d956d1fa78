/* System calls that fail as a test says; only in builds for tests, with TRIO_WS_FAULTS. */

#include "core.h"
#include "system.h"

#ifdef TRIO_WS_FAULTS

#include <limits.h>

#undef recv
#undef recvmsg
#undef sendmsg

enum { LONGEST_SCRIPT = 4096 };
static long script[LONGEST_SCRIPT];
static Py_ssize_t position, length;

/* Return what the next call does: at most so many bytes, or a negated errno. */
static long
next_fault(void)
{
    return position < length ? script[position++] : LONG_MAX;
}

static bool
fails(long fault)
{
    if (fault < 0)
        errno = (int)-fault;
    return fault < 0;
}

ssize_t
faulty_recv(int fd, void *buffer, size_t size, int flags)
{
    long fault = next_fault();
    if (fails(fault))
        return -1;
    return recv(fd, buffer, size < (size_t)fault ? size : (size_t)fault, flags);
}

/* Let a message have at most `left` bytes of the parts of another. */
static struct msghdr
shortened(const struct msghdr *message, struct iovec *parts, size_t left)
{
    struct msghdr shorter = {.msg_iov = parts};
    size_t count = 0;
    for (; count < (size_t)message->msg_iovlen && count < 2 && left > 0; count++) {
        parts[count] = message->msg_iov[count];
        if (parts[count].iov_len > left)
            parts[count].iov_len = left;
        left -= parts[count].iov_len;
    }
    shorter.msg_iovlen = count;
    return shorter;
}

ssize_t
faulty_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct iovec parts[2];
    long fault = next_fault();
    if (fails(fault))
        return -1;
    struct msghdr shorter = shortened(message, parts, (size_t)fault);
    return recvmsg(fd, &shorter, flags);
}

ssize_t
faulty_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec parts[2];
    long fault = next_fault();
    if (fails(fault))
        return -1;
    struct msghdr shorter = shortened(message, parts, (size_t)fault);
    return sendmsg(fd, &shorter, flags);
}

/* script_faults(script): a list of numbers, each for one call: at most so many bytes, or a negated errno. */
PyObject *
script_faults(PyObject *Py_UNUSED(module), PyObject *list)
{
    position = length = 0;
    if (!PyList_Check(list) || PyList_Size(list) > LONGEST_SCRIPT) {
        PyErr_SetString(PyExc_TypeError, "a script is a list of at most 4096 numbers");
        return NULL;
    }
    for (Py_ssize_t at = 0; at < PyList_Size(list); at++) {
        script[at] = PyLong_AsLong(PyList_GetItem(list, at));
        if (PyErr_Occurred() != NULL)
            return NULL;
    }
    length = PyList_Size(list);
    Py_RETURN_NONE;
}

#endif

/* The system calls of the core. Built with TRIO_WS_FAULTS, as the sanitized tests are, they fail as a test says. */

#ifndef TRIO_WS_SYSTEM_H
#define TRIO_WS_SYSTEM_H

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __linux__
#include <sys/epoll.h>
#define HAVE_EPOLL 1
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Python ignores SIGPIPE */
#endif

#ifdef TRIO_WS_FAULTS
ssize_t faulty_recv(int fd, void *buffer, size_t size, int flags);
ssize_t faulty_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t faulty_sendmsg(int fd, const struct msghdr *message, int flags);
#define recv faulty_recv
#define recvmsg faulty_recvmsg
#define sendmsg faulty_sendmsg
#endif

/* An interrupted call is made again, as Python does: a signal's handler runs when the interpreter goes on. */
static inline ssize_t
receive_bytes(int fd, void *buffer, size_t size)
{
    ssize_t got;
    do
        got = recv(fd, buffer, size, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Return how many bytes have arrived, 0 if the system does not say. */
static inline int
arrived_bytes(int fd)
{
    int size = 0;
    return ioctl(fd, FIONREAD, &size) == 0 && size > 0 ? size : 0;
}

static inline ssize_t
receive_parts(int fd, struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts};
    message.msg_iovlen = count; /* its type differs between systems */
    ssize_t got;
    do
        got = recvmsg(fd, &message, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static inline ssize_t
send_parts(int fd, struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts};
    message.msg_iovlen = count; /* its type differs between systems */
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

static inline bool
would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

#endif

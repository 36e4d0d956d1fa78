"""Bytes on a socket: three transports behind one interface, and the outbox that all of them empty.

`interface` says what a transport and its receiver owe each other; `poller` is the fast one for plain sockets, `tls` the
same for a server's TLS, `stream` the one for every other `trio.abc.Stream`. Nothing here knows what a frame is.
"""

"""Bytes on a socket: two transports behind one interface, and the outbox that both empty.

`interface` says what a transport and its receiver owe each other; `poller` is the fast one for plain sockets, `stream`
the one for every other `trio.abc.Stream`. Nothing here knows what a frame is.
"""

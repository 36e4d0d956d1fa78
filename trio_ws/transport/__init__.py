"""Bytes on a socket: three transports behind one interface, and the outbox that all of them empty.

`interface` says what a transport and its receiver owe each other; `poller` is the fast one for plain sockets, `tls` the
same under TLS, `stream` the one for every other `trio.abc.Stream`. `solo` stands in the poller's place on a client, and
`secured` is what a client's TLS begins on. Nothing here knows what a frame is.
"""

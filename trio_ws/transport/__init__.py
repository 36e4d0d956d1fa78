"""Transports with one interface, and the outbox that they write from.

Here: plain sockets on a poller (`sockets`, `poller`), the same under TLS (`tls`), any `trio.abc.Stream` (`stream`),
listening sockets (`listeners`). Not here: frames; a transport does not parse its bytes.
Start with `base`, the interface between a transport and its receiver.
"""

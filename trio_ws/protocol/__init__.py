"""RFC 6455 and RFC 7692 without I/O, clock or log.

Here: the frame codec, message assembly, permessage-deflate, the opening handshake of both sides, the closing states.
Not here: HTTP heads (`http`), timers and sockets (`connection`, `transport`).
Start with `endpoint`, which puts together what an open connection needs; `codec` chooses between pure Python and C.
"""

"""HTTP/1.1 heads, headers and URLs, without I/O.

Here: reading and writing of request and response heads, `Headers`, `URL`, `Request`, the rules for Host, Origin and
forwarded addresses. Not here: the WebSocket handshake (`protocol`), sockets (`transport`), routes (`app`).
Start with `parser` for what a server reads, and `request` for what applications see of it.
"""

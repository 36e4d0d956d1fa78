"""Running one handler from the accepted request to its end.

Here: `service` (what is served), `runner` (the life of a handler), `disconnect` (when its peer is gone), `instruments`.
Not here: sockets and requests (`server`), routes (`app`).
Start with `runner`.
"""

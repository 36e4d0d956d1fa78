"""Listening sockets in, connections out.

Here: `Server`, one client's connection from accept to close, its handshake, graceful shutdown, signals, statistics.
Not here: handlers (`handler`), routes (`app`), worker processes (`cli`).
Start with `server`, then `connection`.
"""

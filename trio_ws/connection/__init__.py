"""One open WebSocket connection over a transport, of either side.

Here: reading into the inbox, writing to the outbox, pings, keepalive, the closing handshake, JSON.
Not here: `WebSocket` (`websocket`), running handlers (`handler`), the opening handshake (`server`, `client`).
Start with `channel`, the interface that ASGI connections implement too, then `connection` and its three parts.
"""

"""`WebSocket`, the object that application code holds.

Here: its handshake half and its message half, ASGI events, message streams, close codes of exceptions.
Not here: how bytes travel (`connection`) and how handlers are run (`handler`).
Start with `websocket`.
"""

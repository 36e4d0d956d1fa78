"""`WebSocket` and `Room` for plain functions, in threads beside the event loop's.

Here: the blocking forms, and the call of a plain function in a thread. Not here: which functions are called, and when.
Start with `websocket`.
"""

"""Arguments of views, listeners, guards and dependencies, taken from a connection.

Here: markers (`Query`, `Depends`, ...), the signature of a function, resolving and validating its arguments.
Not here: the path's own parameters (`app.path`) and replies (`app.replies`).
Start with `signature`, then `dependencies`.
"""

"""Arguments of views, listeners, guards and dependencies, taken from a connection.

Here: markers (`Query`, `Depends`, ...), the signature of a function, the parameter for the message (`body`), resolving
and validating arguments.
Not here: the path's own parameters (`app.path`) and replies (`app.replies`).
Start with `signature`, then `dependencies`.
"""

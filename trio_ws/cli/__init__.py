"""The command `trio-ws`: run, routes, connect.

Here: arguments (`main`), the terminal of `connect`, reloading, worker processes and their supervisor.
Not here: serving itself (`server`).
Start with `main`.
"""

"""The command `trio-ws` with its subcommands run, routes and connect.

Here: arguments (`main`), the terminal of `connect`, reloading, worker processes and their supervisor.
Not here: serving itself (`server`).
Start with `main`.
"""

"""The command `trio-ws` with its subcommands.

Here: the arguments of each subcommand, the terminal of `connect`, reloading, worker processes and their supervisor.
Not here: serving itself (`server`).
Start with `main`.
"""

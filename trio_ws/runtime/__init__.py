"""Small tools on top of Trio.

Here: `wakeup`, `timers` and `log`. Not here: anything that depends on WebSockets.
"""

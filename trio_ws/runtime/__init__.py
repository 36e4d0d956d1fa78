"""Small tools on top of Trio: waking tasks, shared timers, the connection log.

Here: `wakeup`, `timers` and `log`. Not here: anything that depends on WebSockets.
"""

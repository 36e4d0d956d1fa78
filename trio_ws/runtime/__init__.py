"""Small tools on top of Trio.

Here: waking of tasks (`wakeup`), shared timers (`timers`), records about connections (`log`), worker threads
(`threads`), nurseries for background tasks (`background`). Not here: anything that depends on WebSockets.
Start with `timers`.
"""

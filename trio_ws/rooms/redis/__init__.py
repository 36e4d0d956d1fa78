"""Rooms across processes and machines, on Redis; needs `pip install trio-ws[redis]`.

Here: the backplane, its client and connection, publishing (`commands`), reading (`stream_reader`), delivery while
Redis is away (`local_delivery`), presence, scripts. Not here: rooms themselves.
Start with `docs/internals/redis.md`, then `backplane`.
"""

from trio_ws.rooms.redis.backplane import RedisBackplane

__all__ = ["RedisBackplane"]

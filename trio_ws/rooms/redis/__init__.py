"""The backplane on Redis: rooms across processes and machines. It needs `pip install trio-ws[redis]`.

`engine` is the backplane itself and its options. `client` makes coredis clients from URLs, and says what their errors
mean; `link` holds one, and makes another when it breaks. Over the link `calls` publishes, `feeds` reads, `attendance`
says who is there. `keys` has the names of what is kept in Redis and the scripts that change it.
"""

from trio_ws.rooms.redis.backplane import RedisBackplane

__all__ = ["RedisBackplane"]

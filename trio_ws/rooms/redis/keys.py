"""Keys: the names of what a room has in Redis, and the scripts that change it in one step.

Everything of one room has one hash tag, so that a cluster keeps it in one place.
"""

from __future__ import annotations

from typing import Final

from trio_ws.rooms.topics import encoded

__all__ = ["ATTEND", "CHECK", "NOW", "PRESENCE", "PUBLISH", "Keys"]


class Keys:
    """Makes names.

    Args:
        prefix: what all of them begin with; it tells applications apart that share a Redis.

    Raises:
        TypeError: the prefix is no text.
        ValueError: it has braces, which tell a cluster where to keep a key, or lone surrogates.
    """

    __slots__ = ("_prefix",)

    def __init__(self, prefix: object) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"the prefix of keys in Redis is text, not {type(prefix).__name__}: {prefix!r:.80}")
        encoded(prefix, "the prefix of keys in Redis")
        if "{" in prefix or "}" in prefix:
            raise ValueError(f"the prefix of keys in Redis has no braces: {prefix!r}")
        self._prefix = prefix

    @property
    def check(self) -> str:
        """A key and a channel of no room, to see whether such may be used."""
        return f"{self._prefix}:{{?}}:check"

    def _of(self, room: str) -> str:
        tag = room.replace("%", "%25").replace("}", "%7D")
        return f"{self._prefix}:{{={tag}}}"  # a tag is never empty

    def stream(self, room: str) -> str:
        """The messages of a room."""
        return f"{self._of(room)}:messages"

    def news(self, room: str) -> str:
        """The channel that says that the stream has grown."""
        return f"{self._of(room)}:news"

    def accepted(self, room: str, publisher: str) -> str:
        """The numbers of what the stream has lately accepted from a process, and the ids of these messages."""
        return f"{self._of(room)}:accepted:{publisher}"

    def processes(self, room: str) -> str:
        """The processes that have members in the room, and until when they count without a word from them."""
        return f"{self._of(room)}:processes"

    def members(self, room: str, process: str) -> str:
        """The members of a room in one process."""
        return f"{self._of(room)}:members:{process}"


CHECK: Final = "redis.call('EXISTS', KEYS[1]) return redis.call('PUBLISH', ARGV[1], '')"
"""See whether scripts, keys and channels are allowed. Key: any. Argument: any channel."""

NOW: Final = "local time = redis.call('TIME') return time[1] * 1000 + math.floor(time[2] / 1000)"
"""Answer the time in ms, as ids of entries have it, where a stream is. Key: the stream."""

PUBLISH: Final = """\
local known = redis.call('HGET', KEYS[2], ARGV[8])
if known then return known end
if tonumber(ARGV[8]) <= tonumber(redis.call('HGET', KEYS[2], 'last') or 0) then return '' end
local count, ask, found = 1, 1, {}
repeat
  found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ask)
  for _, entry in ipairs(found) do
    local name, place = entry[2][1], entry[2][2]
    if name == 'n' and entry[2][3] == 'p' and #place < 16 and not string.find(place, '[^0-9]') and place ~= '' then
      count = tonumber(place) + 1
      break
    end
  end
  ask = ask * 16
until count > 1 or #found < ask / 16 or ask > 4096
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
  'n', string.format('%.0f', count), 'p', ARGV[5], 's', ARGV[8], 'd', ARGV[6], 'x', ARGV[7])
redis.call('HSET', KEYS[2], ARGV[8], id, 'last', ARGV[8])
if redis.call('HLEN', KEYS[2]) > 256 then
  for _, number in ipairs(redis.call('HKEYS', KEYS[2])) do
    if number ~= 'last' and tonumber(number) < tonumber(ARGV[9]) then redis.call('HDEL', KEYS[2], number) end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[3], '')
return id
"""
"""Append a message: once, however often it is asked to. Answer its id; '' if it is not there, and one with a greater
number is, so that readers would take it for an old one: it wants a new number.

Keys: stream, accepted. Arguments: the stream's length, its lifetime in ms, the channel, how long in ms to know the
message again, the publishing process, the message, whom it is not for, the process's number of the message, and its
least number of those under way. An entry has its place in the stream as `n`, by which readers see that something is
missing; it follows that of the newest entry that is ours, whatever else is in the stream."""

ATTEND: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == 'anew' then redis.call('DEL', KEYS[2]) end
for i = 4, #ARGV - 2, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
local count = redis.call('HLEN', KEYS[2])
if count == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return count
"""
"""Say who is there in one process, and that it lives; answer how many members it has now.

Keys: processes, members. Arguments: the process, how long in ms it counts, 'anew' or '', pairs of a member's id and its
info, which is empty for one that left."""

PRESENCE: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  for _, text in ipairs(redis.call('HGETALL', ARGV[1] .. process)) do found[#found + 1] = text end
end
return found
"""
"""Answer who is in a room: ids and infos by turns. Key: processes. Argument: what the keys of members begin with."""

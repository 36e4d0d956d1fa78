"""Names of keys in Redis, and scripts that change a room atomically.

All keys of one room have one hash tag, so that a cluster keeps them on one server.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from trio_ws.rooms.topics import encoded

__all__ = [
    "CHECK",
    "CONFIRM",
    "HISTORY",
    "MOVED",
    "PRESENCE_CHANGED",
    "STREAM",
    "Keys",
]


PRESENCE_CHANGED: Final = b"p"
"""The data of a notification that members have come or gone; others are without data."""


class Keys:
    """Names of keys and channels.

    Args:
        prefix: the beginning of all of them, which separates applications that share a Redis.

    Raises:
        TypeError: the prefix is no text.
        ValueError: it has braces, which decide where a cluster keeps a key, or lone surrogates.
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
        """A key and a channel that belong to no room."""
        return f"{self._prefix}:{{?}}:check"

    @property
    def before_tag(self) -> str:
        """The beginning of all keys of rooms, before the hash tag; behind that is a brace."""
        return f"{self._prefix}:{{="  # a tag is never empty

    @staticmethod
    def tag(room: str) -> str:
        """Return the hash tag of a room."""
        return room.replace("%", "%25").replace("}", "%7D") if "%" in room or "}" in room else room

    def _of(self, room: str) -> str:
        return f"{self._prefix}:{{={self.tag(room)}}}"

    def stream(self, room: str) -> str:
        """Return the stream of a room's messages."""
        return f"{self._of(room)}:messages"

    def news(self, room: str) -> str:
        """Return the channel for notifications that the stream has grown."""
        return f"{self._of(room)}:news"

    def accepted(self, room: str, publisher: str) -> str:
        """Return the hash of numbers lately accepted from a process, with ids."""
        return f"{self._of(room)}:accepted:{publisher}"

    def processes(self, room: str) -> str:
        """Return the sorted set of processes with members, by expiry time."""
        return f"{self._of(room)}:processes"

    def message_key(self, room: str, key: str) -> str:
        """Return the hash with the answer to the message that was published with a key."""
        return f"{self._of(room)}:key:{sha256(key.encode()).hexdigest()}"

    def leader(self, room: str, name: str) -> str:
        """Return the hash with the holder of a place."""
        return f"{self._of(room)}:leader:{name}"

    def account(self, topic: str) -> str:
        """Return the hash of an account's times."""
        return f"{self._of(topic)}:account"

    def members(self, room: str, process: str) -> str:
        """Return the hash of a room's members in one process."""
        return f"{self._of(room)}:members:{process}"


CHECK: Final = """\
local key = KEYS[1]
local function allowed(...)
  local answer = redis.pcall(...)
  local problem = type(answer) == 'table' and answer.err or ''
  for _, words in ipairs({'NOPERM', 'no permission', "can't run this", 'command called from script'}) do
    if string.find(problem, words, 1, true) then error((...) .. ': ' .. problem, 0) end
  end
end
redis.call('EXISTS', key)
allowed('TIME')
allowed('XADD', key, '*', 'n', '0')
allowed('XREVRANGE', key, '+', '-', 'COUNT', 1)
allowed('XRANGE', key, '-', '+', 'COUNT', 1)
allowed('XREAD', 'COUNT', 1, 'STREAMS', key, '0')
allowed('PEXPIRE', key, 1000)
allowed('DEL', key)
allowed('HSET', key, 'n', '0')
allowed('HGET', key, 'n')
allowed('HMGET', key, 'n')
allowed('HGETALL', key)
allowed('HKEYS', key)
allowed('HLEN', key)
allowed('HDEL', key, 'n')
allowed('ZADD', key, 1, 'n')
allowed('PTTL', key)
allowed('ZRANGEBYSCORE', key, 0, 0)
allowed('ZREM', key, 'n')
return redis.call('PUBLISH', ARGV[1], '')
"""
"""Check that scripts, channels, and all commands of the other scripts are allowed; leave nothing behind. Fail for one
that is not, also while Redis rejects writes.

Key: any that is not used. Argument: any channel."""

STREAM: Final = """\
local key, life, moment = KEYS[1], tonumber(ARGV[1])
local function now()
  if not moment then
    local time = redis.call('TIME')
    moment = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return moment
end
local function parts(id) return string.match(id, '^(%d+)-(%d+)$') end
local function less(one, other) return #one < #other or (#one == #other and one < other) end
local function before(one, other)
  local ms, seq = parts(one)
  local ms2, seq2 = parts(other)
  return less(ms, ms2) or (ms == ms2 and less(seq, seq2))
end
local function plus(digits)
  local head, last, nines = string.match(digits, '^(%d-)([0-8]?)(9*)$')
  return head .. (tonumber(last) or 0) + 1 .. string.rep('0', #nines)
end
local greatest = '18446744073709551615'
local function behind(id)
  local ms, seq = parts(id)
  if ms == greatest then return '*' end
  return seq == greatest and plus(ms) .. '-0' or ms .. '-' .. plus(seq)
end
local most = 999999999999999
local function ours(fields)
  if fields[1] ~= 'n' or fields[3] ~= 'p' or #fields[2] > 15 or not string.match(fields[2], '^%d+$') then return end
  local digits = fields[5] == 'e' and string.match(fields[6], '^(%d+)-[0-9a-f]+$')
  if digits and #digits < 16 and #fields[6] < #digits + 18 then return fields[6] end
  if fields[5] == 's' then return '' end
end
local function tail()
  local newest
  for _, some in ipairs({'1', '32', '1024'}) do
    local found = redis.call('XREVRANGE', key, '+', '-', 'COUNT', some)
    for _, entry in ipairs(found) do
      newest = newest or entry[1]
      local epoch = ours(entry[2])
      if epoch then return newest, tonumber(entry[2][2]) % most, epoch end
    end
  end
  return newest, 0, ''
end
local function begun(epoch) return tonumber(string.match(epoch, '^(%d+)-')) or 0 end
local function text(number) return string.format('%.0f', number) end
local function lost(newest, epoch, seen, seen_in, held)
  if seen == '' then return false end
  if not newest then return held or tonumber((parts(seen))) + life > now() end
  if epoch ~= seen_in then return epoch ~= '' and begun(epoch) < begun(seen_in) end
  if seen == newest or #redis.call('XRANGE', key, seen, seen) > 0 then return false end
  return not before(seen, redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1][1])
end
local function another(seen_in, token)
  return text(math.min(math.max(now(), begun(seen_in) + 1), most)) .. '-' .. token
end
local function mark(newest, count, seen, epoch)
  local id = '*'
  if not before(seen, text(now()) .. '-0') and (not newest or before(newest, seen)) then id = behind(seen) end
  return redis.pcall('XADD', key, id, 'n', text(count + 1), 'p', '', 'e', epoch)
end
"""
"""The part that scripts share. Key: the stream. First argument: its lifetime in ms.

`tail` finds its newest id, and the sequence number and epoch of the newest entry of ours. An epoch is the time at which
it was `begun`, in ms, and a token that distinguishes it from others of that time. `lost` returns whether an entry that
was seen is missing, and was not just trimmed. If the stream is gone, the result is whether it should live, as it was
`held`, or as the entry is younger than the lifetime; if the epoch is a later one, the loss has been marked. `mark`
begins `another` epoch with a loss marker, after the entry that was seen. Ids are compared and incremented as texts, as
they exceed the numbers of Lua. Sequence numbers begin anew behind the greatest one, and epochs end there: an entry that
follows one of ours is ours."""

CONFIRM: Final = (
    STREAM
    + """\
local function confirm(channel, seen, seen_in, token, use, most)
  local newest, count, epoch = tail()
  if lost(newest, epoch, seen, seen_in, use == 'held')
    and not mark(newest, count, seen, another(seen_in, token)).err then
    redis.call('PUBLISH', channel, '')
    newest, count, epoch = tail()
  end
  if use ~= '' then redis.pcall('PEXPIRE', key, life) end
  local page = most > 0 and redis.call('XREVRANGE', key, '+', '-', 'COUNT', most)
  return {now(), newest or '0-0', text(count), epoch, page}
end
local answers, size = {}, 0
for at, name in ipairs(KEYS) do
  key = name
  local first = 3 + 6 * (at - 1)
  local wanted = tonumber(ARGV[first + 5])
  if size > tonumber(ARGV[2]) then wanted = 0 end
  local fine, answer = pcall(
    confirm, ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3], ARGV[first + 4], wanted)
  if not fine and type(answer) ~= 'table' then answer = redis.error_reply(answer) end
  for _, entry in ipairs(fine and answer[5] or {}) do
    for _, field in ipairs(entry[2]) do size = size + #field end
  end
  answers[at] = answer
end
return answers
"""
)
"""Check that streams are those that were read, and prolong their life; mark those that have lost data. Answer for each
the time in ms, as in ids, the newest id, its sequence number, the epoch, and its newest entries if they are asked for;
without them if those before had too many bytes. A replica, which rejects writes, answers too.

Keys: the streams. Arguments: their lifetime in ms, and bytes of entries. Then for each stream: the channel, the head
that was seen, its epoch, a token for a new one, 'held' if the stream was kept alive from here, 'opened' if it is to be
from now on, or '', and how many entries to answer."""

MOVED: Final = """\
local moved, streams = {}, cjson.decode(ARGV[2])
for at = 1, #streams, 2 do
  local found = redis.pcall('XREAD', 'COUNT', 1, 'STREAMS', ARGV[1] .. streams[at] .. '}:messages', streams[at + 1])
  if found then moved[#moved + 1] = {at, found.err and found or 1} end
end
return moved
"""
"""Answer which streams have an entry behind an id: for each the place of its tag, and 1 or an error.

No keys, so not for a cluster. Arguments: the beginning of all keys, and as JSON an array of hash tags and ids by
turns."""

HISTORY: Final = """\
local found = redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local size, page = 0, {}
for index, entry in ipairs(found) do
  for _, text in ipairs(entry[2]) do size = size + #text end
  if index > 1 and size > tonumber(ARGV[5]) then break end
  page[index] = entry
end
return {#found, page}
"""
"""Answer entries of a stream, and how many there are: fewer are answered if they have too many bytes.

Key: the stream. Arguments: XRANGE or XREVRANGE, two ids in its order, how many, and bytes at most."""

"""Scripts for the members of rooms, in all processes."""

from __future__ import annotations

from typing import Final

__all__ = ["ATTEND", "COUNT", "PRESENCE"]

ATTEND: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == 'anew' then redis.call('DEL', KEYS[2]) end
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
if #ARGV > 4 or ARGV[3] == 'anew' then redis.pcall('PUBLISH', ARGV[4], 'p') end
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
"""Write members of one process, and prolong their life; answer how many it has now.

Keys: processes, members. Arguments: the process, its lifetime in ms, 'anew' or '', the channel to signal a change on,
pairs of a member's id and its info, which is empty for one that left."""

PRESENCE: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  local texts = redis.pcall('HGETALL', ARGV[1] .. process)
  for _, text in ipairs(texts.err and {process, ''} or texts) do found[#found + 1] = text end
end
return found
"""
"""Answer the members of a room: ids and infos by turns; a process and an empty text where its key holds something else.

Key: processes. Argument: the prefix of the keys of members."""

COUNT: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = 0
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  local found = redis.pcall('HLEN', ARGV[1] .. process)
  if type(found) == 'number' then count = count + found end
end
return count
"""
"""Answer the number of a room's members.

Key: processes. Argument: the prefix of the keys of members."""

"""Scripts for the members of rooms, in all processes."""

from __future__ import annotations

from typing import Final

__all__ = ["ATTEND", "COUNT", "PRESENCE", "REFRESH"]

ATTEND: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local process, life = ARGV[1], tonumber(ARGV[2])
local function write(members, first, count)
  if ARGV[first + 1] == 'anew' then redis.call('DEL', members) end
  for at = first + 3, first + 1 + 2 * count, 2 do
    if ARGV[at + 1] == '' then
      redis.call('HDEL', members, ARGV[at])
    else
      redis.call('HSET', members, ARGV[at], ARGV[at + 1])
    end
  end
  redis.pcall('PUBLISH', ARGV[first + 2], 'p')
end
local function attend(processes, members, first, count)
  if count > 0 then write(members, first, count - 1) end
  local present = redis.call('HLEN', members)
  if present == 0 then
    redis.call('ZREM', processes, process)
  else
    redis.call('ZADD', processes, now + life, process)
    if redis.call('PTTL', processes) < life then redis.call('PEXPIRE', processes, life) end
    redis.call('PEXPIRE', members, life)
  end
  return present
end
local answers, first = {}, 3
for at = 1, #KEYS, 2 do
  local count = tonumber(ARGV[first])
  local fine, answer = pcall(attend, KEYS[at], KEYS[at + 1], first, count)
  if not fine and type(answer) ~= 'table' then answer = redis.error_reply(answer) end
  answers[#answers + 1] = answer
  first = first + 1
  if count > 0 then first = first + 2 * count end
end
return answers
"""
"""Write members of one process in rooms, and prolong their life; answer for each room how many it has now.

Keys: for each room its processes, and its members of the process. Arguments: the process, and its lifetime in ms. Then
for each room 0 if nothing has changed, else one more than the number of changes, 'anew' or '', the channel to signal
the changes on, and pairs of a member's id and its info, which is empty for one that left."""

REFRESH: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local process, life, before = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local function refresh(room, wanted)
  local processes, members = room .. '}:processes', room .. '}:members:' .. process
  local present = redis.call('HLEN', members)
  if present == 0 or present ~= wanted then return present end
  redis.call('ZADD', processes, now + life, process)
  if redis.call('PTTL', processes) < life then redis.call('PEXPIRE', processes, life) end
  redis.call('PEXPIRE', members, life)
  return present
end
local different, rooms = {}, cjson.decode(ARGV[4])
for at = 1, #rooms, 2 do
  local fine, answer = pcall(refresh, before .. rooms[at], rooms[at + 1])
  if not fine and type(answer) ~= 'table' then answer = redis.error_reply(answer) end
  if answer ~= rooms[at + 1] then different[#different + 1] = {at, answer} end
end
return different
"""
"""Prolong the life of the members of one process in rooms. Answer the rooms that have another number of members, for
each the place of its tag, and the number or an error: their life is not prolonged.

No keys, so not for a cluster. Arguments: the process, its lifetime in ms, the beginning of all keys, and as JSON an
array of hash tags and numbers of members by turns."""

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

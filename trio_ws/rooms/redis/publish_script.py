"""The script that appends messages to a room's stream."""

from __future__ import annotations

from typing import Final

from trio_ws.rooms.redis.scripts import STREAM

__all__ = ["PUBLISH"]

PUBLISH: Final = (
    STREAM
    + """\
local channel, process, least = ARGV[2], ARGV[5], tonumber(ARGV[10])
local held = redis.call('GET', KEYS[2]) or '0'
local last = string.match(held, '^%d+') or '0'
local last_number, known = tonumber(last), {}
if last_number >= least then
  for number, answer in string.gmatch(held, '\\n(%d+) ([^\\n]+)') do known[number] = answer end
end
local answers, plain, accepted, ids, news, size, newest, count, epoch, failure, marked = {}, true, {}, {}, {}, 0
for at = 12, #ARGV, 4 do
  local number, message, excluded, place = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local name = place ~= '' and KEYS[tonumber(place)]
  local earlier = known[number]
  if not earlier and name then
    earlier = redis.pcall('HGET', name, 'answer')
    if type(earlier) == 'string' then earlier = 'k' .. earlier end
  end
  if not earlier and tonumber(number) <= last_number then earlier = '' end
  if earlier then
    plain = false
    answers[#answers + 1] = earlier
  else
    if not count then
      newest, count, epoch = tail()
      if lost(newest, epoch, ARGV[7], ARGV[8], false) then
        epoch, plain = another(ARGV[8], ARGV[9]), false
        marked = mark(newest, count, ARGV[7], epoch)
        if marked.err then failure = marked end
        count = count + 1
      end
      if epoch == '' then epoch = another('', ARGV[9]) end
    end
    local id = failure or redis.pcall('XADD', key, 'MAXLEN', '~', ARGV[3], '*',
      'n', text(count + 1), 'p', process, 'e', epoch, 's', number, 'd', message, 'x', excluded)
    if type(id) == 'table' then
      failure, plain = id, false
      answers[#answers + 1] = id
    else
      count, last, last_number = count + 1, number, tonumber(number)
      local answer = id .. ' ' .. epoch
      answers[#answers + 1] = answer
      accepted[#accepted + 1] = number .. ' ' .. answer
      if name then
        redis.pcall('HSET', name, 'answer', answer)
        redis.pcall('PEXPIRE', name, ARGV[1])
      end
      ids[#ids + 1] = id
      news[#news + 1] = at
      size = size + #message + #excluded
    end
  end
end
local function announce()
  if ARGV[11] == '1' then
    local found = redis.pcall('PUBSUB', 'NUMSUB', channel)
    if found[2] == 1 then return end
  end
  if marked or size > tonumber(ARGV[6]) then return redis.pcall('PUBLISH', channel, '') end
  local heads, bodies = {'m', epoch, process, newest or '0-0'}, {}
  for index, at in ipairs(news) do
    local message, excluded = ARGV[at + 1], ARGV[at + 2]
    heads[#heads + 1] = table.concat(
      {ids[index], text(count - #ids + index), ARGV[at], #excluded, #message}, ' ')
    bodies[#bodies + 1] = excluded .. message
  end
  redis.pcall('PUBLISH', channel, table.concat(heads, ' ') .. '\\n' .. table.concat(bodies))
end
if #ids > 0 then
  for number, answer in pairs(known) do
    if tonumber(number) >= least then accepted[#accepted + 1] = number .. ' ' .. answer end
  end
  redis.pcall('SET', KEYS[2], last .. '\\n' .. table.concat(accepted, '\\n'), 'PX', ARGV[4])
  redis.pcall('PEXPIRE', key, ARGV[1])
end
if #ids > 0 or marked then announce() end
if plain then
  return table.concat({epoch, newest or '0-0', text(count - #ids + 1), table.concat(ids, ' ')}, ' ')
end
return answers
"""
)
"""Append messages of one process, each once, however often it runs.

Answer with one line if it has appended all of them and nothing else: the epoch, the id of the entry before them, '0-0'
if there is none, the sequence number of the first, and their ids. Else answer for each its id and epoch; '' if it is
not there and one with a greater number is, so that readers would take it for an old one: it needs a new number. If one
cannot be appended, no later one is, and the error is the answer for each of them.

Keys: stream, accepted, and those of the keys that messages have: if a message was published with one, nothing is
appended, and 'k' and its answer are the answer. Arguments: the stream's lifetime in ms, the channel, the stream's
length, how long in ms to recognise messages, the publishing process, how many bytes of messages the notification may
have, the head that was seen, its epoch, a token for a new one, the smallest number of those under way, and '1' if the
process is subscribed to the channel and learns from the answer what it would be notified of. Then for each message: the
process's number of it, the message, the excluded members, and the place of its key among the keys, or ''.

Once a message is appended, this is answered, whatever else Redis rejects. An entry has its sequence number as `n`, by
which readers detect missing ones; it follows that of the newest entry of ours, whatever else is there. `accepted` has
the greatest number, and a line with number, id and epoch for each message that may be sent again.

The notification has the entries, for readers that have read all before them: a line with 'm', the epoch, the process,
the id of the entry before them, '0-0' if there is none, and for each its id, sequence number, number, and the sizes of
what follows the line for it, the excluded members and the message. It is empty if they are too large, or not all
that is new. It is left out if the publishing process would be the only one to receive it."""

-- Append a message to a room of trio_ws, and return its id: docs/outside.md
-- KEYS: the stream, and that of the message's key if it has one.
-- ARGV: the channel, the message, excluded members, the publisher, its number of the message, how many messages and
-- how many milliseconds the stream is kept.
if KEYS[2] then
  local before = redis.call('HGET', KEYS[2], 'answer')
  if before then return string.match(before, '^%S+') end
end
local function ours(fields)
  return fields[1] == 'n' and fields[3] == 'p' and fields[5] == 'e' and #fields[2] < 16
    and string.match(fields[2], '^%d+$') and string.match(fields[6], '^%d+%-[0-9a-f]+$')
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local count, epoch
for _, some in ipairs({1, 32, 1024}) do
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', some)) do
    if not epoch and ours(entry[2]) then count, epoch = tonumber(entry[2][2]) % 999999999999999, entry[2][6] end
  end
  if epoch then break end
end
epoch = epoch or now .. '-' .. string.sub(ARGV[4], 1, 8)
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], '*', 'n', string.format('%.0f', (count or 0) + 1),
  'p', ARGV[4], 'e', epoch, 's', ARGV[5], 'd', ARGV[2], 'x', ARGV[3])
redis.pcall('PEXPIRE', KEYS[1], ARGV[7])
if KEYS[2] then
  redis.pcall('HSET', KEYS[2], 'answer', id .. ' ' .. epoch)
  redis.pcall('PEXPIRE', KEYS[2], ARGV[7])
end
redis.pcall('PUBLISH', ARGV[1], '')
return id

local key, life = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
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
  for _, some in ipairs({1, 32, 1024}) do
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
  if not newest then return held or tonumber((parts(seen))) + life > now end
  if epoch ~= seen_in then return epoch ~= '' and begun(epoch) < begun(seen_in) end
  if seen == newest or #redis.call('XRANGE', key, seen, seen) > 0 then return false end
  return not before(seen, redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1][1])
end
local function another(seen_in, token)
  return text(math.min(math.max(now, begun(seen_in) + 1), most)) .. '-' .. token
end
local function mark(newest, count, seen, epoch)
  local id = '*'
  if not before(seen, text(now) .. '-0') and (not newest or before(newest, seen)) then id = behind(seen) end
  return redis.pcall('XADD', key, id, 'n', text(count + 1), 'p', '', 'e', epoch)
end
local number, least = ARGV[11], tonumber(ARGV[12])
local known = redis.call('HGET', KEYS[2], number)
if known then return known end
if KEYS[3] then
  local before = redis.call('HGET', KEYS[3], 'answer')
  if before then return 'k' .. before end
end
if tonumber(number) <= tonumber(redis.call('HGET', KEYS[2], 'last') or 0) then return '' end
local newest, count, epoch = tail()
if lost(newest, epoch, ARGV[3], ARGV[4], false) then
  epoch = another(ARGV[4], ARGV[5])
  local marked = mark(newest, count, ARGV[3], epoch)
  if marked.err then return marked end
  count = count + 1
end
if epoch == '' then epoch = another('', ARGV[5]) end
local id = redis.call('XADD', key, 'MAXLEN', '~', ARGV[6], '*',
  'n', text(count + 1), 'p', ARGV[8], 'e', epoch, 's', number, 'd', ARGV[9], 'x', ARGV[10])
local answer = id .. ' ' .. epoch
redis.pcall('HSET', KEYS[2], number, answer, 'last', number)
local kept = redis.pcall('HLEN', KEYS[2])
if type(kept) == 'number' and kept > 256 then
  for _, each in ipairs(redis.pcall('HKEYS', KEYS[2])) do
    if each ~= 'last' and (tonumber(each) or 0) < least then redis.pcall('HDEL', KEYS[2], each) end
  end
end
redis.pcall('PEXPIRE', key, life)
redis.pcall('PEXPIRE', KEYS[2], ARGV[7])
if KEYS[3] then
  redis.pcall('HSET', KEYS[3], 'answer', answer)
  redis.pcall('PEXPIRE', KEYS[3], life)
end
redis.pcall('PUBLISH', ARGV[2], '')
return answer

"""Scripts for the leases of leaders, and for the accounts of budgets."""

from __future__ import annotations

from typing import Final

__all__ = ["LEASE", "RELEASE", "SPEND"]

LEASE: Final = """\
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'holder', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""Take or keep a place; answer 1 if the holder has it now, else 0.

Key: the place. Arguments: the holder, and for how many ms."""

RELEASE: Final = """\
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
"""Give a place back, if the holder has it.

Key: the place. Argument: the holder."""

SPEND: Final = """\
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local size, messages, bytes, per = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local first = math.max(tonumber(redis.call('HGET', KEYS[1], 'messages') or now), now)
local second = math.max(tonumber(redis.call('HGET', KEYS[1], 'bytes') or now), now)
if messages > 0 then first = first + per / messages end
if bytes > 0 then second = second + size * per / bytes end
local wait = math.max(first, second) - now - per
if wait <= 0.000001 or ARGV[5] == 'debt' then
  redis.call('HSET', KEYS[1], 'messages', string.format('%.6f', first), 'bytes', string.format('%.6f', second))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', (math.max(first, second) - now) * 1000 + 1000))
end
if wait <= 0.000001 then return '0' end
return string.format('%.6f', wait)
"""
"""Spend the tokens of one message; answer the seconds that it is too early.

Key: the account. Arguments: the bytes of the message, messages and bytes in a time (0 for any number), the time in
seconds, 'debt' or ''."""

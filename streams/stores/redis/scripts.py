"""Lua scripts: each runs whole, with nothing in between, on keys of one bucket (or of any, on a single server).

They are sent as they are (EVAL), not by their digest: next to states a script is small, and a server that was restarted
knows no digests. Positions are compared as two 32-bit halves: Lua's numbers are doubles, exact to 2**53 only, and its
string comparison follows the server's locale.
"""

from __future__ import annotations

from typing import Final

PUT: Final = b"""
local written = {}
for entry = 1, #ARGV / 2 do
  local state, pages, index = KEYS[3 * entry - 2], KEYS[3 * entry - 1], KEYS[3 * entry]
  local value = ARGV[2 * entry]
  local stored = redis.call('GETRANGE', state, 0, 8)
  local high, low = struct.unpack('>I4I4', value)
  local stored_high, stored_low = 0, 0
  if stored ~= '' then stored_high, stored_low = struct.unpack('>I4I4', stored) end
  local newer = high > stored_high or (high == stored_high and low > stored_low)
  if not newer and high == stored_high and low == stored_low then newer = #value == 8 and #stored > 8 end
  if newer then
    redis.call('SET', state, value)
    redis.call('DEL', pages)
    if stored == '' then redis.call('SADD', index, ARGV[2 * entry - 1]) end
    written[entry] = 1
  else
    written[entry] = 0
  end
end
return written
"""
"""KEYS: state, pages and index of each entry; ARGV: key and value of each. Writes the entries that are newer than what
is stored, one after another; returns 1 for each that was written, 0 for the others. See `entries.is_newer`."""

DROP: Final = b"""
local dropped = 0
for entry = 1, #ARGV do
  redis.call('UNLINK', KEYS[3 * entry - 2], KEYS[3 * entry - 1])
  dropped = dropped + redis.call('SREM', KEYS[3 * entry], ARGV[entry])
end
return dropped
"""
"""KEYS: state, pages and index of each key in ARGV. Deletes them as if they had never been; returns how many were."""

HEADS: Final = b"""
local heads = {}
for number, state in ipairs(KEYS) do heads[number] = redis.call('GETRANGE', state, 0, 8) end
return heads
"""
"""KEYS: states. Returns the first nine bytes of each: its position, and whether more follows."""

PUT_PAGE: Final = b"""
local stored = redis.call('GETRANGE', KEYS[1], 0, 8)
if string.sub(stored, 1, 8) ~= ARGV[1] or (#stored == 8 and '1' or '0') ~= ARGV[2] then return 0 end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[6]) then redis.call('DEL', KEYS[2]) end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
if redis.call('PTTL', KEYS[2]) < 0 then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
return 1
"""
"""KEYS: state, pages; ARGV: the position (8 bytes, none for no state) and whether it is a tombstone's (0 or 1) that the
page was made from, the page's name, the page, how long it may be kept (ms), how many pages a state may have. Pages of a
state go together, when the first of them is too old: none is kept for longer than it may be."""

"""The arithmetic of one bucket as a script that Redis runs atomically.

It is ``serve_app.limits.account`` in Lua, statement by statement, on the same JSON; the tests run the
same requests through both and compare what they leave behind. It touches one key, so that it runs on a Redis
Cluster too, and takes the time from Redis, so that the clocks of its clients do not matter.
"""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """
-- KEYS[1]: the bucket.
-- ARGV[1]: JSON {spent, refunds, in_use, keep, needs, want, limit, replica, seq, ttl,
--                window, slot, periods, gauge, share, forget, retry}; times in milliseconds.
local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What counts now.
local first, last, tail = now + 1, nil, 0
if ask.window > 0 then
  first, tail = now - ask.window - ask.slot + 1, ask.window
elseif not ask.gauge then
  for _, period in ipairs(ask.periods) do
    if period[1] <= now and now < period[2] then first, last = period[1], period[2] end
  end
  if last == nil then
    return redis.error_reply('CLOCK the client and this server are more than a day apart')
  end
end

local function slot_of(at)
  local slot = first
  if ask.window > 0 then slot = at - at % ask.slot end
  if math.min(slot, at) >= first then return slot end
  return nil
end

-- The account, less what counts no more.
local stored = redis.call('GET', KEYS[1])
local state = stored and cjson.decode(stored) or {}
local slots, holders = {}, {}
for slot, amount in pairs(state.s or {}) do
  slot = tonumber(slot)
  if amount ~= 0 and slot >= first then slots[slot] = amount end
end
for replica, held in pairs(state.h or {}) do
  if held[2] > now - tail - ask.forget then holders[replica] = held end
end

local function used()
  local total = 0
  for _, amount in pairs(slots) do total = total + amount end
  for _, held in pairs(holders) do
    if now < held[2] + tail then total = total + held[1] end
  end
  return total
end

local function add(slot, amount)
  if slot and amount ~= 0 then slots[slot] = math.max(0, (slots[slot] or 0) + amount) end
end

local held = holders[ask.replica]
local refused, scarce = 0, false
if not held or ask.seq > held[3] then
  -- Count the report.
  local lease, before = 0, held and held[1] or 0
  if held then
    lease = math.max(0, held[1] - ask.spent)
    if now >= held[2] then
      if tail > 0 then add(slot_of(held[2]), lease) end
      lease = 0
    end
    held[1] = 0
  end
  add(slot_of(now), ask.spent)
  for _, refund in ipairs(ask.refunds) do add(slot_of(refund[1]), -refund[2]) end
  local valid = ask.ttl
  if last then valid = math.min(valid, last - now) end
  local keep = math.max(ask.in_use, math.min(ask.keep, lease))
  held = {keep, now + valid, ask.seq, now, 0}
  holders[ask.replica] = held
  -- Share what is free.
  local free, granted = ask.limit - used(), 0
  if ask.gauge and keep < before then
    for replica, other in pairs(holders) do
      if replica ~= ask.replica and other[5] > now - ask.retry then free = 0 end
    end
  end
  for _, need in ipairs(ask.needs) do
    if need <= free - granted then
      granted = granted + need
    elseif refused == 0 or need < refused then
      refused = need
    end
  end
  local spare = free - granted
  scarce = refused > 0 or spare * ask.share < ask.limit
  if not scarce then granted = granted + math.min(ask.want, math.floor(spare / ask.share)) end
  held[1] = held[1] + granted
  if refused > 0 then held[5] = now end
end

-- What to tell.
local free = ask.limit - used()
local reset = 0
if last then
  reset = last - now
elseif tail > 0 then
  for slot in pairs(slots) do reset = math.max(reset, slot + ask.slot + tail - now) end
  for _, other in pairs(holders) do
    if other[1] ~= 0 and other[2] > now then reset = math.max(reset, other[2] + tail - now) end
  end
end
local wait = 0
if refused > 0 then
  local missing, out = refused - free, 0
  for _, other in pairs(holders) do out = out + other[1] end
  wait = ask.retry
  if last and missing > out then
    wait = last - now
  elseif tail > 0 then
    local order = {}
    for slot in pairs(slots) do order[#order + 1] = slot end
    table.sort(order)
    for _, slot in ipairs(order) do
      missing = missing - slots[slot]
      if missing <= 0 then
        wait = slot + ask.slot + tail - now
        break
      end
    end
  end
end

-- Keep it for as long as any of it counts.
local written = {s = {}, h = holders}
for slot, amount in pairs(slots) do written.s[string.format('%.0f', slot)] = amount end
local life = math.max(ask.ttl + tail, last and last - now or 0) + ask.forget
redis.call('SET', KEYS[1], cjson.encode(written), 'PX', string.format('%.0f', life))
local valid = math.max(0, held[2] - now)
return {held[1], valid, held[4], math.max(0, free), reset, refused, wait, scarce and 1 or 0}
"""

-- Reads a session document, or its beginning and last turns, and starts its time to live again.
-- O(bytes that are given).
-- KEYS: the session
-- ARGV: 1 how many of the last turns, -1 all  2 the number of the first turn wanted, -1 any  3 '1' to touch
-- Gives {} if absent, {document}, or {beginning, last lines}
local key, last, after = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

local front = read_front(key)
if not front then
  local document = call('GET', key)
  return document and { document } or absent(key, {})
end
if ARGV[3] == '1' then
  expire(key, front.ttl)
end
local wanted = front.turns
if last >= 0 then
  wanted = math.min(wanted, last)
end
if after >= 0 then
  wanted = math.min(wanted, math.max(front.turns - after, 0))
end
local first = front.head + #HISTORY
local stop = call('STRLEN', key) - #LAST
local whole = call('GETRANGE', key, front.head, first - 1) == HISTORY
  and call('GETRANGE', key, stop, -1) == LAST
if wanted == front.turns or not whole then -- what is damaged is for the reader to judge
  return { call('GET', key) }
end

local start = stop
local newlines = 0
-- A newline stands before each turn: go back, a piece at a time, to the one before the first turn wanted.
local piece = math.ceil((stop - first) / front.turns * wanted * 1.2) + 256
while newlines < wanted and start > first do
  local from = math.max(first, start - piece)
  local bytes = call('GETRANGE', key, from, start - 1)
  local places = {}
  local place = string.find(bytes, '\n', 1, true)
  while place do
    places[#places + 1] = place
    place = string.find(bytes, '\n', place + 1, true)
  end
  if newlines + #places >= wanted then
    start = from + places[#places - (wanted - newlines) + 1]
    newlines = wanted
  else
    start = from
    newlines = newlines + #places
  end
end
return { call('GETRANGE', key, 0, front.used - 1), call('GETRANGE', key, start, stop - 1) }

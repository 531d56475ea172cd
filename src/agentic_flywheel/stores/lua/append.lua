-- Appends turns to a session document and replaces its head, if it is still what the writer saw. O(new bytes),
-- but for a head that outgrows its block: then what stands behind it is moved, from the end on and in pieces, since
-- a copy of it all in Lua would take many times as long.
-- KEYS: the session
-- ARGV: 1 version that the writer saw  2 version to write  3 slot with last_active
--       4 rest of the head, or '' if it stays  5 room that this head wants  6 turn lines  7 their number
--       8 time to live in seconds, 0 none  9 greatest size in bytes  10 fence of the writer's claim, 0 none
-- Gives {'stored', revision, turns, epoch, size}, {'changed'}, {'absent'}, {'fenced'} or {'full', size}
local PIECE = 1048576
local key, seen, version, slot, rest = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lines, count, ttl = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

local front = read_front(key)
if not front then
  return { redis.call('EXISTS', key) == 1 and 'changed' or 'absent' }
end
if front.version == version then -- this very write was here before; its answer was lost
  return { 'stored', front.revision, front.turns, front.epoch, redis.call('STRLEN', key) }
end
local size = redis.call('STRLEN', key)
if front.version ~= seen or redis.call('GETRANGE', key, size - #LAST, -1) ~= LAST then
  return { 'changed' }
end

local fence = tonumber(ARGV[10])
if fence > 0 and fence < front.fence then
  return { 'fenced' }
end

local head = front.head
if rest ~= '' and front.size + SLOT + #rest > head then
  head = tonumber(ARGV[5])
end
local tail = LAST
if count > 0 then
  tail = (front.turns > 0 and ',\n' or '\n') .. lines .. tail
end
local wanted = size - #LAST + #tail + head - front.head
if wanted > tonumber(ARGV[9]) then
  return { 'full', wanted }
end

local moved = head - front.head
local stop, place = size - #LAST, front.head
front.revision, front.version, front.turns = front.revision + 1, version, front.turns + count
front.head, front.ttl, front.fence = head, ttl, math.max(fence, front.fence)
local start = front_of(front) .. slot
if rest ~= '' then
  start = start .. rest .. string.rep(' ', head - #start - #rest)
end
if count > 0 or moved > 0 then
  redis.call('SETRANGE', key, stop + moved, tail) -- first, so that the string grows once
end
while moved > 0 and stop > place do
  local from = math.max(place, stop - PIECE)
  redis.call('SETRANGE', key, from + moved, redis.call('GETRANGE', key, from, stop - 1))
  stop = from
end
redis.call('SETRANGE', key, 0, start)
expire(key, ttl)
return { 'stored', front.revision, front.turns, front.epoch, wanted }

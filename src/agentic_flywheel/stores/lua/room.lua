-- Moves a piece of a session's history, or goes on with that, to make room for a head that outgrows its block.
-- O(bytes of a piece, or of a turn that is longer), and of the room. The document stays one JSON object: what was moved
-- and what was not stand apart by spaces at the beginning of a line.
-- KEYS: the session
-- ARGV: 1 epoch of the history  2 where it is to start at least
-- Gives where the spaces are now, 0 if the room is there; or {'changed'}
local PIECE = 524288 -- bytes that are moved at once
local CHUNK = 65536 -- of these, that are copied at once
local WINDOW = 4096 -- bytes in which the beginning of a line is looked for first
local key, wanted = KEYS[1], tonumber(ARGV[2])

local front = read_front(key)
if not front or front.epoch ~= ARGV[1] then
  return { 'changed' }
end
local first = front.head + #HISTORY
local stop, width, last = front.gap, front.width, ''
if stop == 0 then
  width = wanted - front.head
  if width <= 0 then
    return 0
  end
  stop, last = call('STRLEN', key) - #LAST, LAST
end

-- The beginning of a line that is no longer than a piece before what was moved last, or of a longer line.
local function line_between(from, to)
  local at, window = from, WINDOW
  while at < to do
    local newline = string.find(call('GETRANGE', key, at, math.min(at + window, to) - 1), '\n', 1, true)
    if newline then
      return at + newline
    end
    at, window = at + window, CHUNK
  end
end
local cut, from, to = nil, stop, stop - 1
while not cut do
  from = math.max(first, from - PIECE)
  cut = from == first and first or line_between(from, to)
  to = from
end

if last ~= '' then
  call('SETRANGE', key, stop + width, last) -- first, so that the string grows once
end
local left = stop
while left > cut do
  local piece = math.max(cut, left - CHUNK)
  call('SETRANGE', key, piece + width, call('GETRANGE', key, piece, left - 1))
  left = piece
end
-- Spaces stand behind what was not moved yet, but for the first time.
blank(key, cut, last ~= '' and cut + width or math.min(cut + width, stop))
if cut > first then
  front.gap, front.width = cut, width
else -- all of it was moved: now the spaces are the head's
  blank(key, front.head, first)
  front.head, front.gap, front.width = front.head + width, 0, 0
  call('SETRANGE', key, front.head, HISTORY)
end
call('SETRANGE', key, 0, front_of(front))
return front.gap

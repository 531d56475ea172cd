-- Appends turns to a session document and replaces its head, if it is still what the writer saw. O(new bytes).
-- For a head that outgrows its block, what stands behind it is moved if it is not long; else room has to be made before.
-- KEYS: the session; the claim, if a turn gives it up with what it writes
-- ARGV: 1 version that the writer saw  2 front to write, to the end of the slot  3 rest of the head, or '' if it stays
--       4 room that this head wants at least  5 end of the document: the turn lines, with what stands before, between and behind
--       6 greatest size in bytes  7 fence of the writer's claim, 0 none
--       8 time to live in seconds, 0 none  9 '1' if it begins again; else it only is not to have been taken away
--       10 size that the writer saw, 0 if it does not know  11 the turn's id, as JSON text
-- Gives the size, or {'changed'}, {'absent'}, {'fenced'}, {'full', size} or {'room', offset of the history}
local LONG = 262144 -- bytes; moving as many takes Redis a millisecond
local BLOCK = 512
local key, claim, new, rest, tail, fence = KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[7])

local function give_up_claim()
  local found = claim and call('GETRANGE', claim, 0, 511) -- all that stands before its note
  if found and string.match(found, '^{"until":[%d.]+,"fence":%d+,"turn_id":("[^"]*")') == ARGV[11] then
    call('DEL', claim)
  end
end

local front = call('GETRANGE', key, 0, FRONT - 1)
local size = call('STRLEN', key)
if version_in(front) ~= ARGV[1] then
  if version_in(front) == version_in(new) then -- this very write was here before; its answer was lost
    give_up_claim()
    return size
  end
  return { (size > 0 or call('EXISTS', key) == 1) and 'changed' or 'absent' }
end
local stop, place, highest = size - #LAST, head_in(front), fence_in(front)
if not (place and highest) or (size ~= tonumber(ARGV[10]) and call('GETRANGE', key, stop, -1) ~= LAST) then
  return { 'changed' } -- damaged: that is for a reader to judge
end
if fence > 0 and fence < highest then
  return { 'fenced' }
end

local head = place
if rest ~= '' and used_in(new) > head then
  -- What is moved is all that stands behind it, so that is to be rarer the more it is: a hundredth of it is room, too.
  head = math.max(tonumber(ARGV[4]), math.ceil((used_in(new) + size / 100) / BLOCK) * BLOCK)
end
local moved = head - place
local wanted = stop + #tail + moved
if wanted > tonumber(ARGV[6]) then
  return { 'full', wanted }
end
if moved > 0 and (stop - place > LONG or gap_in(front) ~= 0) then
  return { 'room', head }
end

local start = sub(new, 1, 133) .. (moved == 0 and sub(front, 134, 143) or string.format('%10d', head))
  .. sub(front, 144, 180) .. sub(new, 181, 199)
  .. (fence <= highest and sub(front, 200, 215) or string.format('%16.0f', fence)) .. sub(new, 216)
if moved > 0 then
  call('SETRANGE', key, head, call('GETRANGE', key, place, stop - 1) .. tail)
elseif #tail > #LAST then
  call('SETRANGE', key, stop, tail)
end
call('SETRANGE', key, 0, start)
if rest ~= '' then
  call('SETRANGE', key, #start, rest)
  blank(key, used_in(new), moved > 0 and head or used_in(front))
end
if ARGV[9] == '1' or (ARGV[8] ~= '0' and call('PTTL', key) < 0) then
  expire(key, tonumber(ARGV[8]))
end
give_up_claim()
return wanted

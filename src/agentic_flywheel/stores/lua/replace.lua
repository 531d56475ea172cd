-- Writes a whole session document, if what it replaces is still what the writer saw. O(document).
-- KEYS: the session
-- ARGV: 1 version that the writer saw, '' for none  2 version of the new document  3 the new document
--       4 time to live in seconds, 0 none  5 fence of the writer's claim, 0 none; the document has it, too
-- Gives {'stored'}, {'changed'}, {'absent'}, {'present'} or {'fenced'}
local key, seen, fence = KEYS[1], ARGV[1], tonumber(ARGV[5])
local highest = 0

if call('EXISTS', key) == 0 then
  if seen ~= '' then
    return { 'absent' }
  end
else
  local front = read_front(key)
  if front and front.version == ARGV[2] then -- this very write was here before; its answer was lost
    return { 'stored' }
  elseif seen == '' then
    return { 'present' }
  elseif not front or front.version ~= seen then
    return { 'changed' }
  end
  highest = front.fence
end
if fence > 0 and fence < highest then
  return { 'fenced' }
end
call('SET', key, ARGV[3])
expire(key, tonumber(ARGV[4]))
if fence < highest then
  local written = read_front(key)
  written.fence = highest
  call('SETRANGE', key, 0, front_of(written))
end
return { 'stored' }

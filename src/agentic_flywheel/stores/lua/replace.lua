-- Writes a whole session document, if what it replaces is still what the writer saw. O(document).
-- KEYS: the session
-- ARGV: 1 version that the writer saw: '' for none, 'sha1:<hex>' for a document that somebody else wrote
--       2 version of the new document  3 the new document  4 time to live in seconds, 0 none
-- Gives {'stored', revision, turns, epoch}, {'changed'}, {'absent'} or {'present'}
local key, seen = KEYS[1], ARGV[1]

if redis.call('EXISTS', key) == 0 then
  if seen ~= '' then
    return { 'absent' }
  end
else
  local front = read_front(key)
  if front and front.version == ARGV[2] then -- this very write was here before; its answer was lost
    return { 'stored', front.revision, front.turns, front.epoch }
  elseif seen == '' then
    return { 'present' }
  elseif string.sub(seen, 1, 5) == 'sha1:' then
    if seen ~= 'sha1:' .. redis.sha1hex(redis.call('GET', key)) then
      return { 'changed' }
    end
  elseif not front or front.version ~= seen then
    return { 'changed' }
  end
end
redis.call('SET', key, ARGV[3])
expire(key, tonumber(ARGV[4]))
local written = read_front(key)
return { 'stored', written.revision, written.turns, written.epoch }

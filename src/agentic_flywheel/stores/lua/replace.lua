-- Writes a whole session document, if what it replaces is still what the writer saw. O(document); O(1) where that
-- was put beside the session before, since it then only gets its name.
-- KEYS: the session, and where the document was put, if it was
-- ARGV: 1 version that the writer saw: '' for none, 'sha1:<hex>' for a document that somebody else wrote
--       2 version of the new document  3 the new document, or ''  4 time to live in seconds, 0 none
--       5 fence of the writer's claim, 0 none; the document has it, too
-- Gives {'stored'}, {'changed'}, {'absent'}, {'present'}, {'fenced'} or {'lost'}
local key, beside, seen, fence = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[5])
local highest = 0

local function without_it(answer)
  if beside then
    call('UNLINK', beside)
  end
  return answer
end

if call('EXISTS', key) == 0 then
  if seen ~= '' then
    return without_it({ 'absent' })
  end
else
  local front = read_front(key)
  if front and front.version == ARGV[2] then -- this very write was here before; its answer was lost
    return without_it({ 'stored' })
  elseif seen == '' then
    return without_it({ 'present' })
  elseif sub(seen, 1, 5) == 'sha1:' then
    if seen ~= 'sha1:' .. redis.sha1hex(call('GET', key)) then
      return without_it({ 'changed' })
    end
  elseif not front or front.version ~= seen then
    return without_it({ 'changed' })
  end
  highest = front and front.fence or 0
end
if fence > 0 and fence < highest then
  return without_it({ 'fenced' })
end
if not beside then
  call('SET', key, ARGV[3])
elseif call('EXISTS', beside) == 1 then
  call('UNLINK', key) -- to rename would free it at once, which takes long
  call('RENAME', beside, key)
else
  return { 'lost' }
end
expire(key, tonumber(ARGV[4]))
if fence < highest then
  local written = read_front(key)
  written.fence = highest
  call('SETRANGE', key, 0, front_of(written))
end
return { 'stored' }

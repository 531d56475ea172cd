-- Adds a line to the history of a flow, a JSON array with one entry a line. O(new bytes).
-- An entry that is already among the last ones is not added again; readers drop repeated ids beyond that.
-- KEYS: the history
-- ARGV: 1 the entry  2 time to live in seconds, 0 none
-- Gives {'stored'} or {'foreign'}
local WINDOW = 2048 -- bytes before the last one that may be this one: to read more costs more than to add it
local key, entry, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])

local size = redis.call('STRLEN', key)
if size == 0 then
  redis.call('SET', key, '[\n' .. entry .. '\n]')
else
  local window = redis.call('GETRANGE', key, math.max(0, size - WINDOW - #entry), -1)
  if string.sub(window, -3) ~= '}\n]' then
    return { 'foreign' }
  end
  if not string.find(window, '\n' .. entry, 1, true) then
    redis.call('SETRANGE', key, size - 2, ',\n' .. entry .. '\n]')
  end
end
if ttl > 0 then
  redis.call('EXPIRE', key, ttl)
else
  redis.call('PERSIST', key)
end
return { 'stored' }

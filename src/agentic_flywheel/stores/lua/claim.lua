-- Claims a session for a turn, or claims it for longer. O(1).
-- KEYS: the claim
-- ARGV: 1 turn id, as JSON text  2 note, a JSON object  3 seconds  4 id of the turn that gives way, as JSON text
--       5 seconds to keep the claim
-- Gives {} if it was free, {claim, '1'} if one that had ended gave way, {claim, '0'} if another's stands
local key, turn, instead = KEYS[1], ARGV[1], ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local found = redis.call('GET', key)
local ended = '0'
if found then
  local deadline, holder = string.match(found, '^{"until":([%d.]+),"turn_id":("[^"]*")')
  if not deadline or tonumber(deadline) <= now or holder == instead then
    ended = '1'
  elseif holder ~= turn then
    return { found, '0' }
  end
  if holder == turn then
    found = nil
  end
end
local claim = string.format('{"until":%.3f,"turn_id":%s,"note":%s}', now + tonumber(ARGV[3]), turn, ARGV[2])
redis.call('SET', key, claim, 'EX', ARGV[5])
return found and { found, ended } or {}

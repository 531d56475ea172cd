-- Claims a session for a turn, or claims it for longer. O(1).
-- KEYS: the claim
-- ARGV: 1 turn id, as JSON text  2 note, a JSON object  3 seconds  4 id of the turn that gives way, as JSON text
--       5 seconds to keep the claim
-- Gives {fence} if it was free, {fence, claim} if one that had ended gave way, {0, claim} if another's stands
local key, turn, instead = KEYS[1], ARGV[1], ARGV[4]
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = micros / 1000000

local found = redis.call('GET', key)
local fence = micros
if found then
  local deadline, its_fence, holder = string.match(found, '^{"until":([%d.]+),"fence":(%d+),"turn_id":("[^"]*")')
  local ended = not deadline or tonumber(deadline) <= now or holder == instead
  if holder == turn then
    found, fence = nil, tonumber(its_fence)
  elseif ended then
    fence = math.max(micros, tonumber(its_fence or 0) + 1)
  else
    return { 0, found }
  end
end
local claim = string.format('{"until":%.3f,"fence":%.0f,"turn_id":%s,"note":%s}', now + tonumber(ARGV[3]), fence, turn,
  ARGV[2])
redis.call('SET', key, claim, 'EX', ARGV[5])
return found and { fence, found } or { fence }

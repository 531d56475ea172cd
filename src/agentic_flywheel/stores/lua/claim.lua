-- Claims a session for a turn, or claims it for longer. O(note).
-- KEYS: the claim
-- ARGV: 1 turn id, as JSON text  2 note, a JSON object  3 seconds  4 id of the turn that gives way, as JSON text
--       5 seconds to keep the claim
-- Gives {fence} if it was free, {fence, claim} if one that had ended gave way, {0, claim} if another's stands;
--       {'large'} if it would have to tell of one with a large note: then it does nothing
local LARGE = 262144 -- bytes
local START = 512 -- bytes of a claim, with all that stands before its note
local key, turn, instead = KEYS[1], ARGV[1], ARGV[4]
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = micros / 1000000

local found = redis.call('GETRANGE', key, 0, START - 1)
local fence = micros
if found == '' then
  found = nil
else
  local deadline, its_fence, holder = string.match(found, '^{"until":([%d.]+),"fence":(%d+),"turn_id":("[^"]*")')
  local ended = not deadline or tonumber(deadline) <= now or holder == instead
  if holder == turn then
    found, fence = nil, tonumber(its_fence)
  else
    if #found == START and redis.call('STRLEN', key) >= LARGE then
      return { 'large' }
    end
    found = redis.call('GET', key)
    if not ended then
      return { 0, found }
    end
    fence = math.max(micros, tonumber(its_fence or 0) + 1)
  end
end
local claim = string.format('{"until":%.3f,"fence":%.0f,"turn_id":%s,"note":%s}', now + tonumber(ARGV[3]), fence, turn,
  ARGV[2])
redis.call('SET', key, claim, 'EX', ARGV[5])
return found and { fence, found } or { fence }

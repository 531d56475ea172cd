-- Gives up the claim of a turn, if it still has one. O(1).
-- KEYS: the claim
-- ARGV: 1 turn id, as JSON text
local found = redis.call('GETRANGE', KEYS[1], 0, 511) -- all that stands before its note
if string.match(found, '^{"until":[%d.]+,"fence":%d+,"turn_id":("[^"]*")') == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return {}

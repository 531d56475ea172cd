-- Gives up the claim of a turn, if what the turn wrote is there. O(1).
-- KEYS: the session, the claim
-- ARGV: 1 version that it wrote  2 turn id, as JSON text
-- Gives 1 if it is there, and the turn has no claim any more; else 0
local front = read_front(KEYS[1])
if not front or front.version ~= ARGV[1] then
  return 0
end
local found = call('GET', KEYS[2])
if found and string.match(found, '^{"until":[%d.]+,"fence":%d+,"turn_id":("[^"]*")') == ARGV[2] then
  call('DEL', KEYS[2])
end
return 1

-- Refuses from now on what is written to a session under an earlier claim. O(1).
-- KEYS: the session
-- ARGV: 1 fence of the claim
local front = read_front(KEYS[1])
if front and front.fence < tonumber(ARGV[1]) then
  front.fence = tonumber(ARGV[1])
  call('SETRANGE', KEYS[1], 0, front_of(front))
end
return {}

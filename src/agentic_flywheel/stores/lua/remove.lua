-- Removes a session document if it still is what somebody saw. O(document).
-- KEYS: the session
-- ARGV: 1 SHA1 of the bytes that were seen: the text of a string, else what DUMP gives
-- Gives 1 if it was removed, 0 if something else is there, or nothing
local kind = redis.call('TYPE', KEYS[1]).ok
local bytes = redis.call(kind == 'string' and 'GET' or 'DUMP', KEYS[1])
if bytes and redis.sha1hex(bytes) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0

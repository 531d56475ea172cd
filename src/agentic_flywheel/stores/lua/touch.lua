-- Starts the time to live of a session document again. O(1).
-- KEYS: the session
-- ARGV: 1 '1' to touch, '0' only to look
-- Gives the size of the document in bytes, -1 if it is absent
local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then
  return -1
end
local front = ARGV[1] == '1' and read_front(key)
if front then
  expire(key, front.ttl)
end
return redis.call('STRLEN', key)

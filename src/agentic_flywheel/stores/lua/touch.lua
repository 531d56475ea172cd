-- Starts the time to live of a session document again. O(1).
-- KEYS: the session
-- ARGV: 1 '1' to touch, '0' only to look
-- Gives {size in bytes, version}, {-1, ''} if it is absent; a document that somebody else wrote has the version ''
local key = KEYS[1]
local size = call('STRLEN', key)
if size == 0 and call('EXISTS', key) == 0 then
  return absent(key, { -1, '' })
end
local front = read_front(key)
if front and ARGV[1] == '1' then
  expire(key, front.ttl)
end
return { size, front and front.version or '' }

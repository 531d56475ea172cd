-- Stands behind layout.lua before each script that takes the front of a session document apart.
local FORMAT = '{"revision":%10d,"layout":{"version":"%s","epoch":"%s","turns":%10d,"used":%10d,'
  .. '"head":%10d,"gap":[%10d,%10d],"ttl":%10d,"fence":%16.0f},"metadata":{'

local function is_front(bytes)
  return sub(bytes, 1, 12) == '{"revision":' and sub(bytes, 23, 44) == ',"layout":{"version":"'
    and sub(bytes, 61, 71) == '","epoch":"' and sub(bytes, 88, 97) == '","turns":' and sub(bytes, 108, 115) == ',"used":'
    and sub(bytes, 126, 133) == ',"head":' and sub(bytes, 144, 151) == ',"gap":[' and sub(bytes, 173, 180) == '],"ttl":'
    and sub(bytes, 191, 199) == ',"fence":' and sub(bytes, 216) == '},"metadata":{'
end

local function read_front(key)
  local bytes = call('GETRANGE', key, 0, FRONT - 1)
  if not is_front(bytes) then
    return nil
  end
  local front = {
    revision = tonumber(sub(bytes, 13, 22)),
    version = version_in(bytes),
    epoch = sub(bytes, 72, 87),
    turns = tonumber(sub(bytes, 98, 107)),
    used = used_in(bytes),
    head = head_in(bytes),
    ttl = tonumber(sub(bytes, 181, 190)),
    fence = fence_in(bytes),
  }
  front.gap, front.width = gap_in(bytes)
  local is_whole = front.revision and front.turns and front.used and front.head and front.gap and front.width
    and front.ttl and front.fence
  return is_whole and front or nil
end

local function front_of(front)
  return string.format(FORMAT, front.revision, front.version, front.epoch, front.turns, front.used, front.head,
    front.gap, front.width, front.ttl, front.fence)
end

-- What to answer where there is no such key. A replica, which may just not have it yet, refuses to delete it.
local function absent(key, answer)
  local refused = redis.pcall('DEL', key)
  if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
    return redis.error_reply('READONLY what a replica lacks may not have arrived yet')
  end
  return answer
end

-- Stands before each script on a session document; redis_layout.py explains the layout.
-- Reads the front of fixed width. A document that somebody else wrote has none.
local SLOT = 64
local HISTORY = ',"history":['
local LAST = '\n]}'
local PATTERN = '^{"revision": *(%d+),"layout":{"version":"(%x+)","epoch":"(%x+)","turns": *(%d+),'
  .. '"head": *(%d+),"ttl": *(%d+),"fence": *(%d+)},"metadata":{'
local FORMAT = '{"revision":%10d,"layout":{"version":"%s","epoch":"%s","turns":%10d,'
  .. '"head":%10d,"ttl":%10d,"fence":%16.0f},"metadata":{'

local function read_front(key)
  local bytes = redis.call('GETRANGE', key, 0, 255)
  local first, last, revision, version, epoch, turns, head, ttl, fence = string.find(bytes, PATTERN)
  if not first then
    return nil
  end
  return {
    size = last,
    revision = tonumber(revision),
    version = version,
    epoch = epoch,
    turns = tonumber(turns),
    head = tonumber(head),
    ttl = tonumber(ttl),
    fence = tonumber(fence),
  }
end

local function front_of(front)
  return string.format(FORMAT, front.revision, front.version, front.epoch, front.turns, front.head, front.ttl,
    front.fence)
end

local function expire(key, ttl)
  if ttl > 0 then
    redis.call('EXPIRE', key, ttl)
  else
    redis.call('PERSIST', key)
  end
end

-- What to answer where there is no such key. A replica, which may just not have it yet, refuses to delete it.
local function absent(key, answer)
  local refused = redis.pcall('DEL', key)
  if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
    return redis.error_reply('READONLY what a replica lacks may not have arrived yet')
  end
  return answer
end

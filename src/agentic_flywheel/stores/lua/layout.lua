-- Stands before each script on a session document, with what all of them need; redis_layout.py explains the layout.
-- The front has a fixed width, so its fields are where they are: to look for them by a pattern takes ten times as long.
-- A document that somebody else wrote has none.
local LAST = '\n]}'
local FRONT = 229
local call, sub = redis.call, string.sub

local function version_in(bytes)
  return sub(bytes, 45, 60)
end

local function used_in(bytes)
  return tonumber(sub(bytes, 116, 125))
end

local function head_in(bytes)
  return tonumber(sub(bytes, 134, 143))
end

local function gap_in(bytes)
  return tonumber(sub(bytes, 152, 161)), tonumber(sub(bytes, 163, 172))
end

local function fence_in(bytes)
  return tonumber(sub(bytes, 200, 215))
end

-- Writes spaces from a place to another. Lua takes ten milliseconds to make a megabyte of them, so they are written in pieces.
local function blank(key, from, to)
  local piece = string.rep(' ', math.min(to - from, 16384))
  for at = from, to - 1, 16384 do
    call('SETRANGE', key, at, sub(piece, 1, to - at))
  end
end

local function expire(key, ttl)
  if ttl > 0 then
    call('EXPIRE', key, ttl)
  else
    call('PERSIST', key)
  end
end

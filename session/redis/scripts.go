package redis

import goredis "github.com/redis/go-redis/v9"

// What addScript returns.
const (
	marksLost = -1
	markAdded = 1
)

var (
	// getScript returns what is under a key. ARGV: how many bytes it may have.
	getScript = goredis.NewScript(`
if redis.call('STRLEN', KEYS[1]) > tonumber(ARGV[1]) then
	return false
end
return redis.call('GET', KEYS[1])
`)

	// takeScript returns what is under a key, which it removes. GETDEL would
	// have to read what is too large.
	takeScript = goredis.NewScript(`
local value = false
if redis.call('STRLEN', KEYS[1]) <= tonumber(ARGV[1]) then
	value = redis.call('GET', KEYS[1])
end
redis.call('DEL', KEYS[1])
return value
`)

	// addScript makes a mark. KEYS: the epoch of its shard, the mark. ARGV: its
	// time to live in milliseconds. All that tells of lost marks is looked at
	// together with the mark: Redis evicts keys before a script and not during
	// one.
	addScript = goredis.NewScript(`
local function info(section, name)
	local value = string.match(redis.call('INFO', section), '[\r\n]' .. name .. ':([%w]+)')
	if not value then
		error('INFO ' .. section .. ' has no ' .. name)
	end
	return value
end
local server = info('server', 'run_id') .. ' ' .. info('replication', 'master_replid') .. ' ' .. info('stats', 'evicted_keys')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[1])

local began, of = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
began = tonumber(began)
if of ~= server or not began or began > now then
	began = now
	redis.call('SET', KEYS[1], string.format('%.0f %s', began, server))
end
local added = redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[1])
if now - began < ttl then
	return -1
end
return added and 1 or 0
`)

	// replaceScript replaces a ring's keys, which begin with their version. ARGV:
	// the old version, the new one, the keys, their time to live in
	// milliseconds. A call that finds the new version is a repeated one, whose
	// first answer was lost.
	replaceScript = goredis.NewScript(`
local version = redis.call('GETRANGE', KEYS[1], 0, #ARGV[2] - 1)
if version == ARGV[2] then
	return 1
end
if version ~= ARGV[1] then
	return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
`)
)

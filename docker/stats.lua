-- For redis_exporter (--script): the counters of CHATCACHE.STATS as redis_script_values{key="chatcache_..."}.
-- The exporter reads INFO without the sections of modules, so it asks with this.
local stats = redis.call('CHATCACHE.STATS')
for i = 1, #stats, 2 do
    stats[i] = 'chatcache_' .. string.gsub(stats[i], '-', '_')
    stats[i + 1] = tostring(stats[i + 1])
end
return stats

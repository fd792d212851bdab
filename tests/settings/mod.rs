//! The settings: at run time, in redis.conf, as arguments of loadmodule; and refused ones.

mod at_load;
mod at_run_time;

/// All settings and their defaults.
const DEFAULTS: [(&str, &str); 19] = [
    ("chatcache.compression", "zstd"),
    ("chatcache.compression-min-bytes", "256"),
    ("chatcache.invalidate-sync-limit", "512"),
    ("chatcache.key-check-s", "60"),
    ("chatcache.l1-max-bytes", "67108864"),
    ("chatcache.lease-ms", "30000"),
    ("chatcache.max-leases", "100000"),
    ("chatcache.max-response-bytes", "16777216"),
    ("chatcache.max-waiters", "100000"),
    ("chatcache.stale-msg", "0"),
    ("chatcache.stale-persona", "0"),
    ("chatcache.stale-response", "0"),
    ("chatcache.stale-session", "0"),
    ("chatcache.stream-pace-ms", "20"),
    ("chatcache.ttl-jitter", "0"),
    ("chatcache.ttl-msg", "300"),
    ("chatcache.ttl-persona", "3600"),
    ("chatcache.ttl-response", "3600"),
    ("chatcache.ttl-session", "86400"),
];

/// All settings as CONFIG GET tells them, by name.
#[track_caller]
fn settings(con: &mut testkit::RawClient) -> std::collections::BTreeMap<String, String> {
    let told = testkit::fields(con.say("CONFIG GET chatcache.*"));
    told.into_iter().map(|(name, value)| (name, testkit::text_of(&value))).collect()
}

/// The defaults, but for these.
fn defaults_but(others: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let all = DEFAULTS.iter().chain(others);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

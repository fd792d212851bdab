//! The settings, with their defaults and bounds.

use crate::entry::compression::Method;
use crate::redis::Setting;
use crate::tier::Tier;

/// The longest TTL that can be set: a hundred years, far from any overflow.
const MAX_TTL_S: i64 = 100 * 366 * 86_400;

/// How large an answer can ever be: what the server takes as one argument by default.
const MAX_RESPONSE_BYTES: i64 = 512 * 1024 * 1024;

/// The longest lease: a day.
const MAX_LEASE_MS: i64 = 86_400_000;

/// How large L1 may be made: more than any machine has.
const MAX_L1_BYTES: i64 = 1 << 46;

static SETTINGS: [Setting; 16] = [
    Setting::new(c"ttl-msg", 300, 1, MAX_TTL_S),
    Setting::new(c"ttl-persona", 3600, 1, MAX_TTL_S),
    Setting::new(c"ttl-session", 86_400, 1, MAX_TTL_S),
    Setting::new(c"ttl-response", 3600, 1, MAX_TTL_S),
    Setting::bytes(c"max-response-bytes", 16 * 1024 * 1024, 1, MAX_RESPONSE_BYTES),
    Setting::new(c"invalidate-sync-limit", 512, 0, 1_000_000),
    Setting::new(c"stale-msg", 0, 0, MAX_TTL_S),
    Setting::new(c"stale-persona", 0, 0, MAX_TTL_S),
    Setting::new(c"stale-session", 0, 0, MAX_TTL_S),
    Setting::new(c"stale-response", 0, 0, MAX_TTL_S),
    Setting::new(c"ttl-jitter", 0, 0, 50),
    Setting::new(c"lease-ms", 30_000, 1, MAX_LEASE_MS),
    Setting::new(c"max-waiters", 100_000, 0, 10_000_000),
    Setting::bytes(c"l1-max-bytes", 64 * 1024 * 1024, 0, MAX_L1_BYTES),
    Setting::choice(c"compression", 2, &[c"none", c"lz4", c"zstd"]),
    Setting::bytes(c"compression-min-bytes", 256, 0, MAX_RESPONSE_BYTES),
];

/// All settings, for registering them.
pub fn all() -> &'static [Setting] {
    &SETTINGS
}

/// How long an answer of this tier is kept, in milliseconds.
pub fn ttl_ms(tier: Tier) -> i64 {
    let [msg, persona, session, response, ..] = &SETTINGS;
    of_tier(tier, [msg, persona, session, response]) * 1000
}

/// How long an answer of this tier is given as stale after that, in milliseconds.
pub fn stale_ms(tier: Tier) -> i64 {
    let [_, _, _, _, _, _, msg, persona, session, response, ..] = &SETTINGS;
    of_tier(tier, [msg, persona, session, response]) * 1000
}

fn of_tier(tier: Tier, [msg, persona, session, response]: [&Setting; 4]) -> i64 {
    match tier {
        Tier::Msg => msg.get(),
        Tier::Persona => persona.get(),
        Tier::Session => session.get(),
        Tier::Response => response.get(),
    }
}

/// By how many percent at most a TTL is cut, at random.
pub fn ttl_jitter() -> i64 {
    let [.., jitter, _, _, _, _, _] = &SETTINGS;
    jitter.get()
}

/// How long a lease is where LEASE is not given, in milliseconds.
pub fn lease_ms() -> i64 {
    let [.., lease, _, _, _, _] = &SETTINGS;
    lease.get()
}

/// How many clients may wait for answers.
pub fn max_waiters() -> usize {
    let [.., waiters, _, _, _] = &SETTINGS;
    usize::try_from(waiters.get()).unwrap_or(usize::MAX)
}

/// How many bytes of answers L1 may hold; 0 for no L1.
pub fn l1_max_bytes() -> u64 {
    let [.., bytes, _, _] = &SETTINGS;
    bytes.get().unsigned_abs()
}

/// How cold answers are packed.
pub fn compression() -> Method {
    let [.., method, _] = &SETTINGS;
    match method.get() {
        0 => Method::None,
        1 => Method::Lz4,
        _ => Method::Zstd,
    }
}

/// The shortest answer that is packed.
pub fn compression_min_bytes() -> u64 {
    let [.., bytes] = &SETTINGS;
    bytes.get().unsigned_abs()
}

/// The longest answer that SET takes, in bytes.
pub fn max_response_bytes() -> u64 {
    let [_, _, _, _, limit, ..] = &SETTINGS;
    limit.get().unsigned_abs()
}

/// Up to how many answers a drop deletes at once, keys and all.
pub fn invalidate_sync_limit() -> u64 {
    let [_, _, _, _, _, limit, ..] = &SETTINGS;
    limit.get().unsigned_abs()
}

/// The settings and their values, for the log.
pub fn summary() -> String {
    let words: Vec<String> = SETTINGS
        .iter()
        .map(|setting| format!("{} {}", setting.name.to_string_lossy(), setting.text()))
        .collect();
    words.join(", ")
}

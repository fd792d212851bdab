//! The settings, with their defaults and bounds.

use crate::redis::Setting;
use crate::tier::Tier;

/// The longest TTL that can be set: a hundred years, far from any overflow.
const MAX_TTL_S: i64 = 100 * 366 * 86_400;

/// How large an answer can ever be: what the server takes as one argument by default.
const MAX_RESPONSE_BYTES: i64 = 512 * 1024 * 1024;

static SETTINGS: [Setting; 6] = [
    Setting::new(c"ttl-msg", 300, 1, MAX_TTL_S),
    Setting::new(c"ttl-persona", 3600, 1, MAX_TTL_S),
    Setting::new(c"ttl-session", 86_400, 1, MAX_TTL_S),
    Setting::new(c"ttl-response", 3600, 1, MAX_TTL_S),
    Setting::bytes(c"max-response-bytes", 16 * 1024 * 1024, 1, MAX_RESPONSE_BYTES),
    Setting::new(c"invalidate-sync-limit", 512, 0, 1_000_000),
];

/// All settings, for registering them.
pub fn all() -> &'static [Setting] {
    &SETTINGS
}

/// How long an answer of this tier is kept, in milliseconds.
pub fn ttl_ms(tier: Tier) -> i64 {
    let [msg, persona, session, response, ..] = &SETTINGS;
    let setting = match tier {
        Tier::Msg => msg,
        Tier::Persona => persona,
        Tier::Session => session,
        Tier::Response => response,
    };
    setting.get() * 1000
}

/// The longest answer that SET takes, in bytes.
pub fn max_response_bytes() -> u64 {
    let [_, _, _, _, limit, _] = &SETTINGS;
    limit.get().unsigned_abs()
}

/// Up to how many answers a drop deletes at once, keys and all.
pub fn invalidate_sync_limit() -> u64 {
    let [_, _, _, _, _, limit] = &SETTINGS;
    limit.get().unsigned_abs()
}

/// The settings and their values, for the log.
pub fn summary() -> String {
    let words: Vec<String> = SETTINGS
        .iter()
        .map(|setting| format!("{} {}", setting.name.to_string_lossy(), setting.get()))
        .collect();
    words.join(", ")
}

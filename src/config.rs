//! The settings: each is a static with its name, default, range and type.
//!
//! A new setting is one line of `settings!`, which also puts it into the list that is registered.

#![forbid(unsafe_code)]

use crate::entry::compression::Method;
use crate::redis::{AnySetting, Choice, Setting, SettingValue};
use crate::tier::Tier;
use std::ffi::CStr;

/// The longest TTL in seconds: a hundred years, far from any overflow.
const MAX_TTL_S: i64 = 100 * 366 * 86_400;

/// The longest response in bytes: the longest argument that the server takes by default.
const MAX_RESPONSE_BYTES: i64 = 512 * 1024 * 1024;

/// The longest lease in milliseconds: a day.
const MAX_LEASE_MS: i64 = 86_400_000;

/// The largest L1 in bytes: more than any machine has.
const MAX_L1_BYTES: i64 = 1 << 46;

/// Makes the statics, and the list of all of them.
macro_rules! settings {
    ($($(#[$doc:meta])* $visibility:vis $name:ident: $type:ty = $setting:expr;)*) => {
        $($(#[$doc])* $visibility static $name: Setting<$type> = $setting;)*

        /// All settings.
        pub static ALL: &[&AnySetting] = &[$($name.any()),*];
    };
}

settings! {
    /// TTL of tier msg, in seconds.
    TTL_MSG: i64 = Setting::number(c"ttl-msg", 300, 1, MAX_TTL_S);
    /// TTL of tier persona, in seconds.
    TTL_PERSONA: i64 = Setting::number(c"ttl-persona", 3600, 1, MAX_TTL_S);
    /// TTL of tier session, in seconds.
    TTL_SESSION: i64 = Setting::number(c"ttl-session", 86_400, 1, MAX_TTL_S);
    /// TTL of tier response, in seconds.
    TTL_RESPONSE: i64 = Setting::number(c"ttl-response", 3600, 1, MAX_TTL_S);
    /// Longest response that SET takes, in bytes.
    pub MAX_RESPONSE_SIZE: u64 = Setting::bytes(c"max-response-bytes", 16 * 1024 * 1024, 1, MAX_RESPONSE_BYTES);
    /// Most entries that an invalidation deletes at once, with their keys.
    pub INVALIDATE_SYNC_LIMIT: u64 = Setting::number(c"invalidate-sync-limit", 512, 0, 1_000_000);
    /// Time for which an entry of tier msg is served stale after its TTL, in seconds.
    STALE_MSG: i64 = Setting::number(c"stale-msg", 0, 0, MAX_TTL_S);
    /// Time for which an entry of tier persona is served stale after its TTL, in seconds.
    STALE_PERSONA: i64 = Setting::number(c"stale-persona", 0, 0, MAX_TTL_S);
    /// Time for which an entry of tier session is served stale after its TTL, in seconds.
    STALE_SESSION: i64 = Setting::number(c"stale-session", 0, 0, MAX_TTL_S);
    /// Time for which an entry of tier response is served stale after its TTL, in seconds.
    STALE_RESPONSE: i64 = Setting::number(c"stale-response", 0, 0, MAX_TTL_S);
    /// Random reduction of a TTL, 0 to 50 %.
    pub TTL_JITTER: i64 = Setting::number(c"ttl-jitter", 0, 0, 50);
    /// Length of a lease without LEASE, in milliseconds.
    pub LEASE_MS: i64 = Setting::number(c"lease-ms", 30_000, 1, MAX_LEASE_MS);
    /// Most leases at once.
    pub MAX_LEASES: usize = Setting::number(c"max-leases", 100_000, 1, 10_000_000);
    /// Most clients that wait for a response at once.
    pub MAX_WAITERS: usize = Setting::number(c"max-waiters", 100_000, 0, 10_000_000);
    /// Least time between two wakes of a draft's readers, in milliseconds; 0 for every piece.
    pub STREAM_PACE_MS: i64 = Setting::number(c"stream-pace-ms", 20, 0, 60_000);
    /// Most bytes of responses in L1; 0 turns L1 off.
    pub L1_MAX_BYTES: u64 = Setting::bytes(c"l1-max-bytes", 64 * 1024 * 1024, 0, MAX_L1_BYTES);
    /// Most seconds for which a response is served without a look at its key; 0 for a look at each read.
    pub KEY_CHECK_S: i64 = Setting::number(c"key-check-s", 60, 0, 3600);
    /// Compression method of cold responses; the default is zstd.
    pub COMPRESSION: Method = Setting::choice(c"compression", 2);
    /// Shortest response that is compressed, in bytes.
    pub COMPRESSION_MIN_BYTES: u64 = Setting::bytes(c"compression-min-bytes", 256, 0, MAX_RESPONSE_BYTES);
}

impl Choice for Method {
    const WORDS: &'static [&'static CStr] = &[c"none", c"lz4", c"zstd"];
}

impl SettingValue for Method {
    fn from_stored(position: i64) -> Self {
        match position {
            0 => Method::None,
            1 => Method::Lz4,
            _ => Method::Zstd,
        }
    }
}

/// Returns the TTL of new entries of this tier, in milliseconds.
pub fn ttl_ms(tier: Tier) -> i64 {
    let setting = match tier {
        Tier::Msg => &TTL_MSG,
        Tier::Persona => &TTL_PERSONA,
        Tier::Session => &TTL_SESSION,
        Tier::Response => &TTL_RESPONSE,
    };
    setting.get() * 1000
}

/// Returns the time for which an entry of this tier is served stale after its TTL, in milliseconds.
pub fn stale_ms(tier: Tier) -> i64 {
    let setting = match tier {
        Tier::Msg => &STALE_MSG,
        Tier::Persona => &STALE_PERSONA,
        Tier::Session => &STALE_SESSION,
        Tier::Response => &STALE_RESPONSE,
    };
    setting.get() * 1000
}

/// Returns all settings and their values, for the log.
pub fn summary() -> String {
    let settings: Vec<String> =
        ALL.iter().map(|setting| format!("{} {}", setting.name(), setting.text())).collect();
    settings.join(", ")
}

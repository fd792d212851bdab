//! The bounds of a request's arguments and options.

/// The longest persona, user or ID, in bytes: more than any name needs, and short enough for a key's name and for
/// the lengths of the RDB format.
pub const MAX_NAME_BYTES: usize = 65_535;

/// The longest message, in bytes. MD5 costs the main thread 1.5 µs a KB, so 25 ms for this one.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The longest WAIT and LEASE, in milliseconds: a day.
pub const DAY_MS: i64 = 86_400_000;

/// The longest STALE, in milliseconds: a hundred years, as the longest TTL of a setting.
pub const MAX_STALE_MS: i64 = 100 * 366 * DAY_MS;

/// The highest COST that an entry can hold, in milliseconds: some 50 days.
pub const MAX_COST_MS: i64 = u32::MAX as i64;

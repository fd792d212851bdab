//! The lifetime of a response: its TTL, its grace after it, and the random reduction of `ttl-jitter`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use crate::cache::lookup::Lookup;
use crate::config;
use crate::entry::ALWAYS_FRESH;
use crate::redis::Ctx;
use crate::request::error::CommandError;
use crate::request::options::Ttl;
use crate::tier::Tier;

/// The terms that a command gives.
#[derive(Clone, Copy)]
pub struct Terms {
    /// The TTL.
    pub ttl: Ttl,
    /// Milliseconds of grace after the TTL; None for the tier's setting.
    pub stale_ms: Option<i64>,
    /// The name of the command, for an error that concerns its TTL.
    pub command: &'static str,
}

/// The time until which a response is fresh, and the time at which its key expires.
pub struct Lifetime {
    /// Unix milliseconds; None for never.
    pub expires_at: Option<i64>,
    /// Unix milliseconds, or `ALWAYS_FRESH`.
    pub fresh_until: i64,
}

impl Lifetime {
    /// Returns the lifetime of the response to a request, whose key `lookup` has looked into.
    ///
    /// # Errors
    /// The end overflows.
    pub fn new(
        ctx: &Ctx<'_>,
        terms: Terms,
        tier: Tier,
        lookup: &Lookup<'_>,
        now_ms: i64,
    ) -> Result<Self, CommandError> {
        if terms.ttl == Ttl::Keep {
            let kept = match lookup {
                Lookup::Fresh(found) => Some(found),
                // A replayed entry was fresh when its master decided.
                Lookup::Stale(found) if ctx.is_replayed() => Some(found),
                _ => None,
            };
            if let Some(found) = kept {
                let expires_at = found.key.key().expires_at();
                return Ok(Lifetime { expires_at, fresh_until: found.fresh_until_ms() });
            }
        }
        let fresh_until = match terms.ttl {
            Ttl::At(until_ms) => until_ms,
            Ttl::Relative { ms, .. } => now_ms.saturating_add(jittered(ctx, ms)),
            Ttl::Tier | Ttl::Keep => now_ms.saturating_add(jittered(ctx, config::ttl_ms(tier))),
        };
        // A replayed command states its grace: this server's settings may differ. (`is_replayed` comes last: the server
        // counts its memory for it.)
        let by_setting = || match config::stale_ms(tier) {
            stale_ms if stale_ms > 0 && !ctx.is_replayed() => stale_ms,
            _ => 0,
        };
        match terms.stale_ms.unwrap_or_else(by_setting) {
            0 => Ok(Lifetime { expires_at: Some(fresh_until), fresh_until: ALWAYS_FRESH }),
            stale_ms => {
                let expires_at =
                    fresh_until.checked_add(stale_ms).ok_or(CommandError::InvalidExpire(terms.command))?;
                Ok(Lifetime { expires_at: Some(expires_at), fresh_until })
            }
        }
    }
}

/// Reduces a TTL at random by 0 to `ttl-jitter` percent, so that responses stored together do not expire together.
fn jittered(ctx: &Ctx<'_>, ttl_ms: i64) -> i64 {
    let percent = config::TTL_JITTER.get();
    if percent == 0 || ctx.is_replayed() {
        return ttl_ms;
    }
    let [a, b, c, d, ..] = ctx.random();
    let share = f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX);
    let cut = ttl_ms as f64 * share * percent as f64 / 100.0;
    (ttl_ms - cut as i64).max(1)
}

//! The lease keys of a request.
//!
//! In the tiers msg and session the key does not hold the persona, so callers that name different personas share one
//! response, and one lease. But a client may only wait for a response that it has a right to. A caller without rights
//! to all personas therefore shares a lease with the callers of its own persona alone. So a request has two lease keys,
//! an open one and its persona's own, and the end of a response concerns both.

use crate::cache::CACHE;
use crate::cache::rights::{self, Access};
use crate::lease::LeaseKey;
use crate::redis::Ctx;
use crate::request::Request;
use crate::request::fingerprint::Fingerprint;
use crate::request::key_name::Layout;
use crate::tier::Tier;

/// The lease keys of one request.
#[derive(Clone, Copy)]
pub struct LeaseKeys {
    /// The lease key of callers that may read all personas.
    pub(super) open: LeaseKey,
    /// The lease key of the other callers, for the request's persona; the open one if the key holds the persona.
    pub(super) own: LeaseKey,
}

impl LeaseKeys {
    /// Iterates over the lease keys, each once.
    pub(super) fn each(&self) -> impl Iterator<Item = &LeaseKey> {
        let own = (self.own != self.open).then_some(&self.own);
        std::iter::once(&self.open).chain(own)
    }
}

/// Returns the lease keys of a response in this database with this fingerprint and persona.
pub fn lease_keys(database: i32, tier: Tier, fingerprint: &Fingerprint, persona: &[u8]) -> LeaseKeys {
    let open = LeaseKey { database, tier, identity: *fingerprint.as_bytes() };
    let own = || LeaseKey { identity: *fingerprint.for_persona(persona).as_bytes(), ..open };
    match CACHE.with(|cache| cache.layout) {
        Layout::Single if rights::is_shared(tier) => LeaseKeys { open, own: own() },
        Layout::Single => LeaseKeys { open, own: open },
        // In a cluster every key holds the persona, even if the fingerprint does not.
        Layout::Cluster => {
            let own = own();
            LeaseKeys { open: own, own }
        }
    }
}

/// Returns the lease keys of a request in the caller's database.
pub(super) fn of_request(ctx: &Ctx<'_>, request: &Request<'_>) -> LeaseKeys {
    lease_keys(ctx.database(), request.tier, &request.fingerprint(), request.persona)
}

/// The callers that share a lease key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Audience {
    /// Callers that name the same persona.
    SamePersona,
    /// Callers with rights to all personas.
    AllPersonas,
}

/// Returns the lease key that the caller shares with others.
pub(super) fn shared(ctx: &Ctx<'_>, request: &Request<'_>) -> (LeaseKey, Audience) {
    let LeaseKeys { open, own } = of_request(ctx, request);
    if open == own {
        (open, Audience::SamePersona)
    } else if rights::has_all_keys(ctx, Access::Read) {
        (open, Audience::AllPersonas)
    } else {
        (own, Audience::SamePersona)
    }
}

//! Rights of the clients that read along, asked again at every part.

use crate::cache::rights::{self, Access};
use crate::lease::WaiterId;
use crate::redis::Caller;
use crate::tier::Tier;
use std::collections::HashMap;
use std::sync::Arc;

use super::lease_keys::Audience;
use super::state::FLIGHT;

/// The facts that decide on a reader's rights.
type Reader = (Caller, Tier, Arc<[u8]>, Audience);

/// The rights of the readers of one event, each user asked once.
#[derive(Default)]
pub(super) struct Readers(HashMap<Reader, bool>);

impl Readers {
    /// Returns true if the waiter's user may read the draft by its present rights.
    pub fn may_read(&mut self, waiter: WaiterId) -> bool {
        let rights = FLIGHT.with(|flight| {
            let client = flight.as_ref()?.waiting.get(&waiter)?;
            let (caller, persona) = (client.caller.clone(), Arc::clone(&client.persona));
            Some((caller, client.lease_key.tier, persona, client.audience))
        });
        let Some(rights) = rights else { return false };
        *self.0.entry(rights).or_insert_with_key(|(caller, tier, persona, audience)| {
            rights::may_fetch(caller, *tier, persona)
                && match audience {
                    Audience::SamePersona => true,
                    Audience::AllPersonas => rights::caller_has_all_keys(caller, Access::Read),
                }
        })
    }
}

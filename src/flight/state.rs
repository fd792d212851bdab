//! The lease table of this server, and the clients that wait.
//!
//! A waiting client leaves `waiting` when its wait ends, so it is woken once. Its reply is then `finished`, and is
//! delivered before the event loop sleeps, or in one of its next turns if many are. CLIENT UNBLOCK may come before that: it takes the reply, or passes its lease
//! on.

use crate::entry::Response;
use crate::index::Handle;
use crate::lease::{LeaseKey, LeaseTable, LeaveReason, WaiterId};
use crate::redis::{Blocked, Caller, MainThread};
use crate::request::fingerprint::Fingerprint;
use crate::tier::Tier;
use indexmap::IndexMap;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use super::lease_keys::Audience;
use super::reply::FetchReply;

/// The number of finished waits that one turn of the event loop delivers: the server takes some ten microseconds for each.
pub(super) const DELIVERIES: usize = 128;

pub(super) static FLIGHT: MainThread<Option<Flight>> = MainThread::new(None);

/// The start of the leases' clock. It never steps back, as the system's may.
pub(super) static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the milliseconds since `BEGIN`.
pub(super) fn now_ms() -> i64 {
    i64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// The lease table, and the clients that it keeps waiting.
pub(super) struct Flight {
    pub table: LeaseTable,
    pub waiting: HashMap<WaiterId, WaitingClient>,
    pub by_client: HashMap<u64, WaiterId>,
    /// Finished waits to deliver, by client ID, in the order in which they ended.
    pub finished: IndexMap<u64, FinishedWait>,
    /// An event of this turn of the event loop has handled its batch of ends.
    pub has_advanced: bool,
    /// The node's epoch in its cluster when it was last looked at.
    pub epoch: Option<u64>,
    /// The epoch was looked at in this turn of the event loop.
    pub knows_epoch: bool,
}

/// A waiting client, and the key of its response.
pub(super) struct WaitingClient {
    pub blocked: Blocked,
    pub client: u64,
    pub lease_key: LeaseKey,
    pub key: Arc<[u8]>,
    pub fingerprint: Fingerprint,
    /// The user whose rights count when the response comes.
    pub caller: Caller,
    /// The persona that the request names.
    pub persona: Arc<[u8]>,
    pub audience: Audience,
}

/// A client whose wait is over, and its reply.
pub(super) struct FinishedWait {
    pub blocked: Blocked,
    pub lease_key: LeaseKey,
    pub reply: FetchReply,
}

/// A response that waiters may have.
pub(super) struct StoredResponse {
    /// The database's number.
    pub database: i32,
    /// The response's tier.
    pub tier: Tier,
    /// The persona that produced it.
    pub persona: Arc<[u8]>,
    /// Its entry in the index.
    pub handle: Handle,
    /// The response, raw.
    pub response: Response,
    /// Milliseconds that computing it took.
    pub cost_ms: u32,
    /// Milliseconds for which it stays fresh; None for ever.
    pub fresh_ms: Option<u64>,
}

impl Flight {
    pub fn new() -> Self {
        Flight {
            table: LeaseTable::new(),
            waiting: HashMap::new(),
            by_client: HashMap::new(),
            finished: IndexMap::new(),
            has_advanced: false,
            epoch: None,
            knows_epoch: false,
        }
    }

    /// Ends a client's wait, and returns the client.
    fn take(&mut self, waiter: WaiterId) -> Option<WaitingClient> {
        let client = self.waiting.remove(&waiter)?;
        self.by_client.remove(&client.client);
        Some(client)
    }

    /// Ends a client's wait with a reply to deliver.
    pub fn finish_wait(&mut self, waiter: WaiterId, reply: FetchReply) {
        if let Some(WaitingClient { blocked, client, lease_key, .. }) = self.take(waiter) {
            self.finished.insert(client, FinishedWait { blocked, lease_key, reply });
        }
    }

    /// Ends the wait of a client that the server has unblocked. Returns its handle, and the milliseconds left of the
    /// lease that it waited for.
    pub fn leave(&mut self, client: u64, reason: LeaveReason) -> Option<(Blocked, u64)> {
        let waiter = *self.by_client.get(&client)?;
        let left_ms = self.table.leave(waiter, reason, now_ms());
        Some((self.take(waiter)?.blocked, left_ms.unwrap_or(0)))
    }
}

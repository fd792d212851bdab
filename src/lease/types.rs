//! The events of the lease table and their outcomes, as types.

use std::fmt;

use super::draft_text::DraftPart;
use super::ids::WaiterId;
use crate::tier::Tier;

/// The key of a lease: requests with equal lease keys share one lease.
///
/// `identity` tells the requests of a tier apart. On a single server it is the request's fingerprint. In a cluster
/// every key contains the persona, so there it must be a hash of both, lest two keys share a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey {
    /// The database's number.
    pub database: i32,
    /// The request's tier.
    pub tier: Tier,
    /// See above.
    pub identity: [u8; 32],
}

/// The proof of a lease. Debugging output hides it, and a comparison takes the same time wherever two tokens differ.
#[derive(Clone, Copy, Eq)]
pub struct Token([u8; 16]);

impl Token {
    /// The token with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Token {
        Token(bytes)
    }

    /// The token's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The name of a draft: an unguessable ID of its own, which proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DraftName([u8; 16]);

impl DraftName {
    /// The name with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> DraftName {
        DraftName(bytes)
    }

    /// The name's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The way in which a caller reads along, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The caller waits for the response.
    No,
    /// STREAM: the caller takes the draft's bytes from its start.
    FromStart,
    /// STREAM FROM: the caller has read that draft up to the offset.
    From {
        /// The draft.
        name: DraftName,
        /// Bytes that the caller has.
        offset: usize,
    },
}

/// The bounds of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftLimits {
    /// Bytes of a draft.
    pub max_bytes: usize,
    /// Milliseconds between two wakes of a draft's readers.
    pub pace_ms: i64,
}

/// The outcome of an APPEND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The draft has this length in bytes, and the lease is renewed for its full length.
    Appended(usize),
    /// The draft would be longer than `max_bytes`. Draft and lease stay as they are.
    TooLong,
    /// The token proves no lease.
    Refused,
}

/// The source of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredAs {
    /// COMMIT: the response is the draft of the lease with this token.
    Draft(Token),
    /// SET.
    Response,
}

/// The time and the randomness of one event, and the place for its wakes.
pub struct Step<'a> {
    /// Milliseconds of a clock that never steps back.
    pub now_ms: i64,
    /// Returns 16 unguessable bytes, for a token or the name of a draft.
    pub random: &'a mut dyn FnMut() -> [u8; 16],
    /// The event appends its wakes here.
    pub wakes: &'a mut Vec<Wake>,
}

/// A caller that has found no fresh response.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'a> {
    /// The lease that the caller asks for.
    pub lease_key: LeaseKey,
    /// An invalidation of this persona voids the lease.
    pub persona: &'a [u8],
    /// FORGET of this user voids the lease. It may be empty.
    pub user: &'a [u8],
    /// The client's ID.
    pub client: u64,
    /// A number for the user whose rights the client has.
    pub account: u64,
    /// The tie of a lease to the client's connection.
    pub tie: Tie,
    /// Length of the lease in milliseconds, whether it is granted now or at the end of a wait.
    pub lease_ms: u64,
    /// Whether the caller reads along.
    pub stream: Stream,
    /// The bound on leases of all lease keys together. One client holds at most a tenth of it, one account nine tenths, and
    /// each at least one: a client cannot take what is left for the others by many connections.
    pub max_leases: usize,
}

/// Whether a lease ends with its holder's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// The end of the connection ends the lease.
    Connection,
    /// DETACHED: the lease outlives the connection.
    Detached,
}

impl LeaseRequest<'_> {
    /// The bound on the leases of one client.
    pub(super) fn max_leases_per_client(&self) -> usize {
        (self.max_leases / 10).max(1)
    }

    /// The bound on the leases of one account.
    pub(super) fn max_leases_per_account(&self) -> usize {
        (self.max_leases - self.max_leases / 10).max(1)
    }
}

/// Whether a caller waits if the lease is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The caller hears `Busy` at once.
    No,
    /// The caller waits, unless `max_waiters` clients wait already.
    Until {
        /// The end of the wait in milliseconds of the step's clock.
        deadline_ms: i64,
        /// The bound on waiters of all lease keys together.
        max_waiters: usize,
    },
}

/// A lease just granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantedLease {
    /// Proves the lease.
    pub token: Token,
    /// The lease's length in milliseconds.
    pub ms: u64,
}

/// The news of a draft for one of its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftNews {
    /// The draft has more than the reader has.
    Part {
        /// The draft's name.
        name: DraftName,
        /// The bytes from the reader's offset on, at least one.
        part: DraftPart,
        /// The offset after them.
        next: usize,
    },
    /// The draft has become the response: the bytes from the reader's offset on, perhaps none.
    Rest(DraftPart),
    /// The draft is void, or never was one of this lease key with that many bytes.
    Lost,
}

/// The outcome of a FETCH that found no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// The caller computes the response.
    Leased(GrantedLease),
    /// The lease key is free, and `max_leases` forbids one more lease: the caller computes the response for itself.
    Unshared,
    /// Another client holds the lease.
    Busy {
        /// Milliseconds left of that lease.
        ms: u64,
    },
    /// The caller reads along.
    Draft(DraftNews),
    /// The caller waits. A `Wake` follows, at its deadline at the latest.
    Waiting(WaiterId),
}

/// A waiter for the caller of the table to wake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The waiter.
    pub waiter: WaiterId,
    /// The waiter's client ID.
    pub client: u64,
    /// The news for it.
    pub outcome: WaitOutcome,
}

/// The outcome of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The response is stored.
    Hit,
    /// The waiter gets the lease and computes the response.
    Lease {
        /// Proves the lease.
        token: Token,
        /// The lease's length in milliseconds.
        ms: u64,
    },
    /// The wait is over.
    Busy {
        /// Milliseconds left of the lease; zero if the lease key has none.
        ms: u64,
    },
    /// The waiter reads along.
    Draft(DraftNews),
    /// The key may have a response now. If so, call `leave` with `Answered`; if not, the waiter keeps its place.
    Recheck,
}

/// The reason why a waiter leaves the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// A recheck found the response.
    Answered,
    /// The server ended the wait: its timeout, or CLIENT UNBLOCK.
    TimedOut,
    /// The client is disconnected, or cannot get a reply for another reason.
    Gone,
}

//! What goes into the lease table and comes out of it.

use std::fmt;

use super::ids::WaiterId;
use crate::tier::Tier;

/// What is asked, where: callers with equal questions share one lease.
///
/// `identity` tells requests of a tier apart. On a single server that is the request's fingerprint. In a cluster
/// the persona is part of every key, so there it must be a hash of both, lest two keys share a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseKey {
    pub database: i32,
    pub tier: Tier,
    pub identity: [u8; 32],
}

/// What proves a lease. It does not show up in debugging output, and comparing two takes the same time wherever
/// they differ.
#[derive(Clone, Copy, Eq)]
pub struct Token([u8; 16]);

impl Token {
    pub const fn from_bytes(bytes: [u8; 16]) -> Token {
        Token(bytes)
    }

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

/// What every event comes with.
pub struct Step<'a> {
    /// Of a clock that never steps back.
    pub now_ms: i64,
    /// Makes a token: 16 bytes that nobody can guess.
    pub random: &'a mut dyn FnMut() -> [u8; 16],
    /// Where the actions go, behind those already there.
    pub wakes: &'a mut Vec<Wake>,
}

/// A caller that finds no fresh answer.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub lease_key: LeaseKey,
    /// Whose lease it will be: a drop of this persona, or of this user (who may be empty), voids it.
    pub persona: &'a [u8],
    pub user: &'a [u8],
    pub client: u64,
    /// How long a lease it wants, be it now or at the end of its wait.
    pub lease_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    No,
    /// Unless as many wait already, for whatever question.
    Until {
        deadline_ms: i64,
        max_waiters: usize,
    },
}

/// A lease given, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
    pub token: Token,
    pub ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    Leased(Leased),
    /// Somebody else has the lease, for so long yet.
    Busy {
        ms: u64,
    },
    /// A `Wake` will come, at its deadline at the latest.
    Waiting(WaiterId),
}

/// What the caller of the table is to do about a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    pub waiter: WaiterId,
    pub client: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is an answer.
    Hit,
    /// It is this one's turn to compute it.
    Lease { token: Token, ms: u64 },
    /// Its wait is over; the lease is somebody's for so long yet, or nobody's.
    Busy { ms: u64 },
    /// There may be an answer. If there is, `leave` with `Answered`; if not, it waits on, in its place.
    LookAgain,
}

/// Why a waiter leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It looked again and found an answer.
    Answered,
    /// The server says that its wait is over: its timeout, or CLIENT UNBLOCK.
    TimedOut,
    /// It was disconnected, or there is nobody to reply to for another reason.
    Gone,
}

//! Counters of the lease table, for STATS and INFO.

/// Leases that ended without a response, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseEnds {
    /// The holder released the lease.
    pub released: u64,
    /// The holder's connection closed.
    pub disconnected: u64,
    /// The lease ran out.
    pub ran_out: u64,
    /// An invalidation voided the lease.
    pub voided: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseEnd {
    Released,
    Disconnected,
    RanOut,
    Voided,
}

impl LeaseEnds {
    pub(super) fn count(&mut self, end: LeaseEnd) {
        let counter = match end {
            LeaseEnd::Released => &mut self.released,
            LeaseEnd::Disconnected => &mut self.disconnected,
            LeaseEnd::RanOut => &mut self.ran_out,
            LeaseEnd::Voided => &mut self.voided,
        };
        *counter += 1;
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.released + self.disconnected + self.ran_out + self.voided
    }
}

/// Counts since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Leases granted: the sum of `answered`, `ended` and the leases held now.
    pub granted: u64,
    /// Leases that ended with a response.
    pub answered: u64,
    /// Leases that ended without a response.
    pub ended: LeaseEnds,
    /// Leases of `ended` that passed on to a waiter.
    pub passed_on: LeaseEnds,
    /// Tokens that proved no lease when a response came with them.
    pub refused: u64,
    /// Waits begun: the sum of `waits_hit`, `waits_over`, `waits_left`, `reads_ended`, `passed_on` and the waits that last.
    pub waited: u64,
    /// Waits that ended with a response: each saved a model call.
    pub waits_hit: u64,
    /// Waits that ended with `busy`.
    pub waits_over: u64,
    /// Waits that ended because their client was gone.
    pub waits_left: u64,
    /// Leases that nobody shares, because of `max_leases`. They are not in `granted`.
    pub unshared: u64,
    /// Drafts begun.
    pub drafts: u64,
    /// Parts of drafts given to callers and readers, at once or after a wait.
    pub parts: u64,
    /// Callers and readers that heard that their draft is lost.
    pub lost: u64,
    /// Committed drafts that were forgotten before their time, for the bounds.
    pub drafts_pushed_out: u64,
    /// Waits that ended with a part or the rest of a draft, or because it was lost.
    pub reads_ended: u64,
    /// Callers that heard `busy` because of `max_waiters`.
    pub turned_away: u64,
}

/// The counters and the table's present size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseReport {
    /// Leases held now, with those that are void and have not passed on yet.
    pub leases: usize,
    /// Clients that wait now.
    pub waiters: usize,
    /// Clients that wait for more of a draft, which are among the waiters.
    pub readers: usize,
    /// Drafts that grow now.
    pub drafts: usize,
    /// Bytes of drafts, growing and remembered.
    pub draft_bytes: usize,
    /// Counts since the table was made.
    pub counters: Counters,
}

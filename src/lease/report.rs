//! What the table has seen, for whoever operates the server.

/// Leases by what ended them, other than an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByEnd {
    /// The holder gave it back.
    pub released: u64,
    /// The holder's connection closed.
    pub disconnected: u64,
    pub ran_out: u64,
    /// What it would have answered was dropped meanwhile.
    pub voided: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Released,
    Disconnected,
    RanOut,
    Voided,
}

impl ByEnd {
    pub(super) fn count(&mut self, end: End) {
        let counter = match end {
            End::Released => &mut self.released,
            End::Disconnected => &mut self.disconnected,
            End::RanOut => &mut self.ran_out,
            End::Voided => &mut self.voided,
        };
        *counter += 1;
    }

    pub fn total(&self) -> u64 {
        self.released + self.disconnected + self.ran_out + self.voided
    }
}

/// Since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Leases given out: `answered`, all of `ended`, and those held now.
    pub granted: u64,
    /// Leases that ended with an answer.
    pub answered: u64,
    /// Leases that ended without one.
    pub ended: ByEnd,
    /// Those of `ended` that went on to a waiter.
    pub passed_on: ByEnd,
    /// Tokens that did not hold when an answer came with them.
    pub refused: u64,
    /// Waits begun: `waits_hit`, `waits_over`, `waits_left`, all of `passed_on`, and those that last.
    pub waited: u64,
    /// Waits that ended with an answer: model calls that were not made.
    pub waits_hit: u64,
    /// Waits that ended with `busy`.
    pub waits_over: u64,
    /// Waits that ended because their client was gone.
    pub waits_left: u64,
    /// Callers told `busy` because there were waiters enough.
    pub turned_away: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Leases held now.
    pub leases: usize,
    /// Clients that wait now.
    pub waiters: usize,
    pub counters: Counters,
}

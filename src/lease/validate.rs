//! The invariants of the table, checked by tests between any two events.

use std::collections::HashSet;

use super::table::LeaseTable;

impl LeaseTable {
    /// Panics if an invariant is broken.
    pub fn validate(&self) {
        self.flights.validate();
        self.waiters.validate();
        self.voids.validate();
        let mut queued = HashSet::new();
        for id in self.flights.all() {
            for (waiter, wait) in self.waiters.queued(id) {
                assert_eq!(wait.flight, id);
                assert!(queued.insert(waiter), "in two queues");
            }
        }
        self.drafts.validate();
        let untold = self.ended.iter().filter(|lease| !self.drafts.is_told(**lease));
        assert_eq!(untold.count(), self.drafts.untold(), "a committed draft whose readers nobody tells");
        assert_eq!(
            queued.len() + self.waiters.readers(),
            self.waiters.len(),
            "a waiter whose lease key has no lease"
        );
        let counters = self.counters;
        assert_eq!(counters.granted, counters.answered + counters.ended.total() + self.flights.len() as u64);
        let ended = counters.waits_hit
            + counters.waits_over
            + counters.waits_left
            + counters.reads_ended
            + counters.passed_on.total();
        assert_eq!(counters.waited, ended + self.waiters.len() as u64);
        if self.is_empty() {
            assert_eq!(self.heap_bytes(), 0, "an empty table keeps no memory");
        }
    }
}

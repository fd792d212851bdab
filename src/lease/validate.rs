//! What must be true between any two events, for the tests to ask.

use std::collections::HashSet;

use super::table::LeaseTable;

impl LeaseTable {
    pub fn validate(&self) {
        self.flights.validate();
        let mut queued = HashSet::new();
        for id in self.flights.all() {
            let flight = self.flights.get(id).unwrap();
            let mut last = None;
            for (waiter, wait) in self.waiters.queued(flight.queue) {
                assert!(last < Some(waiter), "first come, first served");
                assert_eq!(wait.flight, id);
                assert!(queued.insert(waiter), "in two queues");
                last = Some(waiter);
            }
        }
        assert_eq!(queued.len(), self.waiters.len(), "a waiter that nobody computes for");
        self.waiters.validate();
        let counters = self.counters;
        assert_eq!(counters.granted, counters.answered + counters.ended.total() + self.flights.len() as u64);
        let ended =
            counters.waits_hit + counters.waits_over + counters.waits_left + counters.passed_on.total();
        assert_eq!(counters.waited, ended + self.waiters.len() as u64);
        if self.flights.len() == 0 {
            assert_eq!(self.waiters.len(), 0);
            assert_eq!(self.heap_bytes(), 0, "nothing is kept for nobody");
        }
    }
}

//! What ends when: a heap from which nothing is taken out early.
//!
//! What ended before its time leaves its entry behind. `tidy` takes such entries off the top, so that `next` is
//! exact between two events, and out of the middle once they are more than those that count.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(super) struct Deadlines<I> {
    heap: BinaryHeap<Reverse<(i64, I)>>,
}

impl<I: Copy + Ord> Deadlines<I> {
    pub const fn new() -> Self {
        Deadlines { heap: BinaryHeap::new() }
    }

    pub fn push(&mut self, at_ms: i64, id: I) {
        self.heap.push(Reverse((at_ms, id)));
    }

    /// Takes out the earliest entry if its time has come; it may be one that counts no more.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<(i64, I)> {
        let Reverse((at_ms, _)) = self.heap.peek()?;
        if *at_ms > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub fn next(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// `counts` says which entries do, and `live` how many there are of them.
    pub fn tidy(&mut self, live: usize, counts: impl Fn(i64, I) -> bool) {
        if live == 0 {
            self.heap = BinaryHeap::new();
            return;
        }
        if self.heap.len() > 2 * live + 16 {
            self.heap.retain(|Reverse((at_ms, id))| counts(*at_ms, *id));
            self.heap.shrink_to(self.heap.len() * 2);
        }
        while let Some(Reverse((at_ms, id))) = self.heap.peek()
            && !counts(*at_ms, *id)
        {
            self.heap.pop();
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<(i64, I)>>()
    }
}

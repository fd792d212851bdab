//! L1 pauses while it serves too few reads to be worth the looks into it.
//!
//! A look costs a hash and one or two cache misses, and one that finds nothing saves no read of the key. So after
//! `WINDOW` looks of which too few were hits, only one read in `ONE_IN` looks into L1, until more of these are hits.
//!
//! Reads whose response L1 admitted count on neither side: an L1 that is filling up does not pause.

use std::cell::Cell;

/// The number of looks after which L1 is judged.
const WINDOW: u16 = 1024;

/// The least number of hits among them for which the looks are worth their cost (docs/dev/performance.md).
const LEAST_HITS: u16 = WINDOW / 12;

/// The part of the reads that look into a paused L1.
const ONE_IN: u8 = 16;

/// Hits and refusals of L1 since it was last judged, and the judgement.
#[derive(Default)]
pub(super) struct Pause {
    hits: Cell<u16>,
    refusals: Cell<u16>,
    is_on: Cell<bool>,
    /// Reads since the last that looked, during a pause.
    skipped: Cell<u8>,
}

impl Pause {
    /// Returns true if the next read should look into L1.
    pub fn lets_look(&self) -> bool {
        if !self.is_on.get() {
            return true;
        }
        let skipped = (self.skipped.get() + 1) % ONE_IN;
        self.skipped.set(skipped);
        skipped == 0
    }

    /// Counts a read that L1 served.
    pub fn note_hit(&self) {
        self.hits.set(self.hits.get() + 1);
        self.judge();
    }

    /// Counts a read for which L1 had nothing, and whose response it did not admit.
    pub fn note_refusal(&self) {
        self.refusals.set(self.refusals.get() + 1);
        self.judge();
    }

    fn judge(&self) {
        if self.hits.get() + self.refusals.get() < WINDOW {
            return;
        }
        self.is_on.set(self.hits.get() < LEAST_HITS);
        self.hits.set(0);
        self.refusals.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets this many reads look if they may, of which one in `one_in` hits. Returns the number that looked.
    fn read(pause: &Pause, reads: u32, one_in: u32) -> u32 {
        let mut looked = 0;
        for _ in 0..reads {
            if pause.lets_look() {
                looked += 1;
                if looked % one_in == 0 { pause.note_hit() } else { pause.note_refusal() }
            }
        }
        looked
    }

    #[test]
    fn l1_pauses_while_few_reads_hit_and_resumes_when_more_do() {
        let pause = Pause::default();
        assert_eq!(read(&pause, 10_240, 12), 10_240, "one in twelve is enough");
        assert_eq!(read(&pause, 1024, 20), 1024, "the judgement comes after a window");
        assert_eq!(read(&pause, 16 * 1024, 20), 1024, "a paused L1 is judged by the reads that still look");
        assert_eq!(read(&pause, 16 * 1024, 4), 1024, "and so is one that is useful again");
        assert_eq!(read(&pause, 1000, 4), 1000);
    }
}

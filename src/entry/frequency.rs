//! The frequency of requests for a response: a count that is halved every minute.
//!
//! Admission to L1 compares these counts. They take two bytes, so that every entry has one.

/// Hits of a response, the older ones counting less. It saturates at 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frequency {
    count: u8,
    /// The minute of the last hit, modulo 256.
    minute: u8,
}

impl Frequency {
    /// Returns the frequency of these bits.
    pub(super) fn from_bits(bits: u16) -> Frequency {
        let [count, minute] = bits.to_le_bytes();
        Frequency { count, minute }
    }

    /// Returns the frequency as bits.
    pub(super) fn to_bits(self) -> u16 {
        u16::from_le_bytes([self.count, self.minute])
    }

    /// Returns the count at a time, in Unix milliseconds: halved once for each minute since the last hit.
    ///
    /// Minutes are counted modulo 256, so that a response without a hit for 256 minutes has its old count for a moment. The
    /// time may be up to a minute before the last hit, since coarse clocks are behind.
    pub fn at(self, now_ms: i64) -> u8 {
        match minute(now_ms).wrapping_sub(self.minute) {
            u8::MAX => self.count,
            minutes => self.count.checked_shr(minutes.into()).unwrap_or(0),
        }
    }

    /// Returns the frequency after one more hit.
    #[must_use]
    pub fn after_hit(self, now_ms: i64) -> Frequency {
        Frequency { count: self.at(now_ms).saturating_add(1), minute: minute(now_ms) }
    }

    /// Returns true if the last hit brought the count to 1, 2, 4 … 128: a response is weighed for admission then, and not
    /// at every hit.
    pub fn is_milestone(self) -> bool {
        self.count.is_power_of_two()
    }
}

fn minute(now_ms: i64) -> u8 {
    (now_ms / 60_000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequency_counts_hits_and_is_halved_every_minute() {
        let mut frequency = Frequency::default();
        for hit in 1..=300 {
            frequency = frequency.after_hit(0);
            assert_eq!(frequency.at(59_999), hit.min(255) as u8);
        }
        let later = [1, 2, 7, 8, 100].map(|minutes| frequency.at(minutes * 60_000));
        assert_eq!(later, [127, 63, 1, 0, 0]);
        assert_eq!(frequency.at(-1), 255, "by a clock that is behind");
        assert_eq!(frequency.after_hit(120_000).at(120_000), 64);
    }

    #[test]
    fn a_frequency_reaches_a_milestone_at_each_power_of_two() {
        let mut frequency = Frequency::default();
        let mut milestones = Vec::new();
        for hit in 1..=255 {
            frequency = frequency.after_hit(0);
            if frequency.is_milestone() {
                milestones.push(hit);
            }
        }
        assert_eq!(milestones, [1, 2, 4, 8, 16, 32, 64, 128]);
    }
}

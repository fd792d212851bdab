//! The tiers: who shares an answer, and where in the keyspace it lives.
//!
//! A tier is a closed set of four. What differs between them, apart from the TTLs that the settings hold,
//! is which of user, persona and message the key is made of; `request` builds keys from that.

/// Who shares an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// Everybody who asks the same message.
    Msg = 0,
    /// Everybody who asks one persona the same message.
    Persona = 1,
    /// One user, for one message ID (or message).
    Session = 2,
    /// One user with one persona.
    Response = 3,
}

impl Tier {
    /// All tiers, in the order of their numbers.
    pub const ALL: [Tier; 4] = [Tier::Msg, Tier::Persona, Tier::Session, Tier::Response];

    /// The order in which `GET any` looks: from the fewest sharers to the most.
    pub const NARROWEST_FIRST: [Tier; 4] = [Tier::Session, Tier::Response, Tier::Persona, Tier::Msg];

    /// The tier's name in commands and replies, and the prefix of its keys.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Msg => "msg",
            Tier::Persona => "persona",
            Tier::Session => "session",
            Tier::Response => "response",
        }
    }

    /// The tier with this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The tier with this number; the numbers are part of the RDB format.
    pub fn from_number(number: u8) -> Option<Tier> {
        Tier::ALL.get(usize::from(number)).copied()
    }

    /// Whether the tier's keys hold the user, so that a request without one has no key in it.
    pub const fn needs_user(self) -> bool {
        matches!(self, Tier::Session | Tier::Response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_the_tier() {
        for tier in Tier::ALL {
            assert_eq!(Tier::from_name(tier.name().to_uppercase().as_bytes()), Some(tier));
            assert_eq!(Tier::from_number(tier as u8), Some(tier));
        }
        assert_eq!(Tier::from_name(b"any"), None);
        assert_eq!(Tier::from_number(4), None);
    }
}

//! The tiers: the circle of callers who share a response, and the place of its key in the keyspace.
//!
//! There are four tiers. They differ in the TTLs, which the settings hold, and in the parts of the key: user, persona
//! and message. `request` builds keys from that.

#![warn(missing_docs)]

use std::ffi::CStr;

/// The callers who share a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tier {
    /// All who send the same message.
    Msg = 0,
    /// All who send the same message to one persona.
    Persona = 1,
    /// One user, for one message or message ID.
    Session = 2,
    /// One user with one persona.
    Response = 3,
}

impl Tier {
    /// All tiers, in the order of their numbers.
    pub const ALL: [Tier; 4] = [Tier::Msg, Tier::Persona, Tier::Session, Tier::Response];

    /// The order in which `GET any` looks: from the fewest sharers to the most.
    pub const NARROWEST_FIRST: [Tier; 4] = [Tier::Session, Tier::Response, Tier::Persona, Tier::Msg];

    /// Returns the tier's name in commands and replies, which is also the prefix of its keys, as the server takes it.
    pub const fn c_name(self) -> &'static CStr {
        match self {
            Tier::Msg => c"msg",
            Tier::Persona => c"persona",
            Tier::Session => c"session",
            Tier::Response => c"response",
        }
    }

    /// Returns the tier's name.
    pub const fn name(self) -> &'static str {
        match self.c_name().to_str() {
            Ok(name) => name,
            // The names above are ASCII.
            Err(_) => "",
        }
    }

    /// Returns the tier with this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.c_name().to_bytes().eq_ignore_ascii_case(name))
    }

    /// Returns the tier with this number; the numbers are part of the RDB format.
    pub fn from_number(number: u8) -> Option<Tier> {
        Tier::ALL.get(usize::from(number)).copied()
    }

    /// Tells if the tier's keys hold the user, so that a request without one has no key in it.
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

//! The parts of a request that tell it from others: the one list that both the fingerprint and L1's key hash.

use arrayvec::ArrayVec;

/// The part of a request that its tier looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts<'a> {
    /// The tier msg.
    Msg {
        /// The message.
        message: &'a [u8],
    },
    /// The tier persona.
    Persona {
        /// The persona.
        persona: &'a [u8],
        /// The message.
        message: &'a [u8],
    },
    /// The tier session, for an application that gives its own ID: the ID stands for the message.
    SessionId {
        /// The user.
        user: &'a [u8],
        /// The ID.
        id: &'a [u8],
    },
    /// The tier session without an ID.
    Session {
        /// The user.
        user: &'a [u8],
        /// The message.
        message: &'a [u8],
    },
    /// The tier response.
    Response {
        /// The user.
        user: &'a [u8],
        /// The persona.
        persona: &'a [u8],
        /// The message.
        message: &'a [u8],
    },
}

/// The same parts as bytes to hash. The kind says which fields there are; a hash that takes the kind, then each field
/// with its length, is injective.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// The kind of the parts. The numbers are in the fingerprints of RDB files.
    pub kind: u8,
    /// The user, if it is a part.
    pub user: Option<&'a [u8]>,
    /// The persona, if it is a part.
    pub persona: Option<&'a [u8]>,
    /// The message, or the ID that stands for it.
    pub last: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Returns the parts as bytes to hash.
    pub const fn fields(self) -> Fields<'a> {
        let (kind, user, persona, last) = match self {
            Parts::Msg { message } => (1, None, None, message),
            Parts::Persona { persona, message } => (2, None, Some(persona), message),
            Parts::SessionId { user, id } => (3, Some(user), None, id),
            Parts::Session { user, message } => (4, Some(user), None, message),
            Parts::Response { user, persona, message } => (5, Some(user), Some(persona), message),
        };
        Fields { kind, user, persona, last }
    }
}

/// The bytes that fit in one piece; most requests do.
pub const SHORT: usize = 256;

/// Joins pieces to hash, if they fit. A copy costs less than one more call of a hasher.
pub fn in_one_piece<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Option<ArrayVec<u8, SHORT>> {
    let mut whole = ArrayVec::new();
    for piece in pieces {
        whole.try_extend_from_slice(piece).ok()?;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_fit_are_joined_to_the_last_byte() {
        let long = [b'x'; SHORT];
        let joined = |pieces: &[&[u8]]| in_one_piece(pieces.iter().copied()).map(|whole| whole.to_vec());
        assert_eq!(joined(&[b"ab", b"", b"c"]), Some(b"abc".to_vec()));
        assert_eq!(joined(&[]), Some(Vec::new()));
        assert_eq!(joined(&[&long[..1], &long[1..]]), Some(long.to_vec()));
        assert_eq!(joined(&[&long[..], b"x"]), None);
    }
}

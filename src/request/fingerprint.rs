//! Fingerprints: the parts of a request in 32 bytes that cannot be forged.
//!
//! A key holds the MD5 of the message, and two messages with one MD5 are easy to make. So every entry also holds the
//! fingerprint of its request, and its response is given only to a request with the same fingerprint.
//!
//! A fingerprint is the SHA-256 hash of `DOMAIN`, the kind of the request's `Parts`, and each field after its length.
//! Lengths make it injective: ("ab", "c") and ("a", "bc") hash different bytes. Fingerprints are stored in RDB files,
//! so the encoding never changes; another one would be another `DOMAIN`.

use crate::request::parts::{Parts, in_one_piece};
use sha2::{Digest, Sha256};

/// Sets these hashes apart from those of another encoding. It is short, since the hash takes 40 ns for each 64 bytes.
const DOMAIN: &[u8] = b"chat 1";

/// The fingerprint of a request: equal only if the requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of these parts. Long ones are hashed in their place, without a copy.
    pub fn of(parts: Parts<'_>) -> Fingerprint {
        let parts = parts.fields();
        let kind = [parts.kind];
        let fields = [parts.user, parts.persona, Some(parts.last)];
        let lengths = fields.map(|field| (field.map_or(0, <[u8]>::len) as u64).to_le_bytes());
        let with_lengths =
            lengths.iter().zip(fields).filter_map(|(length, field)| Some([&length[..], field?]));
        let pieces = [DOMAIN, &kind].into_iter().chain(with_lengths.flatten());
        Fingerprint::hash(pieces)
    }

    /// Returns the fingerprint of the same request for callers that may read this persona only.
    pub fn for_persona(&self, persona: &[u8]) -> Fingerprint {
        Fingerprint::hash([&self.0[..], persona].into_iter())
    }

    fn hash<'p>(pieces: impl Iterator<Item = &'p [u8]> + Clone) -> Fingerprint {
        let hash = match in_one_piece(pieces.clone()) {
            Some(whole) => Sha256::digest(&whole),
            None => pieces.fold(Sha256::new(), Sha256::chain_update).finalize(),
        };
        Fingerprint(hash.into())
    }

    /// Returns the fingerprint that an entry was stored with.
    pub const fn from_bytes(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes)
    }

    /// Returns the bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of a small alphabet and length, so that equal concatenations come up often.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xff)], 0..4)
    }

    fn parts<'a>(kind: u8, a: &'a [u8], b: &'a [u8], c: &'a [u8]) -> Parts<'a> {
        match kind {
            0 => Parts::Msg { message: c },
            1 => Parts::Persona { persona: a, message: c },
            2 => Parts::SessionId { user: a, id: c },
            3 => Parts::Session { user: a, message: c },
            _ => Parts::Response { user: a, persona: b, message: c },
        }
    }

    proptest! {
        #[test]
        fn two_requests_share_a_fingerprint_only_if_they_are_equal(
            one in (0u8..5, bytes(), bytes(), bytes()),
            other in (0u8..5, bytes(), bytes(), bytes()),
        ) {
            let one = parts(one.0, &one.1, &one.2, &one.3);
            let other = parts(other.0, &other.1, &other.2, &other.3);
            prop_assert_eq!(one == other, Fingerprint::of(one) == Fingerprint::of(other));
        }
    }

    #[test]
    fn a_byte_that_moves_to_the_next_field_makes_another_fingerprint() {
        let one = Parts::Persona { persona: b"ab", message: b"c" };
        let other = Parts::Persona { persona: b"a", message: b"bc" };
        assert_ne!(Fingerprint::of(one), Fingerprint::of(other));
    }

    #[test]
    fn a_session_id_is_never_taken_for_a_message() {
        let id = Parts::SessionId { user: b"u", id: b"42" };
        let message = Parts::Session { user: b"u", message: b"42" };
        assert_ne!(Fingerprint::of(id), Fingerprint::of(message));
    }

    #[test]
    fn fingerprints_are_those_of_the_rdb_files_already_written() {
        let mut encoded = b"chat 1\x05".to_vec();
        for field in ["ann", "helper", "hello"] {
            encoded.extend_from_slice(&(field.len() as u64).to_le_bytes());
            encoded.extend_from_slice(field.as_bytes());
        }
        let parts = Parts::Response { user: b"ann", persona: b"helper", message: b"hello" };
        let fingerprint = Fingerprint::of(parts);
        assert_eq!(fingerprint.as_bytes()[..], Sha256::digest(&encoded)[..]);
        assert_eq!(Fingerprint::from_bytes(*fingerprint.as_bytes()), fingerprint);
    }
}

//! The form of an entry in RDB files, in DUMP payloads and in what an AOF rewrite restores.
//!
//! An entry is a header and a payload. The header is a `Record`, encoded by bincode. The payload is the response's bytes
//! in the record's `encoding`; it stays apart, so it is never copied through here. The version is the module type's
//! encver: version 1 is `WireV1`, and a later one gets a struct of its own beside it.
//!
//! A header may come from anywhere: RESTORE takes any client's bytes. Decoding them never panics, and copies only names
//! that it has seen in full, so it never allocates more than the input is long. A decoded `Record` keeps the invariants
//! that its doc comment states. Only this file uses bincode.

use crate::request::MAX_NAME_BYTES;
use crate::tier::Tier;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version that this module writes, and the newest that it reads.
pub const ENCODING_VERSION: i32 = 1;

/// The longest header: two names, and some hundred bytes.
const MAX_HEADER_BYTES: usize = 2 * MAX_NAME_BYTES + 1024;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<MAX_HEADER_BYTES>,
> = bincode::config::standard().with_limit::<MAX_HEADER_BYTES>();

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordState {
    /// It has a response.
    Live = 0,
    /// It was invalidated and is not yet reclaimed.
    Tombstone = 1,
}

/// The encoding of the payload. It has no dictionaries, which never leave their process (see `compression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordEncoding {
    /// The response's bytes.
    Raw = 0,
    /// One lz4 block.
    Lz4 = 1,
    /// One zstd frame that needs no dictionary.
    Zstd = 2,
}

/// An entry's header.
///
/// A live one has a persona, and a user if its tier needs one. A tombstone has no names and no payload. The times are any
/// numbers, which a reader must not trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<Bytes = Vec<u8>> {
    /// The state.
    pub state: RecordState,
    /// The tier that it was stored in.
    pub tier: Tier,
    /// The persona that produced the response.
    pub persona: Bytes,
    /// The user that the response is for; empty if the request had none.
    pub user: Bytes,
    /// The fingerprint of the request.
    pub fingerprint: [u8; 32],
    /// The time of the SET, in Unix milliseconds.
    pub stored_at_ms: i64,
    /// The end of the response's freshness, in Unix milliseconds, if it differs from the end of the key.
    pub fresh_until_ms: Option<i64>,
    /// The hits.
    pub hits: u32,
    /// The cost of computing the response, in milliseconds; 0 if unknown.
    pub cost_ms: u32,
    /// The length of the response.
    pub raw_bytes: u32,
    /// The encoding of the payload.
    pub encoding: RecordEncoding,
}

/// A record to encode, with borrowed names.
pub type RecordRef<'a> = Record<&'a [u8]>;

impl Record {
    /// Returns the record with its names borrowed.
    pub fn borrow(&self) -> RecordRef<'_> {
        RecordRef {
            state: self.state,
            tier: self.tier,
            persona: &self.persona,
            user: &self.user,
            fingerprint: self.fingerprint,
            stored_at_ms: self.stored_at_ms,
            fresh_until_ms: self.fresh_until_ms,
            hits: self.hits,
            cost_ms: self.cost_ms,
            raw_bytes: self.raw_bytes,
            encoding: self.encoding,
        }
    }

    /// Checks the length of the payload that came with the header.
    ///
    /// # Errors
    ///
    /// Fails if a payload of this length cannot be the header's.
    pub fn check_payload(&self, payload_bytes: usize) -> Result<(), CodecError> {
        let fits = match (self.state, self.encoding) {
            (RecordState::Tombstone, _) => payload_bytes == 0,
            (RecordState::Live, RecordEncoding::Raw) => u32::try_from(payload_bytes) == Ok(self.raw_bytes),
            // Decompression checks the rest.
            (RecordState::Live, RecordEncoding::Lz4 | RecordEncoding::Zstd) => payload_bytes > 0,
        };
        if fits { Ok(()) } else { Err(CodecError::PayloadLength) }
    }
}

/// The reason for which a header or payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// A version that this module does not know: a newer module wrote it.
    Version {
        /// The version.
        found: i32,
    },
    /// The bytes are no header: they end early, or hold values that the format does not have.
    Malformed,
    /// Bytes follow the header.
    Trailing,
    /// A name is longer than `MAX_NAME_BYTES`.
    NameTooLong,
    /// No state has this number.
    UnknownState(u8),
    /// No tier has this number.
    UnknownTier(u8),
    /// No encoding has this number.
    UnknownEncoding(u8),
    /// A live entry lacks a persona, or the user that its tier needs.
    NameMissing,
    /// A tombstone has a name.
    NameLeft,
    /// The payload is not as long as the header tells.
    PayloadLength,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Version { found } => {
                write!(f, "it has version {found}, and this module reads versions up to {ENCODING_VERSION}")
            }
            CodecError::Malformed => write!(f, "its header is damaged"),
            CodecError::Trailing => write!(f, "its header is followed by more bytes"),
            CodecError::NameTooLong => write!(f, "a name in it is longer than {MAX_NAME_BYTES} bytes"),
            CodecError::UnknownState(number) => write!(f, "it has the unknown state {number}"),
            CodecError::UnknownTier(number) => write!(f, "it has the unknown tier {number}"),
            CodecError::UnknownEncoding(number) => write!(f, "it has the unknown encoding {number}"),
            CodecError::NameMissing => write!(f, "it lacks a persona or a user"),
            CodecError::NameLeft => write!(f, "it is a tombstone, yet has a name"),
            CodecError::PayloadLength => write!(f, "its payload has another length than its header tells"),
        }
    }
}

impl std::error::Error for CodecError {}

/// Version 1, field by field. The order and the types are the format.
///
/// Names are borrowed when decoding too: serde's `Vec` would reserve the length that the input claims before it has
/// seen a byte.
#[derive(Serialize, Deserialize)]
struct WireV1<'a> {
    state: u8,
    tier: u8,
    encoding: u8,
    persona: &'a [u8],
    user: &'a [u8],
    fingerprint: [u8; 32],
    stored_at_ms: i64,
    fresh_until_ms: Option<i64>,
    hits: u32,
    cost_ms: u32,
    raw_bytes: u32,
}

/// Returns the header's bytes, of version `ENCODING_VERSION`. The names of a tombstone are left out.
pub fn encode_header(record: &RecordRef<'_>) -> Vec<u8> {
    let (persona, user) = match record.state {
        RecordState::Live => (record.persona, record.user),
        RecordState::Tombstone => (&[][..], &[][..]),
    };
    let wire = WireV1 {
        state: record.state as u8,
        tier: record.tier as u8,
        encoding: record.encoding as u8,
        persona,
        user,
        fingerprint: record.fingerprint,
        stored_at_ms: record.stored_at_ms,
        fresh_until_ms: record.fresh_until_ms,
        hits: record.hits,
        cost_ms: record.cost_ms,
        raw_bytes: record.raw_bytes,
    };
    // Encoding these types to memory cannot fail. Were it ever to, an empty header is refused by every reader.
    bincode::serde::encode_to_vec(&wire, CONFIG).unwrap_or_default()
}

/// Returns the header in these bytes.
///
/// # Errors
///
/// Fails if the version is unknown, or the bytes are not exactly one valid header.
pub fn decode_header(version: i32, bytes: &[u8]) -> Result<Record, CodecError> {
    match version {
        1 => decode_v1(bytes),
        found => Err(CodecError::Version { found }),
    }
}

fn decode_v1(bytes: &[u8]) -> Result<Record, CodecError> {
    let (wire, read): (WireV1<'_>, usize) =
        bincode::serde::borrow_decode_from_slice(bytes, CONFIG).map_err(|_| CodecError::Malformed)?;
    if read != bytes.len() {
        return Err(CodecError::Trailing);
    }
    if wire.persona.len() > MAX_NAME_BYTES || wire.user.len() > MAX_NAME_BYTES {
        return Err(CodecError::NameTooLong);
    }
    let tier = Tier::from_number(wire.tier).ok_or(CodecError::UnknownTier(wire.tier))?;
    let state = match wire.state {
        0 if wire.persona.is_empty() || (tier.needs_user() && wire.user.is_empty()) => {
            return Err(CodecError::NameMissing);
        }
        0 => RecordState::Live,
        1 if !wire.persona.is_empty() || !wire.user.is_empty() => return Err(CodecError::NameLeft),
        1 => RecordState::Tombstone,
        number => return Err(CodecError::UnknownState(number)),
    };
    let encoding = match wire.encoding {
        0 => RecordEncoding::Raw,
        1 => RecordEncoding::Lz4,
        2 => RecordEncoding::Zstd,
        number => return Err(CodecError::UnknownEncoding(number)),
    };
    Ok(Record {
        state,
        tier,
        persona: wire.persona.to_vec(),
        user: wire.user.to_vec(),
        fingerprint: wire.fingerprint,
        stored_at_ms: wire.stored_at_ms,
        fresh_until_ms: wire.fresh_until_ms,
        hits: wire.hits,
        cost_ms: wire.cost_ms,
        raw_bytes: wire.raw_bytes,
        encoding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_response() -> Record {
        Record {
            state: RecordState::Live,
            tier: Tier::Response,
            persona: b"helper".to_vec(),
            user: b"ann\0\xff".to_vec(),
            fingerprint: [9; 32],
            stored_at_ms: 1_700_000_000_000,
            fresh_until_ms: Some(1_700_000_300_000),
            hits: 3,
            cost_ms: 1200,
            raw_bytes: 5,
            encoding: RecordEncoding::Raw,
        }
    }

    fn a_tombstone() -> Record {
        Record { state: RecordState::Tombstone, persona: vec![], user: vec![], ..a_response() }
    }

    fn decoded(bytes: &[u8]) -> Result<Record, CodecError> {
        decode_header(ENCODING_VERSION, bytes)
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let names = (0u8..4, prop::collection::vec(any::<u8>(), 1..300), any::<Vec<u8>>());
        let numbers = (any::<i64>(), any::<Option<i64>>(), any::<[u32; 3]>());
        (any::<bool>(), names, any::<[u8; 32]>(), numbers).prop_map(
            |(live, (tier, persona, mut user), fingerprint, numbers)| {
                let tier = Tier::from_number(tier).unwrap();
                user.push(b'u');
                let (stored_at_ms, fresh_until_ms, [hits, cost_ms, raw_bytes]) = numbers;
                let (state, persona, user) = match live {
                    true => (RecordState::Live, persona, user),
                    false => (RecordState::Tombstone, vec![], vec![]),
                };
                Record {
                    state,
                    tier,
                    persona,
                    user,
                    fingerprint,
                    stored_at_ms,
                    fresh_until_ms,
                    hits,
                    cost_ms,
                    raw_bytes,
                    encoding: RecordEncoding::Raw,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_survives_encoding_and_decoding(record in any_record()) {
            let bytes = encode_header(&record.borrow());
            prop_assert_eq!(decoded(&bytes), Ok(record));
        }

        #[test]
        fn a_header_cut_short_is_refused(record in any_record(), cut in any::<prop::sample::Index>()) {
            let bytes = encode_header(&record.borrow());
            prop_assert_eq!(decoded(&bytes[..cut.index(bytes.len())]), Err(CodecError::Malformed));
        }

        #[test]
        fn a_flipped_bit_is_refused_or_read_as_another_record(
            record in any_record(), bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encode_header(&record.borrow());
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = decoded(&bytes) {
                prop_assert_ne!(&read, &record);
                prop_assert_eq!(decoded(&encode_header(&read.borrow())), Ok(read));
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in prop::collection::vec(prop_oneof![0u8..6, 0xf8u8..=0xff, any::<u8>()], 0..200),
            version: i32,
        ) {
            if let Ok(read) = decoded(&bytes) {
                prop_assert!(read.persona.len() + read.user.len() <= bytes.len());
            }
            let _ = decode_header(version, &bytes).map_err(|error| error.to_string());
        }
    }

    #[test]
    fn the_form_of_version_1_never_changes() {
        let bytes = [
            &[0, 3, 0][..],
            b"\x06helper",
            b"\x05ann\0\xff",
            &[9; 32],
            &[0xfd],
            &(1_700_000_000_000u64 * 2).to_le_bytes(),
            &[1, 0xfd],
            &(1_700_000_300_000u64 * 2).to_le_bytes(),
            &[3, 0xfb],
            &1200u16.to_le_bytes(),
            &[5],
        ];
        assert_eq!(encode_header(&a_response().borrow()), bytes.concat());
        assert_eq!(decoded(&bytes.concat()), Ok(a_response()));
    }

    #[test]
    fn a_header_of_a_newer_module_is_refused_with_both_versions() {
        let bytes = encode_header(&a_response().borrow());
        let refused = decode_header(2, &bytes).unwrap_err();
        assert_eq!(refused, CodecError::Version { found: 2 });
        assert_eq!(refused.to_string(), "it has version 2, and this module reads versions up to 1");
        assert_eq!(decode_header(0, &bytes), Err(CodecError::Version { found: 0 }));
        assert_eq!(decode_header(-1, &bytes), Err(CodecError::Version { found: -1 }));
    }

    #[test]
    fn values_that_the_format_does_not_have_are_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = encode_header(&a_response().borrow());
            bytes[at] = value;
            decoded(&bytes)
        };
        assert_eq!(with(0, 2), Err(CodecError::UnknownState(2)));
        assert_eq!(with(1, 4), Err(CodecError::UnknownTier(4)));
        assert_eq!(with(2, 3), Err(CodecError::UnknownEncoding(3)));
        assert_eq!(with(0, 1), Err(CodecError::NameLeft));
        // The length of the persona claims 4 GB.
        assert_eq!(with(3, 0xfc), Err(CodecError::Malformed));
        // The tag of an optional time is neither 0 nor 1.
        assert_eq!(with(57, 2), Err(CodecError::Malformed));
        let mut bytes = encode_header(&a_response().borrow());
        bytes.push(0);
        assert_eq!(decoded(&bytes), Err(CodecError::Trailing));
        assert_eq!(decoded(&[]), Err(CodecError::Malformed));
    }

    #[test]
    fn a_live_entry_without_the_names_it_needs_is_refused() {
        let nobody = Record { user: vec![], ..a_response() };
        assert_eq!(decoded(&encode_header(&nobody.borrow())), Err(CodecError::NameMissing));
        let shared = Record { tier: Tier::Msg, ..nobody };
        assert_eq!(decoded(&encode_header(&shared.borrow())), Ok(shared.clone()));
        let impersonal = Record { persona: vec![], ..shared };
        assert_eq!(decoded(&encode_header(&impersonal.borrow())), Err(CodecError::NameMissing));
    }

    #[test]
    fn a_tombstone_with_one_name_left_is_refused() {
        for record in [Record { user: vec![], ..a_response() }, Record { persona: vec![], ..a_response() }] {
            let mut bytes = encode_header(&record.borrow());
            bytes[0] = RecordState::Tombstone as u8;
            assert_eq!(decoded(&bytes), Err(CodecError::NameLeft));
        }
    }

    #[test]
    fn a_compressed_payload_has_any_length_but_none() {
        for encoding in [RecordEncoding::Lz4, RecordEncoding::Zstd] {
            let compressed = Record { encoding, ..a_response() };
            assert_eq!([1, 5, 600].map(|bytes| compressed.check_payload(bytes)), [Ok(()); 3]);
            assert_eq!(compressed.check_payload(0), Err(CodecError::PayloadLength));
        }
    }

    #[test]
    fn names_are_read_up_to_the_limit() {
        let longest = vec![b'x'; MAX_NAME_BYTES];
        let record = Record { persona: longest.clone(), user: longest, ..a_response() };
        assert_eq!(decoded(&encode_header(&record.borrow())), Ok(record.clone()));
        let record = Record { persona: vec![b'x'; MAX_NAME_BYTES + 1], user: b"ann".to_vec(), ..record };
        assert_eq!(decoded(&encode_header(&record.borrow())), Err(CodecError::NameTooLong));
        let record = Record { persona: vec![b'x'; MAX_HEADER_BYTES], ..record };
        assert_eq!(decoded(&encode_header(&record.borrow())), Err(CodecError::Malformed));
    }

    #[test]
    fn a_tombstone_keeps_no_names_and_no_payload() {
        let tombstone = Record { state: RecordState::Tombstone, ..a_response() };
        let read = decoded(&encode_header(&tombstone.borrow())).unwrap();
        assert_eq!(read, a_tombstone());
        assert_eq!(read.check_payload(0), Ok(()));
        assert_eq!(read.check_payload(5), Err(CodecError::PayloadLength));
        assert_eq!(a_response().check_payload(5), Ok(()));
        assert_eq!(a_response().check_payload(0), Err(CodecError::PayloadLength));
    }
}

//! The form of an entry in RDB files, in DUMP payloads and in what an AOF rewrite restores.
//!
//! An entry is a header and a payload. The header is a `Record`, packed by bincode; the payload is the
//! answer's bytes as `encoding` says, kept apart so that it is never copied through here. What reads them is
//! told the version, which is the module type's encver; version 1 is `WireV1`, and a later one gets a struct
//! of its own beside it.
//!
//! A header may come from anywhere: RESTORE takes any client's bytes. Decoding them never panics, and copies
//! only names that it has seen in full, so it never allocates more than the input is long. What it returns
//! keeps the promises that `Record` states. bincode is not seen outside this file.

use crate::request::MAX_NAME_BYTES;
use crate::tier::Tier;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version that is written, and the newest that is read.
pub const ENCODING_VERSION: i32 = 1;

/// No header is longer: two names, and some hundred bytes.
const MAX_HEADER_BYTES: usize = 2 * MAX_NAME_BYTES + 1024;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<MAX_HEADER_BYTES>,
> = bincode::config::standard().with_limit::<MAX_HEADER_BYTES>();

/// Whether an entry is an answer, or what an invalidation left to be reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordState {
    Live = 0,
    Tombstone = 1,
}

/// How the payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordEncoding {
    Raw = 0,
    /// One lz4 block.
    Lz4 = 1,
    /// One zstd frame that needs no dictionary.
    Zstd = 2,
}

/// An entry's header.
///
/// A live one has a persona, and a user where its tier needs one. A dropped one has no names and no payload.
/// The times are any numbers: whoever computes with them must not trust them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<Bytes = Vec<u8>> {
    pub state: RecordState,
    pub tier: Tier,
    pub persona: Bytes,
    pub user: Bytes,
    pub fingerprint: [u8; 32],
    pub stored_at_ms: i64,
    /// Until when the answer is fresh, where that is not as long as its key lives.
    pub fresh_until_ms: Option<i64>,
    pub hits: u32,
    pub cost_ms: u32,
    /// How long the answer is, unpacked.
    pub raw_bytes: u32,
    pub encoding: RecordEncoding,
}

/// What is written: the names stay where they lie.
pub type RecordRef<'a> = Record<&'a [u8]>;

impl Record {
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

    /// Whether a payload this long can be the one the header came with.
    pub fn check_payload(&self, payload_bytes: usize) -> Result<(), CodecError> {
        let fits = match (self.state, self.encoding) {
            (RecordState::Tombstone, _) => payload_bytes == 0,
            (RecordState::Live, RecordEncoding::Raw) => u32::try_from(payload_bytes) == Ok(self.raw_bytes),
            // Unpacking it says the rest.
            (RecordState::Live, RecordEncoding::Lz4 | RecordEncoding::Zstd) => payload_bytes > 0,
        };
        if fits { Ok(()) } else { Err(CodecError::PayloadLength) }
    }
}

/// Why a header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// A version that this module does not know: a newer module wrote it.
    Version {
        found: i32,
    },
    /// Bytes that are no header: cut short, or values that the format does not have.
    Malformed,
    /// Bytes after the header's end.
    Trailing,
    NameTooLong,
    UnknownState(u8),
    UnknownTier(u8),
    UnknownEncoding(u8),
    /// A live entry without a persona, or without the user that its tier needs.
    NameMissing,
    /// A dropped entry that still has a name.
    NameLeft,
    PayloadLength,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Version { found } => {
                write!(f, "it has version {found}, and this module reads versions up to {ENCODING_VERSION}")
            }
            CodecError::Malformed => write!(f, "its header is damaged"),
            CodecError::Trailing => write!(f, "its header has more bytes than it should"),
            CodecError::NameTooLong => write!(f, "a name in it is longer than {MAX_NAME_BYTES} bytes"),
            CodecError::UnknownState(number) => write!(f, "it has the unknown state {number}"),
            CodecError::UnknownTier(number) => write!(f, "it has the unknown tier {number}"),
            CodecError::UnknownEncoding(number) => write!(f, "it has the unknown encoding {number}"),
            CodecError::NameMissing => write!(f, "it lacks a persona or a user"),
            CodecError::NameLeft => write!(f, "it is dropped, yet has a name"),
            CodecError::PayloadLength => write!(f, "its payload has another length than its header says"),
        }
    }
}

impl std::error::Error for CodecError {}

/// Version 1, field by field. The order and the types are the format.
///
/// Names are borrowed slices on the way in too: serde's `Vec` would reserve what a length claims before a
/// byte of it has been seen.
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

/// The header's bytes, of version `ENCODING_VERSION`. A dropped entry's names are left out.
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
    // Writing these types to memory cannot fail; were it ever to, no header is a header that no one reads.
    bincode::serde::encode_to_vec(&wire, CONFIG).unwrap_or_default()
}

/// The header in these bytes, all of which must be its.
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

    fn an_answer() -> Record {
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

    fn what_is_left_of_one() -> Record {
        Record { state: RecordState::Tombstone, persona: vec![], user: vec![], ..an_answer() }
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
        fn what_is_written_is_read_back(record in any_record()) {
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
        fn no_bytes_are_too_strange_to_be_answered(
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
        assert_eq!(encode_header(&an_answer().borrow()), bytes.concat());
        assert_eq!(decoded(&bytes.concat()), Ok(an_answer()));
    }

    #[test]
    fn what_a_newer_module_wrote_is_refused_with_both_versions() {
        let bytes = encode_header(&an_answer().borrow());
        let refused = decode_header(2, &bytes).unwrap_err();
        assert_eq!(refused, CodecError::Version { found: 2 });
        assert_eq!(refused.to_string(), "it has version 2, and this module reads versions up to 1");
        assert_eq!(decode_header(0, &bytes), Err(CodecError::Version { found: 0 }));
        assert_eq!(decode_header(-1, &bytes), Err(CodecError::Version { found: -1 }));
    }

    #[test]
    fn values_that_the_format_does_not_have_are_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = encode_header(&an_answer().borrow());
            bytes[at] = value;
            decoded(&bytes)
        };
        assert_eq!(with(0, 2), Err(CodecError::UnknownState(2)));
        assert_eq!(with(1, 4), Err(CodecError::UnknownTier(4)));
        assert_eq!(with(2, 3), Err(CodecError::UnknownEncoding(3)));
        assert_eq!(with(0, 1), Err(CodecError::NameLeft));
        // The length of the persona claims 4 GB.
        assert_eq!(with(3, 0xfc), Err(CodecError::Malformed));
        // The mark of a time that may be there is neither 0 nor 1.
        assert_eq!(with(57, 2), Err(CodecError::Malformed));
        let mut bytes = encode_header(&an_answer().borrow());
        bytes.push(0);
        assert_eq!(decoded(&bytes), Err(CodecError::Trailing));
        assert_eq!(decoded(&[]), Err(CodecError::Malformed));
    }

    #[test]
    fn a_live_answer_without_the_names_it_needs_is_refused() {
        let nobody = Record { user: vec![], ..an_answer() };
        assert_eq!(decoded(&encode_header(&nobody.borrow())), Err(CodecError::NameMissing));
        let shared = Record { tier: Tier::Msg, ..nobody };
        assert_eq!(decoded(&encode_header(&shared.borrow())), Ok(shared.clone()));
        let impersonal = Record { persona: vec![], ..shared };
        assert_eq!(decoded(&encode_header(&impersonal.borrow())), Err(CodecError::NameMissing));
    }

    #[test]
    fn names_are_read_up_to_their_longest_and_no_further() {
        let longest = vec![b'x'; MAX_NAME_BYTES];
        let record = Record { persona: longest.clone(), user: longest, ..an_answer() };
        assert_eq!(decoded(&encode_header(&record.borrow())), Ok(record.clone()));
        let record = Record { persona: vec![b'x'; MAX_NAME_BYTES + 1], user: b"ann".to_vec(), ..record };
        assert_eq!(decoded(&encode_header(&record.borrow())), Err(CodecError::NameTooLong));
        let record = Record { persona: vec![b'x'; MAX_HEADER_BYTES], ..record };
        assert_eq!(decoded(&encode_header(&record.borrow())), Err(CodecError::Malformed));
    }

    #[test]
    fn a_dropped_entry_keeps_no_names_and_no_payload() {
        let dropped = Record { state: RecordState::Tombstone, ..an_answer() };
        let read = decoded(&encode_header(&dropped.borrow())).unwrap();
        assert_eq!(read, what_is_left_of_one());
        assert_eq!(read.check_payload(0), Ok(()));
        assert_eq!(read.check_payload(5), Err(CodecError::PayloadLength));
        assert_eq!(an_answer().check_payload(5), Ok(()));
        assert_eq!(an_answer().check_payload(0), Err(CodecError::PayloadLength));
    }
}

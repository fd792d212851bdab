//! What the fuzz targets run: any bytes, given to the rooms that take them from strangers, and to the two state
//! machines beside plain models of them. Each panics where a promise is broken.
//!
//! `fuzz/` is nothing but one call of these functions a target. What fuzzing has found worth keeping is in
//! `tests/corpora`, a directory a target, and the unit tests feed it to the same functions.

#![forbid(unsafe_code)]

use crate::entry::codec::{ENCODING_VERSION, decode_header, encode_header};
use crate::entry::compression::{self, Damaged, Encoding, MAX_RATIO};
use crate::request::RequestArgs;
use crate::request::error::{Accepts, CommandError};
use crate::request::key_name::{self, Layout, Tail};
use crate::request::options::{FetchOptions, PageOptions, ReleaseOptions, SetOptions};
use rand::rngs::StdRng;
use rand::{SeedableRng, TryRng};
use std::convert::Infallible;

/// What decides about the steps of a model's run: a seed, or the bytes of a fuzzer, which may change one step and
/// leave the others as they are.
pub(crate) enum Dice<'a> {
    Seeded(Box<StdRng>),
    Bytes(&'a [u8]),
}

impl Dice<'_> {
    #[cfg(test)]
    pub fn seeded(seed: u64) -> Dice<'static> {
        Dice::Seeded(Box::new(StdRng::seed_from_u64(seed)))
    }

    /// Whether the bytes are used up; from then on they are zeros.
    pub fn is_over(&self) -> bool {
        matches!(self, Dice::Bytes([]))
    }

    fn next_byte(bytes: &mut &[u8]) -> u8 {
        bytes.split_off_first().copied().unwrap_or(0)
    }
}

impl TryRng for Dice<'_> {
    type Error = Infallible;

    /// Two bytes make a number: a choice among some hundred things looks at its highest bits.
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        match self {
            Dice::Seeded(rng) => rng.try_next_u32(),
            Dice::Bytes(bytes) => {
                Ok(u32::from_be_bytes([Self::next_byte(bytes), Self::next_byte(bytes), 0, 0]))
            }
        }
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        match self {
            Dice::Seeded(rng) => rng.try_next_u64(),
            Dice::Bytes(_) => Ok(u64::from(self.try_next_u32()?) << 32),
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        match self {
            Dice::Seeded(rng) => rng.try_fill_bytes(out),
            Dice::Bytes(bytes) => {
                out.fill_with(|| Self::next_byte(bytes));
                Ok(())
            }
        }
    }
}

/// Any bytes as the header of an entry in an RDB file, which is what RESTORE lets any client send: decoding answers
/// and never panics, allocates no more than the input is long, and what it has read it writes again to the same
/// record.
pub fn codec(bytes: &[u8]) {
    let mut decoded = None;
    let allocated = allocation_counter::measure(|| decoded = Some(decode_header(ENCODING_VERSION, bytes)));
    assert!(allocated.bytes_total <= bytes.len() as u64, "{allocated:?} for {} bytes", bytes.len());
    match decoded {
        Some(Ok(record)) => {
            for length in [0, bytes.len(), record.raw_bytes as usize] {
                let _ = record.check_payload(length);
            }
            let again = encode_header(&record.borrow());
            assert_eq!(decode_header(ENCODING_VERSION, &again), Ok(record));
        }
        Some(Err(error)) => assert!(error.to_string().is_ascii()),
        None => {}
    }
}

/// Any bytes as a packed answer from outside, after a byte that says how it is packed and four that say how long it
/// is: it is unpacked to that length or damaged, in no more memory than `MAX_RATIO` times its own length.
pub fn compressed(bytes: &[u8]) {
    let Some((head, compressed)) = bytes.split_first_chunk::<5>() else { return };
    let [encoding, length @ ..] = *head;
    let encoding = [Encoding::Raw, Encoding::Lz4, Encoding::Zstd][usize::from(encoding) % 3];
    let raw_bytes = u32::from_le_bytes(length) as usize;
    let mut out = Vec::new();
    let mut decompressed = Err(Damaged);
    let allocated = allocation_counter::measure(|| {
        decompressed = compression::decompress(encoding, compressed, raw_bytes, &mut out)
    });
    let most = compressed.len() * MAX_RATIO;
    assert!(allocated.bytes_max <= most as u64, "{allocated:?} for {} bytes", compressed.len());
    assert!(decompressed.is_err() || out.len() == raw_bytes);
}

/// Any words as the arguments of commands: eight bytes of time, then words that end with lines, of which the first
/// four are a request and the rest options. They are taken, or refused with a text that holds none of their bytes;
/// a request's key has the form that is promised, and its persona's slot.
pub fn options(bytes: &[u8]) {
    let (now_ms, rest) = bytes.split_at(bytes.len().min(8));
    let now_ms = now_ms.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
    let mut words = rest.split(|byte| *byte == b'\n');
    let request: [&[u8]; 4] = std::array::from_fn(|_| words.next().unwrap_or(b""));
    let id = match SetOptions::parse(words.clone(), now_ms) {
        Ok(options) => options.id,
        Err(refusal) => {
            is_worded(refusal);
            None
        }
    };
    let _ = PageOptions::parse(words.clone()).map_err(is_worded);
    let _ = FetchOptions::parse(words.clone()).map_err(is_worded);
    let _ = ReleaseOptions::parse(words).map_err(is_worded);
    match RequestArgs::parse(Accepts::TiersAndAny, request, id) {
        Err(refusal) => is_worded(refusal),
        Ok(asked) => {
            for request in asked.requests() {
                let name = |layout| {
                    let mut name = Vec::new();
                    request.key_name(layout, &mut name);
                    name
                };
                let digest = match request.tail() {
                    Tail::Digest(digest) => Some(digest),
                    Tail::Id(_) => None,
                };
                for layout in [Layout::Single, Layout::Cluster] {
                    let found = key_name::canonical_digest(
                        layout,
                        request.tier,
                        request.user,
                        request.persona,
                        &name(layout),
                    );
                    // An ID may be spelled as a digest.
                    assert!(digest.is_none() || found == digest, "a name that is not known again");
                }
                assert_eq!(key_name::slot(&name(Layout::Cluster)), key_name::slot(request.persona));
            }
        }
    }
}

fn is_worded(refusal: CommandError) {
    let text = refusal.message();
    assert!(text.is_ascii() && text.starts_with("ERR "), "{text}");
}

/// Any operations on the index of a database, beside a plain list.
pub fn index(bytes: &[u8]) {
    crate::index::tests::model::follow(bytes);
}

/// Any interleaving of events on the lease table, beside plain lists.
pub fn lease(bytes: &[u8]) {
    crate::lease::tests::model::follow(bytes);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs what is kept of a target's fuzzing.
    fn replay(target: &str, run: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(target);
        let files = std::fs::read_dir(&directory).unwrap();
        let mut replayed = 0;
        for file in files.map(|file| file.unwrap().path()) {
            // Shown where one fails.
            println!("{}", file.display());
            run(&std::fs::read(file).unwrap());
            replayed += 1;
        }
        assert!(replayed > 20, "only {replayed} inputs in {}", directory.display());
    }

    #[test]
    fn what_fuzzing_the_codec_has_kept_is_answered() {
        replay("codec", super::codec);
    }

    #[test]
    fn what_fuzzing_the_options_has_kept_is_answered() {
        replay("options", super::options);
    }

    #[test]
    fn what_fuzzing_the_unpacker_has_kept_is_unpacked_or_damaged() {
        replay("compressed", super::compressed);
    }

    #[test]
    fn what_fuzzing_the_index_has_kept_agrees_with_the_model() {
        replay("index", super::index);
    }

    #[test]
    fn what_fuzzing_the_lease_table_has_kept_agrees_with_the_model() {
        replay("lease", super::lease);
    }
}

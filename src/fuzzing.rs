//! The bodies of the fuzz targets: they feed any bytes to the rooms that take bytes from strangers, and to the two state
//! machines beside plain models of them. Each panics if a promise is broken.
//!
//! A target in `fuzz/` is one call of one of these functions. The inputs worth keeping are in `tests/corpora`, a
//! directory a target, and the unit tests feed them to the same functions.

#![forbid(unsafe_code)]

use crate::entry::codec::{ENCODING_VERSION, decode_header, encode_header};
use crate::entry::compression::{self, Damaged, Encoding, MAX_RATIO};
use crate::request::error::CommandError;
use crate::request::key_name::{self, Layout, Tail};
use crate::request::options::{self, CommitOptions, FetchOptions, PageOptions, SetOptions, TokenOptions};
use crate::request::{Accepts, RequestArgs};
use rand::rngs::StdRng;
use rand::{SeedableRng, TryRng};
use std::convert::Infallible;

/// The source of the choices in a model's run: a seed, or the bytes of a fuzzer, which may change one step and leave the
/// others as they are.
pub(crate) enum Dice<'a> {
    Seeded(Box<StdRng>),
    Bytes(&'a [u8]),
}

impl Dice<'_> {
    /// Returns the choices of a seed.
    #[cfg(test)]
    pub fn seeded(seed: u64) -> Dice<'static> {
        Dice::Seeded(Box::new(StdRng::seed_from_u64(seed)))
    }

    /// Tells if the bytes are used up; from then on they are zeros.
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

/// Decodes any bytes as the header of an entry, which RESTORE lets any client send. Decoding never panics, allocates no
/// more than the input is long, and a decoded record encodes and decodes to the same one.
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

/// Decompresses any bytes as a response from outside, after a byte for its encoding and four for its length: the result
/// has that length or is `Damaged`, in no more memory than `MAX_RATIO` times the compressed length.
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

/// Parses any words as the arguments of commands: eight bytes of time, then a word a line, of which the first four are a
/// request and the rest options. They are accepted, or refused with a text that holds none of their bytes. A request's
/// key has the promised form and its persona's slot.
pub fn options(bytes: &[u8]) {
    let (now_ms, rest) = bytes.split_at(bytes.len().min(8));
    let now_ms = now_ms.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
    let mut words = rest.split(|byte| *byte == b'\n');
    let request: [&[u8]; 4] = std::array::from_fn(|_| words.next().unwrap_or(b""));
    let id = match SetOptions::parse(words.clone(), now_ms) {
        Ok(options) => options.id,
        Err(error) => {
            is_worded(error);
            None
        }
    };
    let _ = PageOptions::parse(words.clone()).map_err(is_worded);
    let _ = FetchOptions::parse(words.clone()).map_err(is_worded);
    let _ = CommitOptions::parse(words.clone(), 0).map_err(is_worded);
    let _ = TokenOptions::parse(&options::RELEASE, words).map_err(is_worded);
    match RequestArgs::parse(Accepts::TiersAndAny, request, id) {
        Err(error) => is_worded(error),
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
                    assert!(digest.is_none() || found == digest, "the name does not lead back to its digest");
                }
                assert_eq!(key_name::slot(&name(Layout::Cluster)), key_name::slot(request.persona));
            }
        }
    }
}

fn is_worded(error: CommandError) {
    let text = error.message();
    assert!(text.is_ascii() && text.starts_with("ERR "), "{text}");
}

/// Runs any operations on the index of a database, beside a plain list.
pub fn index(bytes: &[u8]) {
    crate::index::tests::model::follow(bytes);
}

/// Runs any interleaving of events on the lease table, beside plain lists.
pub fn lease(bytes: &[u8]) {
    crate::lease::tests::model::follow(bytes);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Feeds the kept inputs of a target to it.
    fn replay(target: &str, run: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(target);
        let files = std::fs::read_dir(&directory).unwrap();
        let mut replayed = 0;
        for file in files.map(|file| file.unwrap().path()) {
            // Shown if the test fails.
            println!("{}", file.display());
            run(&std::fs::read(file).unwrap());
            replayed += 1;
        }
        assert!(replayed > 20, "only {replayed} inputs in {}", directory.display());
    }

    #[test]
    fn kept_inputs_of_the_codec_are_decoded_or_refused() {
        replay("codec", super::codec);
    }

    #[test]
    fn kept_inputs_of_the_options_are_parsed_or_refused() {
        replay("options", super::options);
    }

    #[test]
    fn kept_inputs_of_decompression_are_decompressed_or_damaged() {
        replay("compressed", super::compressed);
    }

    #[test]
    fn kept_inputs_of_the_index_agree_with_the_model() {
        replay("index", super::index);
    }

    #[test]
    fn kept_inputs_of_the_lease_table_agree_with_the_model() {
        replay("lease", super::lease);
    }
}

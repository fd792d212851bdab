//! Encoding: how an answer that nobody asks for takes less memory.
//!
//! A packed answer is one lz4 block or one zstd frame. zstd does much better on short texts with a dictionary: the
//! packer learns one from the answers that pass through it, and a better one each time it has seen eight times as
//! many. A dictionary is this process's own and never leaves it: what is packed with one is packed without before it
//! goes into an RDB file or a DUMP (`portable`).
//!
//! What comes from outside is unpacked once before it is believed, and never into more than `MAX_RATIO` times its
//! length.

use std::cell::RefCell;
use std::sync::OnceLock;
use zstd_safe::{CCtx, CDict, DCtx, DDict};

/// How an answer's bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Raw,
    Lz4,
    Zstd,
    /// zstd with a dictionary of this process.
    Trained(DictionaryId),
}

/// Which of this process's dictionaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DictionaryId(u8);

/// How answers are to be packed: the setting `compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    None,
    Lz4,
    Zstd,
}

/// Bytes that cannot be unpacked to what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// An answer is packed to no less than its 250th part, so that a few bytes from outside can never ask for much memory.
pub const MAX_RATIO: usize = 250;

/// Nothing longer is unpacked: it is what the server takes as one argument by default, and `max-response-bytes` at most.
const MAX_RAW_BYTES: usize = 512 * 1024 * 1024;

/// zstd's level: see `docs/architecture.md` for what the others give.
const LEVEL: i32 = 3;

/// The level for what is packed in a hurry: while a forked child saves, or DUMP waits.
const PORTABLE_LEVEL: i32 = 1;

/// The largest dictionary.
const DICTIONARY_BYTES: usize = 64 * 1024;

/// After how many answers the first dictionary is learnt, and how many times as many before each of the next.
const FIRST_LESSON: u64 = 1_000;
const LESSONS_APART: u64 = 8;

/// What is learnt from: the last answers before the lesson, this many bytes of them at most.
const SAMPLE_BYTES: usize = 3 * 1024 * 1024;
const SAMPLES: u64 = 4_000;

/// How large a buffer is kept for the next answer.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Longer answers do well without a dictionary, and teach it little.
const LONGEST_SAMPLE: usize = 32 * 1024;

/// The dictionaries of this process, by `DictionaryId`: never removed, as there may always be an answer packed with one. Their
/// number is bounded as each takes eight times as many answers as the one before. A lock-free read: a forked child
/// finds none held.
static DICTIONARIES: [OnceLock<DDict<'static>>; 12] = [const { OnceLock::new() }; 12];

thread_local! {
    static UNPACKER: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

impl DictionaryId {
    fn dictionary(self) -> Option<&'static DDict<'static>> {
        DICTIONARIES.get(usize::from(self.0))?.get()
    }
}

/// How many dictionaries have been learnt.
pub fn dictionaries() -> u64 {
    DICTIONARIES.iter().filter(|slot| slot.get().is_some()).count() as u64
}

/// Unpacks into `out`, whose contents go. `raw_bytes` is how long the answer is.
pub fn decompress(
    encoding: Encoding,
    compressed: &[u8],
    raw_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), Damaged> {
    out.clear();
    let most = compressed.len().saturating_mul(MAX_RATIO).min(MAX_RAW_BYTES);
    if encoding != Encoding::Raw && raw_bytes > most {
        return Err(Damaged);
    }
    match encoding {
        Encoding::Raw => out.extend_from_slice(compressed),
        Encoding::Lz4 => {
            out.resize(raw_bytes, 0);
            let decompressed = lz4_flex::block::decompress_into(compressed, out).map_err(|_| Damaged)?;
            out.truncate(decompressed);
        }
        Encoding::Zstd => {
            out.reserve(raw_bytes);
            UNPACKER.with_borrow_mut(|unpacker| unpacker.decompress(out, compressed)).map_err(|_| Damaged)?;
        }
        Encoding::Trained(id) => {
            let dictionary = id.dictionary().ok_or(Damaged)?;
            out.reserve(raw_bytes);
            UNPACKER
                .with_borrow_mut(|unpacker| unpacker.decompress_using_ddict(out, compressed, dictionary))
                .map_err(|_| Damaged)?;
        }
    }
    if out.len() == raw_bytes { Ok(()) } else { Err(Damaged) }
}

/// The same answer for those who have not this process's dictionaries: None if it is one already, and Raw where
/// it is not worth packing without.
pub fn portable(encoding: Encoding, compressed: &[u8], raw_bytes: usize) -> Option<(Encoding, Vec<u8>)> {
    let Encoding::Trained(_) = encoding else { return None };
    let mut raw = Vec::new();
    // What this process has packed it can unpack. Were it not so, an answer that nobody can read says so to its reader.
    decompress(encoding, compressed, raw_bytes, &mut raw).ok()?;
    let mut compressed = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    let done = CCtx::create().compress(&mut compressed, &raw, PORTABLE_LEVEL);
    match done {
        Ok(_) if is_worth(raw.len(), compressed.len()) => Some((Encoding::Zstd, compressed)),
        _ => Some((Encoding::Raw, raw)),
    }
}

/// Whether packing has shrunk an answer by an eighth at least, and to no less than may be unpacked.
fn is_worth(raw_bytes: usize, packed_bytes: usize) -> bool {
    packed_bytes <= raw_bytes - raw_bytes / 8 && raw_bytes <= packed_bytes.saturating_mul(MAX_RATIO)
}

/// Packs answers, and learns from them.
pub struct Compressor {
    context: CCtx<'static>,
    buffer: Vec<u8>,
    trained: Option<(DictionaryId, CDict<'static>)>,
    lessons: Lessons,
}

/// What the next dictionary is to be learnt from.
struct Lessons {
    /// Answers seen so far, and when there is to be a dictionary.
    seen: u64,
    next: u64,
    samples: Vec<u8>,
    sizes: Vec<usize>,
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor {
            context: CCtx::create(),
            buffer: Vec::new(),
            trained: None,
            lessons: Lessons { seen: 0, next: FIRST_LESSON, samples: Vec::new(), sizes: Vec::new() },
        }
    }
}

impl Compressor {
    /// The answer in less memory; None if it is not worth it.
    pub fn compress(&mut self, method: Method, raw: &[u8]) -> Option<(Encoding, Box<[u8]>)> {
        let compressed = self.pack_kept(method, raw);
        // One very long answer must not leave its room behind.
        if self.buffer.capacity() > BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        compressed
    }

    fn pack_kept(&mut self, method: Method, raw: &[u8]) -> Option<(Encoding, Box<[u8]>)> {
        let encoding = match method {
            Method::None => return None,
            Method::Lz4 => {
                self.buffer.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let compressed = lz4_flex::block::compress_into(raw, &mut self.buffer).ok()?;
                self.buffer.truncate(compressed);
                Encoding::Lz4
            }
            Method::Zstd => self.pack_zstd(raw)?,
        };
        if !is_worth(raw.len(), self.buffer.len()) {
            return None;
        }
        let compressed = Box::from(&*self.buffer);
        if method == Method::Zstd {
            self.learn(raw);
        }
        Some((encoding, compressed))
    }

    fn pack_zstd(&mut self, raw: &[u8]) -> Option<Encoding> {
        self.buffer.clear();
        self.buffer.reserve(zstd_safe::compress_bound(raw.len()));
        match &self.trained {
            Some((id, dictionary)) if raw.len() <= LONGEST_SAMPLE => {
                self.context.compress_using_cdict(&mut self.buffer, raw, dictionary).ok()?;
                Some(Encoding::Trained(*id))
            }
            _ => {
                self.context.compress(&mut self.buffer, raw, LEVEL).ok()?;
                Some(Encoding::Zstd)
            }
        }
    }

    /// Keeps the answer for the next lesson, or holds it.
    fn learn(&mut self, raw: &[u8]) {
        if raw.len() > LONGEST_SAMPLE || usize::from(self.next_id().0) >= DICTIONARIES.len() {
            return;
        }
        let lessons = &mut self.lessons;
        lessons.seen += 1;
        if lessons.next - lessons.seen < SAMPLES && lessons.samples.len() + raw.len() <= SAMPLE_BYTES {
            lessons.samples.extend_from_slice(raw);
            lessons.sizes.push(raw.len());
        }
        if lessons.seen == lessons.next {
            lessons.next = lessons.next.saturating_mul(LESSONS_APART);
            let (samples, sizes) = (std::mem::take(&mut lessons.samples), std::mem::take(&mut lessons.sizes));
            if let Some(trained) = self.train(&samples, &sizes) {
                self.trained = Some(trained);
            }
        }
    }

    fn next_id(&self) -> DictionaryId {
        DictionaryId(self.trained.as_ref().map_or(0, |(id, _)| id.0 + 1))
    }

    /// A dictionary of these samples, if it does better on them than what there is.
    fn train(&mut self, samples: &[u8], sizes: &[usize]) -> Option<(DictionaryId, CDict<'static>)> {
        let mut dictionary = Vec::with_capacity(DICTIONARY_BYTES);
        zstd_safe::train_from_buffer(&mut dictionary, samples, sizes).ok()?;
        let id = self.next_id();
        let encoder = CDict::try_create(&dictionary, LEVEL)?;
        let before = self.packed_bytes(samples, sizes);
        let old = self.trained.replace((id, encoder));
        let after = self.packed_bytes(samples, sizes);
        let new = std::mem::replace(&mut self.trained, old);
        if after >= before - before / 20 {
            return None;
        }
        let decoder = DDict::try_create(&dictionary)?;
        DICTIONARIES.get(usize::from(id.0))?.set(decoder).ok()?;
        new
    }

    /// What some of the samples take, packed as now.
    fn packed_bytes(&mut self, samples: &[u8], sizes: &[usize]) -> usize {
        let (mut rest, mut sum) = (samples, 0);
        for (n, &size) in sizes.iter().enumerate() {
            let Some((sample, others)) = rest.split_at_checked(size) else { break };
            rest = others;
            if n % 8 == 0 && self.pack_zstd(sample).is_some() {
                sum += self.buffer.len();
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decompressed(encoding: Encoding, compressed: &[u8], raw_bytes: usize) -> Result<Vec<u8>, Damaged> {
        let mut out = b"something else".to_vec();
        decompress(encoding, compressed, raw_bytes, &mut out).map(|()| out)
    }

    /// Chat-like text: many words, some of them often.
    fn text(n: u64) -> Vec<u8> {
        let words = [
            "the",
            "response",
            "is",
            "that",
            "you",
            "should",
            "restart",
            "server",
            "and",
            "then",
            "configure",
        ];
        let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut text = format!("Dear customer {n}, thank you for your lease_key about our product.");
        for _ in 0..60 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let word = words[state as usize % words.len()];
            text.push_str(&format!(" {word}{}", state % 97));
        }
        text.into_bytes()
    }

    #[test]
    fn what_was_packed_is_unpacked_and_takes_less() {
        let raw = text(1).repeat(3);
        for method in [Method::Lz4, Method::Zstd] {
            let (encoding, compressed) = Compressor::default().compress(method, &raw).expect("text shrinks");
            assert!(compressed.len() < raw.len() * 7 / 8, "{method:?}");
            assert_eq!(decompressed(encoding, &compressed, raw.len()).as_ref(), Ok(&raw));
            assert_eq!(portable(encoding, &compressed, raw.len()), None, "{method:?} needs no dictionary");
        }
        assert!(Compressor::default().compress(Method::None, &raw).is_none());
    }

    #[test]
    fn what_does_not_shrink_by_an_eighth_stays_as_it_is() {
        let mut noise = vec![0; 1000];
        let mut state = 1_u32;
        for byte in &mut noise {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        for method in [Method::Lz4, Method::Zstd] {
            assert!(Compressor::default().compress(method, &noise).is_none());
            assert!(Compressor::default().compress(method, b"").is_none());
        }
    }

    #[test]
    fn a_few_bytes_never_ask_for_much_memory() {
        let zeros = vec![0; 10_000_000];
        assert!(Compressor::default().compress(Method::Zstd, &zeros).is_none());
        let mut frame = Vec::with_capacity(10_000);
        CCtx::create().compress(&mut frame, &zeros, LEVEL).expect("zstd packs zeros");
        assert_eq!(decompressed(Encoding::Zstd, &frame, zeros.len()), Err(Damaged));
        // Nor does a frame that unpacks to more than it should.
        assert_eq!(decompressed(Encoding::Zstd, &frame, 1000), Err(Damaged));
    }

    #[test]
    fn a_dictionary_is_learnt_and_stays_at_home() {
        let mut compressor = Compressor::default();
        let responses: Vec<Vec<u8>> = (0..FIRST_LESSON + 100).map(text).collect();
        let compressed: Vec<_> = responses
            .iter()
            .map(|raw| compressor.compress(Method::Zstd, raw).expect("text shrinks"))
            .collect();
        for (raw, (encoding, bytes)) in responses.iter().zip(&compressed) {
            assert_eq!(decompressed(*encoding, bytes, raw.len()).as_ref(), Ok(raw));
        }
        let (first, last) = (&compressed[0], compressed.last().expect("there are some"));
        assert_eq!(first.0, Encoding::Zstd);
        assert!(matches!(last.0, Encoding::Trained(_)), "{:?}", last.0);
        assert!(last.1.len() < first.1.len() * 9 / 10, "{} {}", last.1.len(), first.1.len());
        assert!(dictionaries() > 0);

        let raw = responses.last().expect("there are some");
        let (encoding, bytes) = portable(last.0, &last.1, raw.len()).expect("it needs a dictionary");
        assert_eq!(encoding, Encoding::Zstd);
        assert_eq!(decompressed(encoding, &bytes, raw.len()).as_ref(), Ok(raw));
        // What a server with other dictionaries would see.
        assert_eq!(decompressed(Encoding::Trained(DictionaryId(11)), &last.1, raw.len()), Err(Damaged));
        assert_eq!(decompressed(Encoding::Zstd, &last.1, raw.len()), Err(Damaged));
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_to_what_they_were_or_refused(bytes: Vec<u8>, raw_bytes in 0..5000_usize) {
            for encoding in [Encoding::Lz4, Encoding::Zstd, Encoding::Trained(DictionaryId(0))] {
                if let Ok(raw) = decompressed(encoding, &bytes, raw_bytes) {
                    prop_assert_eq!(raw.len(), raw_bytes);
                }
            }
        }

        #[test]
        fn any_answer_survives(words in prop::collection::vec("[a-d]{1,5} ", 0..300)) {
            let raw = words.concat().into_bytes();
            for method in [Method::Lz4, Method::Zstd] {
                if let Some((encoding, compressed)) = Compressor::default().compress(method, &raw) {
                    prop_assert_eq!(decompressed(encoding, &compressed, raw.len()), Ok(raw.clone()));
                }
            }
        }
    }
}

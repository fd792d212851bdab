//! Compression: cold responses in less memory.
//!
//! A compressed response is one lz4 block or one zstd frame. zstd does much better on short texts with a dictionary: the
//! compressor trains one on the responses that pass through it, and a better one each time it has seen eight times as
//! many. A dictionary never leaves its process: a response compressed with one is compressed again without it before it
//! goes into an RDB file or a DUMP (`portable`).
//!
//! Bytes from outside are decompressed once before they are trusted, and never into more than `MAX_RATIO` times their
//! length.

use super::codec::RecordEncoding;
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::OnceLock;
use zstd_safe::{CCtx, CDict, DCtx, DDict};

/// The encoding of a response's bytes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The response's bytes.
    Raw,
    /// One lz4 block.
    Lz4,
    /// One zstd frame that needs no dictionary.
    Zstd,
    /// One zstd frame that needs this dictionary of the process.
    Trained(DictionaryId),
}

impl From<RecordEncoding> for Encoding {
    fn from(encoding: RecordEncoding) -> Encoding {
        match encoding {
            RecordEncoding::Raw => Encoding::Raw,
            RecordEncoding::Lz4 => Encoding::Lz4,
            RecordEncoding::Zstd => Encoding::Zstd,
        }
    }
}

/// A dictionary of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DictionaryId(u8);

/// The setting `compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Responses stay raw.
    None,
    /// lz4.
    Lz4,
    /// zstd, with dictionaries.
    Zstd,
}

/// The error of bytes that do not decompress to the length that they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// The highest ratio of raw to compressed bytes, so that a few bytes from outside can never claim much memory.
pub const MAX_RATIO: usize = 250;

/// The longest response that is decompressed: the server's default limit of an argument, and the highest
/// `max-response-bytes`.
const MAX_RAW_BYTES: usize = 512 * 1024 * 1024;

/// zstd's level; `docs/dev/performance.md` compares it with others.
const LEVEL: i32 = 3;

/// The level of `portable`, which runs while a forked child saves or DUMP waits.
const PORTABLE_LEVEL: i32 = 1;

/// The largest dictionary.
const DICTIONARY_BYTES: usize = 64 * 1024;

/// The number of responses before the first dictionary is trained.
const FIRST_TRAINING: u64 = 1_000;

/// The factor by which that number grows for each further dictionary.
const TRAINING_FACTOR: u64 = 8;

/// The most bytes of samples.
const SAMPLE_BYTES: usize = 3 * 1024 * 1024;

/// The most samples: the last responses before the training.
const SAMPLES: u64 = 4_000;

/// The largest buffer that is kept for the next response.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The longest sample: longer responses do well without a dictionary, and improve it little.
const LONGEST_SAMPLE: usize = 32 * 1024;

/// The number of dictionaries. Each takes eight times as many responses as the one before.
const MOST_DICTIONARIES: usize = 12;

/// The dictionaries of this process, by `DictionaryId`. They are never removed, since a response may be compressed with one.
/// Reads take no lock, which a forked child could find held.
static DICTIONARIES: [OnceLock<Box<[u8]>>; MOST_DICTIONARIES] =
    [const { OnceLock::new() }; MOST_DICTIONARIES];

thread_local! {
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    /// Those of the dictionaries that this thread has used.
    static READERS: RefCell<[Option<Reader>; MOST_DICTIONARIES]> = const { RefCell::new([const { None }; MOST_DICTIONARIES]) };
}

/// Decompresses with one dictionary. The dictionary stands in memory right before the decompressed bytes: so zstd takes both
/// for one window, and copies from the dictionary as fast as from the response, which saves a quarter of the time. A context
/// for each dictionary saves a fifth where two dictionaries take turns.
struct Reader {
    context: DCtx<'static>,
    dictionary: DDict<'static>,
    /// The decompressed bytes. It is as long as the longest response that is compressed with a dictionary.
    out: &'static mut [u8],
}

impl Reader {
    /// Returns the reader of a dictionary, or None if there is no such dictionary. Its buffer is never freed: one thread of a
    /// server reads, and its dictionaries stay.
    fn new(id: DictionaryId) -> Option<Reader> {
        let dictionary = DICTIONARIES.get(usize::from(id.0))?.get()?;
        let mut buffer = dictionary.to_vec();
        buffer.resize(dictionary.len() + LONGEST_SAMPLE, 0);
        let (dictionary, out) = buffer.leak().split_at_mut(dictionary.len());
        Some(Reader { context: DCtx::create(), dictionary: DDict::create_by_reference(dictionary), out })
    }

    fn read(&mut self, compressed: &[u8]) -> Option<&[u8]> {
        let bytes = self.context.decompress_using_ddict(&mut *self.out, compressed, &self.dictionary).ok()?;
        self.out.get(..bytes)
    }
}

/// Returns the number of dictionaries trained so far.
pub fn dictionaries() -> u64 {
    DICTIONARIES.iter().filter(|slot| slot.get().is_some()).count() as u64
}

/// Decompresses a response of `raw_bytes` into `out`, in the place of its contents.
///
/// # Errors
///
/// Fails if the bytes do not decompress to that length, the ratio is above `MAX_RATIO`, or the dictionary is unknown.
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
            DECOMPRESSOR
                .with_borrow_mut(|context| context.decompress(out, compressed))
                .map_err(|_| Damaged)?;
        }
        Encoding::Trained(id) => {
            READERS.with_borrow_mut(|readers| {
                let reader = readers.get_mut(usize::from(id.0)).ok_or(Damaged)?;
                if reader.is_none() {
                    *reader = Reader::new(id);
                }
                let raw = reader.as_mut().and_then(|reader| reader.read(compressed)).ok_or(Damaged)?;
                out.extend_from_slice(raw);
                Ok(())
            })?;
        }
    }
    if out.len() == raw_bytes { Ok(()) } else { Err(Damaged) }
}

/// Returns the response in an encoding that any process can decompress. A response that needs a dictionary becomes zstd
/// without one, or raw if that is not worth it; others stay as they are.
pub fn portable(encoding: Encoding, compressed: &[u8], raw_bytes: usize) -> (RecordEncoding, Cow<'_, [u8]>) {
    match encoding {
        Encoding::Raw => (RecordEncoding::Raw, Cow::Borrowed(compressed)),
        Encoding::Lz4 => (RecordEncoding::Lz4, Cow::Borrowed(compressed)),
        Encoding::Zstd => (RecordEncoding::Zstd, Cow::Borrowed(compressed)),
        Encoding::Trained(_) => without_dictionary(encoding, compressed, raw_bytes),
    }
}

fn without_dictionary(
    encoding: Encoding,
    compressed: &[u8],
    raw_bytes: usize,
) -> (RecordEncoding, Cow<'_, [u8]>) {
    let mut raw = Vec::new();
    // This process can decompress its own bytes. Were it not so, the reader of the bytes would find them damaged.
    if decompress(encoding, compressed, raw_bytes, &mut raw).is_err() {
        return (RecordEncoding::Raw, Cow::Borrowed(compressed));
    }
    let mut plain = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    match CCtx::create().compress(&mut plain, &raw, PORTABLE_LEVEL) {
        Ok(_) if is_worth_it(raw.len(), plain.len()) => (RecordEncoding::Zstd, Cow::Owned(plain)),
        _ => (RecordEncoding::Raw, Cow::Owned(raw)),
    }
}

/// Tells if compression shrinks a response by an eighth at least, and by no more than `MAX_RATIO`.
fn is_worth_it(raw_bytes: usize, compressed_bytes: usize) -> bool {
    compressed_bytes <= raw_bytes - raw_bytes / 8 && raw_bytes <= compressed_bytes.saturating_mul(MAX_RATIO)
}

/// Compresses responses, and trains dictionaries on them.
pub struct Compressor {
    context: CCtx<'static>,
    buffer: Vec<u8>,
    trained: Option<(DictionaryId, CDict<'static>)>,
    training: Training,
}

/// The training of the next dictionary.
struct Training {
    /// The responses seen so far.
    seen: u64,
    /// The value of `seen` at which the next dictionary is trained.
    next: u64,
    /// The samples, one after the other.
    samples: Vec<u8>,
    /// The length of each sample.
    sizes: Vec<usize>,
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor {
            context: CCtx::create(),
            buffer: Vec::new(),
            trained: None,
            training: Training { seen: 0, next: FIRST_TRAINING, samples: Vec::new(), sizes: Vec::new() },
        }
    }
}

impl Compressor {
    /// Returns the response compressed; None if that is not worth it.
    pub fn compress(&mut self, method: Method, raw: &[u8]) -> Option<(Encoding, Box<[u8]>)> {
        let compressed = self.compress_in_buffer(method, raw);
        // The buffer of one very long response is not kept.
        if self.buffer.capacity() > BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        compressed
    }

    fn compress_in_buffer(&mut self, method: Method, raw: &[u8]) -> Option<(Encoding, Box<[u8]>)> {
        let encoding = match method {
            Method::None => return None,
            Method::Lz4 => {
                self.buffer.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let compressed = lz4_flex::block::compress_into(raw, &mut self.buffer).ok()?;
                self.buffer.truncate(compressed);
                Encoding::Lz4
            }
            Method::Zstd => self.compress_zstd(raw)?,
        };
        if !is_worth_it(raw.len(), self.buffer.len()) {
            return None;
        }
        let compressed = Box::from(&*self.buffer);
        if method == Method::Zstd {
            self.learn(raw);
        }
        Some((encoding, compressed))
    }

    fn compress_zstd(&mut self, raw: &[u8]) -> Option<Encoding> {
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

    /// Keeps the response as a sample, and trains a dictionary if it is time.
    fn learn(&mut self, raw: &[u8]) {
        if raw.len() > LONGEST_SAMPLE || usize::from(self.next_id().0) >= DICTIONARIES.len() {
            return;
        }
        let training = &mut self.training;
        training.seen += 1;
        if training.next - training.seen < SAMPLES && training.samples.len() + raw.len() <= SAMPLE_BYTES {
            training.samples.extend_from_slice(raw);
            training.sizes.push(raw.len());
        }
        if training.seen == training.next {
            training.next = training.next.saturating_mul(TRAINING_FACTOR);
            let (samples, sizes) =
                (std::mem::take(&mut training.samples), std::mem::take(&mut training.sizes));
            if let Some(trained) = self.train(&samples, &sizes) {
                self.trained = Some(trained);
            }
        }
    }

    fn next_id(&self) -> DictionaryId {
        DictionaryId(self.trained.as_ref().map_or(0, |(id, _)| id.0 + 1))
    }

    /// Returns a dictionary of these samples, if they take 5 % less with it than with the one before.
    fn train(&mut self, samples: &[u8], sizes: &[usize]) -> Option<(DictionaryId, CDict<'static>)> {
        let mut dictionary = Vec::with_capacity(DICTIONARY_BYTES);
        zstd_safe::train_from_buffer(&mut dictionary, samples, sizes).ok()?;
        let id = self.next_id();
        let encoder = CDict::try_create(&dictionary, LEVEL)?;
        let before = self.compressed_bytes(samples, sizes);
        let old = self.trained.replace((id, encoder));
        let after = self.compressed_bytes(samples, sizes);
        let new = std::mem::replace(&mut self.trained, old);
        if after >= before - before / 20 {
            return None;
        }
        DICTIONARIES.get(usize::from(id.0))?.set(dictionary.into()).ok()?;
        new
    }

    /// Returns the bytes that every eighth sample takes, compressed with the present dictionary.
    fn compressed_bytes(&mut self, samples: &[u8], sizes: &[usize]) -> usize {
        let (mut rest, mut sum) = (samples, 0);
        for (n, &size) in sizes.iter().enumerate() {
            let Some((sample, others)) = rest.split_at_checked(size) else { break };
            rest = others;
            if n % 8 == 0 && self.compress_zstd(sample).is_some() {
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
        let mut text = format!("Dear customer {n}, thank you for your question about our product.");
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
    fn a_compressed_response_takes_less_and_decompresses_to_the_same() {
        let raw = text(1).repeat(3);
        for method in [Method::Lz4, Method::Zstd] {
            let (encoding, compressed) = Compressor::default().compress(method, &raw).expect("text shrinks");
            assert!(compressed.len() < raw.len() * 7 / 8, "{method:?}");
            assert_eq!(decompressed(encoding, &compressed, raw.len()).as_ref(), Ok(&raw));
            let (portable, bytes) = portable(encoding, &compressed, raw.len());
            assert_eq!((Encoding::from(portable), &*bytes), (encoding, &*compressed), "{method:?}");
        }
        assert!(Compressor::default().compress(Method::None, &raw).is_none());
    }

    #[test]
    fn a_response_that_does_not_shrink_by_an_eighth_stays_raw() {
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
    fn a_few_bytes_never_decompress_into_much_memory() {
        let zeros = vec![0; 10_000_000];
        assert!(Compressor::default().compress(Method::Zstd, &zeros).is_none());
        let mut frame = Vec::with_capacity(10_000);
        CCtx::create().compress(&mut frame, &zeros, LEVEL).expect("zstd compresses zeros");
        assert_eq!(decompressed(Encoding::Zstd, &frame, zeros.len()), Err(Damaged));
        // A frame that decompresses to more than it should is damaged too.
        assert_eq!(decompressed(Encoding::Zstd, &frame, 1000), Err(Damaged));
    }

    #[test]
    fn a_dictionary_is_trained_and_never_leaves_the_process() {
        let mut compressor = Compressor::default();
        let responses: Vec<Vec<u8>> = (0..FIRST_TRAINING + 100).map(text).collect();
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
        let (encoding, bytes) = portable(last.0, &last.1, raw.len());
        assert_eq!(encoding, RecordEncoding::Zstd);
        assert_eq!(decompressed(encoding.into(), &bytes, raw.len()).as_ref(), Ok(raw));
        // On a server with other dictionaries:
        assert_eq!(decompressed(Encoding::Trained(DictionaryId(11)), &last.1, raw.len()), Err(Damaged));
        assert_eq!(decompressed(Encoding::Zstd, &last.1, raw.len()), Err(Damaged));
    }

    #[test]
    fn compression_is_worth_it_from_an_eighth_to_the_highest_ratio() {
        assert!(is_worth_it(800, 700) && !is_worth_it(800, 701));
        assert!(is_worth_it(1000, 4) && !is_worth_it(1001, 4));
    }

    #[test]
    fn a_response_of_exactly_the_highest_ratio_decompresses() {
        // lz4 takes one byte for 255 zeros, and a few more for each block.
        let (zeros, block) = (500..900)
            .map(|bytes| vec![0; bytes * MAX_RATIO])
            .map(|zeros| (lz4_flex::block::compress(&zeros), zeros))
            .find_map(|(block, zeros)| (zeros.len() == block.len() * MAX_RATIO).then_some((zeros, block)))
            .expect("a block of this ratio");
        assert_eq!(decompressed(Encoding::Lz4, &block, zeros.len()), Ok(zeros));
    }

    #[test]
    fn a_long_response_survives_compression_and_its_buffer_is_not_kept() {
        let kept = |raw: &[u8], method| {
            let mut compressor = Compressor::default();
            let (encoding, compressed) = compressor.compress(method, raw).expect("text shrinks");
            assert_eq!(decompressed(encoding, &compressed, raw.len()).as_deref(), Ok(raw));
            compressor.buffer.capacity()
        };
        let texts = |count| (0..count).flat_map(text).collect::<Vec<u8>>();
        for method in [Method::Lz4, Method::Zstd] {
            assert_eq!(kept(&texts(4000), method), 0);
            assert!(kept(&texts(100), method) > 0);
        }
        let mut compressor = Compressor { buffer: Vec::with_capacity(1 << 20), ..Compressor::default() };
        compressor.compress(Method::None, b"");
        assert_eq!(compressor.buffer.capacity(), 1 << 20);
    }

    /// Returns a compressor with a dictionary of this number.
    fn trained(id: u8) -> Compressor {
        let dictionary = CDict::try_create(&text(0), LEVEL).expect("a dictionary");
        Compressor { trained: Some((DictionaryId(id), dictionary)), ..Compressor::default() }
    }

    #[test]
    fn a_dictionary_is_trained_on_the_last_responses_that_fit() {
        let sampled = |seen, kept, bytes| {
            let training = Training { seen, next: 8000, samples: vec![0; kept], sizes: vec![] };
            let mut compressor = Compressor { training, ..Compressor::default() };
            compressor.learn(&vec![0; bytes]);
            let Training { seen: now, samples, sizes, .. } = compressor.training;
            assert_eq!(samples.len() - kept, sizes.iter().sum());
            (now - seen, sizes.len())
        };
        assert_eq!(sampled(3999, 0, 10), (1, 0));
        assert_eq!(sampled(4000, 0, 10), (1, 1));
        assert_eq!(sampled(5000, (3 << 20) - 10, 10), (1, 1));
        assert_eq!(sampled(5000, (3 << 20) - 10, 11), (1, 0));
        assert_eq!(sampled(5000, 0, 32 << 10), (1, 1));
        assert_eq!(sampled(5000, 0, (32 << 10) + 1), (0, 0));
    }

    #[test]
    fn no_dictionary_is_trained_after_the_last() {
        let seen = |id| {
            let mut compressor = trained(id);
            compressor.learn(&text(1));
            compressor.training.seen
        };
        assert_eq!((seen(10), seen(11)), (1, 0));
        let before = dictionaries();
        for slot in &DICTIONARIES[9..11] {
            assert!(slot.set(text(0).into()).is_ok());
        }
        assert!(dictionaries() >= before + 2);
    }

    #[test]
    fn a_dictionary_is_for_responses_up_to_the_longest_sample() {
        let encoding = |bytes| {
            let raw: Vec<u8> = text(1).into_iter().cycle().take(bytes).collect();
            trained(5).compress(Method::Zstd, &raw).map(|(encoding, _)| encoding)
        };
        assert_eq!(encoding(32 << 10), Some(Encoding::Trained(DictionaryId(5))));
        assert_eq!(encoding((32 << 10) + 1), Some(Encoding::Zstd));
    }

    #[test]
    fn a_response_that_shrinks_with_a_dictionary_only_is_portable_raw() {
        let mut compressor = trained(8);
        DICTIONARIES[8].set(text(0).into()).expect("a free slot");
        let raw = b"Dear customer 0, thank you for your question about our product.";
        let (encoding, compressed) = compressor.compress(Method::Zstd, raw).expect("the dictionary holds it");
        assert_eq!(encoding, Encoding::Trained(DictionaryId(8)));
        let (portable_encoding, bytes) = portable(encoding, &compressed, raw.len());
        assert_eq!((portable_encoding, &*bytes), (RecordEncoding::Raw, &raw[..]));
    }

    #[test]
    fn a_dictionary_is_weighed_by_every_eighth_sample() {
        let samples: Vec<_> = (0..17).map(text).collect();
        let sizes: Vec<_> = samples.iter().map(Vec::len).collect();
        let mut compressor = Compressor::default();
        let alone = [0, 8, 16].map(|n: usize| {
            compressor.compress_zstd(&samples[n]).expect("zstd compresses text");
            compressor.buffer.len()
        });
        assert_eq!(compressor.compressed_bytes(&samples.concat(), &sizes), alone.into_iter().sum());
    }

    #[test]
    fn a_dictionary_that_is_no_better_is_not_kept() {
        let mut compressor = trained(5);
        let samples = |from: u64| {
            let texts: Vec<_> = (from..from + 200).map(text).collect();
            (texts.concat(), texts.iter().map(Vec::len).collect::<Vec<_>>())
        };
        let (first, sizes) = samples(0);
        let before = compressor.compressed_bytes(&first, &sizes);
        let better = compressor.train(&first, &sizes).expect("a better dictionary");
        assert_eq!(better.0, DictionaryId(6));
        compressor.trained = Some(better);
        // It holds much of the samples.
        assert!(compressor.compressed_bytes(&first, &sizes) < before / 2);
        // A few other samples: the dictionary would save less than 5 %.
        let (second, sizes) = samples(4);
        assert!(compressor.train(&second, &sizes).is_none());
        assert_eq!(compressor.trained.map(|(id, _)| id), Some(DictionaryId(6)));
    }

    proptest! {
        #[test]
        fn any_bytes_decompress_to_their_length_or_are_refused(bytes: Vec<u8>, raw_bytes in 0..5000_usize) {
            for encoding in [Encoding::Lz4, Encoding::Zstd, Encoding::Trained(DictionaryId(0))] {
                if let Ok(raw) = decompressed(encoding, &bytes, raw_bytes) {
                    prop_assert_eq!(raw.len(), raw_bytes);
                }
            }
        }

        #[test]
        fn any_response_survives(words in prop::collection::vec("[a-d]{1,5} ", 0..300)) {
            let raw = words.concat().into_bytes();
            for method in [Method::Lz4, Method::Zstd] {
                if let Some((encoding, compressed)) = Compressor::default().compress(method, &raw) {
                    prop_assert_eq!(decompressed(encoding, &compressed, raw.len()), Ok(raw.clone()));
                }
            }
        }
    }
}

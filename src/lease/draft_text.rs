//! The text of a draft, in chunks that its readers share.
//!
//! A reader's part keeps the chunks alive and copies no byte. Appending copies at most one chunk, if a reader still
//! has its part of the last one.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Bytes of a chunk; a longer piece gets a chunk of its own.
const CHUNK_BYTES: usize = 16 * 1024;

/// A range of a draft's bytes.
#[derive(Clone, Default)]
pub struct DraftPart {
    chunks: Vec<Arc<Vec<u8>>>,
    /// Bytes of the first chunk before the range.
    skipped: usize,
    len: usize,
}

impl DraftPart {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true for a part without bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes in one piece, borrowed if one chunk has them all.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self.chunks.as_slice() {
            [_] => Cow::Borrowed(self.slices().next().unwrap_or_default()),
            _ => {
                let mut bytes = Vec::with_capacity(self.len);
                self.slices().for_each(|slice| bytes.extend_from_slice(slice));
                Cow::Owned(bytes)
            }
        }
    }

    /// The bytes, in order, as slices.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (mut skipped, mut left) = (self.skipped, self.len);
        self.chunks.iter().map(move |chunk| {
            let slice = chunk.get(std::mem::take(&mut skipped)..).unwrap_or_default();
            let slice = slice.get(..left).unwrap_or(slice);
            left -= slice.len();
            slice
        })
    }
}

impl PartialEq for DraftPart {
    fn eq(&self, other: &DraftPart) -> bool {
        self.len == other.len && self.slices().flatten().eq(other.slices().flatten())
    }
}

impl Eq for DraftPart {}

impl fmt::Debug for DraftPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DraftPart of {} bytes", self.len)
    }
}

/// A text that grows.
#[derive(Default)]
pub(super) struct DraftText {
    /// Each chunk with the offset of its first byte; none is empty.
    chunks: Vec<(usize, Arc<Vec<u8>>)>,
    len: usize,
}

impl DraftText {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn push(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        match self.chunks.last_mut() {
            Some((_, chunk)) if chunk.len() + piece.len() <= CHUNK_BYTES => {
                Arc::make_mut(chunk).extend_from_slice(piece);
            }
            _ => self.chunks.push((self.len, Arc::new(piece.to_vec()))),
        }
        self.len += piece.len();
    }

    /// The bytes from an offset on; None beyond the end.
    pub fn part(&self, offset: usize) -> Option<DraftPart> {
        let len = self.len.checked_sub(offset)?;
        let first = self.chunks.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let chunks = self.chunks.get(first..).filter(|_| len > 0).unwrap_or_default();
        let skipped = chunks.first().map_or(0, |(start, _)| offset - start);
        Some(DraftPart { chunks: chunks.iter().map(|(_, chunk)| chunk.clone()).collect(), skipped, len })
    }

    /// Bytes that the text takes.
    pub fn heap_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|(_, chunk)| chunk.capacity() + 40).sum();
        chunks + self.chunks.capacity() * size_of::<(usize, Arc<Vec<u8>>)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_part_has_the_bytes_from_its_offset_on_whatever_is_appended_later() {
        let mut text = DraftText::default();
        let mut plain = Vec::new();
        let mut parts = Vec::new();
        for n in 0..400_usize {
            let piece = vec![n as u8; [0, 1, 7, 300, 20_000][n % 5]];
            text.push(&piece);
            plain.extend_from_slice(&piece);
            let offset = plain.len() * (n % 11) / 10;
            let part = text.part(offset);
            assert_eq!(part.is_some(), offset <= plain.len());
            parts.extend(part.map(|part| (offset, plain.len(), part)));
        }
        for (from, to, part) in parts {
            assert_eq!((part.len(), part.is_empty()), (to - from, to == from));
            assert!(*part.bytes() == plain[from..to], "{from}..{to}");
        }
    }
}

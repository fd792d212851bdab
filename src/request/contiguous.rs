//! Bytes that come in parts and are to be hashed: in one piece where they are short, as most requests are. Each piece
//! costs a hasher more than the copy does.

/// Up to how many bytes are put together.
pub const SHORT: usize = 256;

/// The parts one after the other, if there is room for them.
pub fn in_one_piece<'p, 'b>(
    parts: impl IntoIterator<Item = &'p [u8]>,
    room: &'b mut [u8; SHORT],
) -> Option<&'b [u8]> {
    let mut length = 0;
    for part in parts {
        let end = length + part.len();
        room.get_mut(length..end)?.copy_from_slice(part);
        length = end;
    }
    room.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_put_together_to_the_last_byte() {
        let long = [b'x'; SHORT];
        let mut room = [0; SHORT];
        assert_eq!(in_one_piece([&b"ab"[..], b"", b"c"], &mut room), Some(&b"abc"[..]));
        assert_eq!(in_one_piece([], &mut room), Some(&b""[..]));
        assert_eq!(in_one_piece([&long[..1], &long[1..]], &mut room), Some(&long[..]));
        assert_eq!(in_one_piece([&long[..], b"x"], &mut room), None);
    }
}

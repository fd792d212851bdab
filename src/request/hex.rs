//! Sixteen bytes as 32 hex digits: an MD5 in a key, a token in a reply.

/// The digits, in lower case.
pub fn digits(bytes: [u8; 16]) -> [u8; 32] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

/// The bytes that these digits, in either case, stand for.
pub fn parse(digits: &[u8; 32]) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_for_the_bytes_that_made_them() {
        let bytes = [0, 1, 0x9f, 0xa0, 0xff, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176];
        assert_eq!(&digits(bytes), b"00019fa0ff102030405060708090a0b0");
        assert_eq!(parse(&digits(bytes)), Some(bytes));
        assert_eq!(parse(b"00019FA0FF102030405060708090A0B0"), Some(bytes));
        assert_eq!(parse(b"00019fa0ff102030405060708090a0bg"), None);
        assert_eq!(parse(b"00019fa0ff102030405060708090a0\xffb"), None);
    }
}

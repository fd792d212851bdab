//! The options that a client gave, read by the command's grammar.

use crate::request::error::CommandError;
use crate::request::grammar::{Family, Grammar, Value, Word};

/// The options that a client gave.
#[derive(Default)]
pub struct Given<'a> {
    /// Each option's value, which is empty if the option takes none.
    values: [Option<&'a [u8]>; Word::ALL.len()],
    /// The second value of FROM.
    offset: Option<&'a [u8]>,
}

impl<'a> Given<'a> {
    /// Reads the arguments after a command's fixed ones.
    ///
    /// # Errors
    ///
    /// Fails at the first argument that is no option of the command, stands twice, excludes another, or lacks its value.
    pub fn read(
        grammar: &'static Grammar,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Given<'a>, CommandError> {
        let mut given = Given::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let word = grammar.find(arg).ok_or(CommandError::UnknownOption(grammar))?;
            if given.has(word) {
                return Err(CommandError::OptionTwice(word.token()));
            }
            if let Some(other) = given.of_family(word.spec().family) {
                return Err(CommandError::OptionsExclude(other.token(), word.token()));
            }
            let value = match word.spec().value {
                Value::None => b"",
                Value::String | Value::Integer | Value::UnixTime | Value::DraftAndOffset => {
                    args.next().ok_or(CommandError::OptionNeedsValue(word.token()))?
                }
            };
            if word.spec().value == Value::DraftAndOffset {
                given.offset = Some(args.next().ok_or(CommandError::OptionNeedsValue(word.token()))?);
            }
            given.put(word, value);
        }
        Ok(given)
    }

    /// Returns the option's value, if it was given.
    pub fn value(&self, word: Word) -> Option<&'a [u8]> {
        self.values[word as usize]
    }

    /// Returns the draft and the offset of FROM, if it was given.
    ///
    /// # Errors
    ///
    /// Fails if the offset is not a whole number, or negative.
    pub fn draft_and_offset(&self) -> Result<Option<(&'a [u8], usize)>, CommandError> {
        let option = Word::From.token();
        let (Some(draft), Some(offset)) = (self.value(Word::From), self.offset) else { return Ok(None) };
        let offset = parse_integer(offset).ok_or(CommandError::NotAnInteger(option))?;
        let range = CommandError::OutOfRange { option, min: 0, max: i64::MAX };
        Ok(Some((draft, usize::try_from(offset).map_err(|_| range)?)))
    }

    /// Returns the value of an option that the command needs.
    ///
    /// # Errors
    ///
    /// Fails if the option was not given.
    pub fn required(&self, word: Word) -> Result<&'a [u8], CommandError> {
        self.value(word).ok_or(CommandError::OptionMissing(word.token()))
    }

    /// Tells if the option was given.
    pub fn has(&self, word: Word) -> bool {
        self.value(word).is_some()
    }

    /// Returns the option's number, if it was given.
    ///
    /// # Errors
    ///
    /// Fails if the value is not a whole number of 64 bits.
    pub fn integer(&self, word: Word) -> Result<Option<i64>, CommandError> {
        let parse = |value| parse_integer(value).ok_or(CommandError::NotAnInteger(word.token()));
        self.value(word).map(parse).transpose()
    }

    /// Returns the option's number, if it was given.
    ///
    /// # Errors
    ///
    /// Fails if the value is not a whole number from `min` to `max`.
    pub fn within(&self, word: Word, min: i64, max: i64) -> Result<Option<i64>, CommandError> {
        match self.integer(word)? {
            Some(number) if !(min..=max).contains(&number) => {
                Err(CommandError::OutOfRange { option: word.token(), min, max })
            }
            number => Ok(number),
        }
    }

    fn put(&mut self, word: Word, value: &'a [u8]) {
        self.values[word as usize] = Some(value);
    }

    /// Returns the option of this family that was given.
    fn of_family(&self, family: Family) -> Option<Word> {
        let mut given = Word::ALL.into_iter().filter(|word| self.has(*word));
        given.find(|word| family != Family::Alone && word.spec().family == family)
    }
}

/// Returns the number in a text, if Redis reads one there (string2ll): digits after an optional minus, without a
/// leading zero, a plus or -0.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'+', ..] | [b'0', _, ..] | [b'-', b'0', ..] => None,
        _ => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

/// As `parse_integer`, for numbers without a sign.
pub fn parse_unsigned(text: &[u8]) -> Option<u64> {
    match text {
        [b'+', ..] | [b'0', _, ..] => None,
        _ => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_read_from_its_own_digits_only(
            number: i64, unsigned: u64, text in "[-+ 0-9]{0,21}",
        ) {
            prop_assert_eq!(parse_integer(number.to_string().as_bytes()), Some(number));
            prop_assert_eq!(parse_unsigned(unsigned.to_string().as_bytes()), Some(unsigned));
            let strict = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            prop_assert_eq!(parse_integer(text.as_bytes()), strict);
            let strict = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
            prop_assert_eq!(parse_unsigned(text.as_bytes()), strict);
        }
    }
}

//! Commands as bytes, with numbers to fill in; replies counted and not built.

/// Stands in a command's words for a number of ten digits, which differs from unit to unit.
pub const NUMBER: &str = "##########";

/// The bytes of one unit of work: one command or more, all with the same number.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    numbers: Vec<usize>,
    replies: usize,
}

impl Template {
    pub fn new(commands: &[Vec<&str>]) -> Template {
        let mut bytes = Vec::new();
        for words in commands {
            bytes.extend(format!("*{}\r\n", words.len()).bytes());
            for word in words {
                bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
            }
        }
        let places = bytes.windows(NUMBER.len()).enumerate();
        let numbers = places.filter(|(_, window)| *window == NUMBER.as_bytes()).map(|(at, _)| at).collect();
        Template { bytes, numbers, replies: commands.len() }
    }

    /// The same for commands that reply a flat array: its elements count as replies.
    pub fn replying_arrays_of(self, elements: usize) -> Template {
        Template { replies: self.replies * elements, ..self }
    }

    /// Number of replies to one unit.
    pub fn replies(&self) -> usize {
        self.replies
    }

    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        let mut digits = [b'0'; NUMBER.len()];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for at in &self.numbers {
            out[begin + at..][..digits.len()].copy_from_slice(&digits);
        }
    }
}

/// The number as it stands in a filled-in word.
pub fn numbered(word: &str, number: u64) -> String {
    word.replace(NUMBER, &format!("{number:010}"))
}

/// Finds the ends of replies in what a connection reads. Knows all but the nested ones.
#[derive(Default)]
pub struct Replies {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Bytes still to come of a bulk string, including its line end.
    rest: usize,
    pub nulls: u64,
}

impl Replies {
    /// Number of replies that these bytes complete.
    ///
    /// # Panics
    /// The position of an error among the replies. The bench sends no command that may fail.
    pub fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut whole = 0;
        loop {
            if self.rest > 0 {
                let part = self.rest.min(bytes.len());
                bytes = &bytes[part..];
                self.rest -= part;
                if self.rest > 0 {
                    return whole;
                }
                whole += 1;
            }
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                return whole;
            };
            let (head, after) = bytes.split_at(end + 1);
            bytes = after;
            if self.line.is_empty() {
                whole += self.begin(head);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                whole += self.begin(&line);
            }
        }
    }

    /// A reply's first line: 1 where it is all of it.
    fn begin(&mut self, line: &[u8]) -> usize {
        let line = line.trim_ascii_end();
        match line {
            [b'$', b'-', ..] | [b'_', ..] => {
                self.nulls += 1;
                1
            }
            [b'$', length @ ..] => {
                let digits = length.iter().map(|digit| usize::from(digit - b'0'));
                self.rest = digits.fold(0, |number, digit| number * 10 + digit) + 2;
                0
            }
            [b'+' | b':', ..] => 1,
            [b'*', ..] => 0,
            _ => panic!("the server replied {}", String::from_utf8_lossy(line)),
        }
    }
}

//! Options: what may follow a command's fixed arguments, in any order and any case.
//!
//! Three tables say it all: `Word` lists every option there is, `Word::rule` what each takes and excludes,
//! and a `Grammar` which of them a command has. `Grammar::read` checks arguments against them, once for all
//! commands; the structs after it are what the commands want to know. A new option is a `Word` with its rule
//! and a place in a grammar.

use crate::request::error::CommandError;

/// Every option of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Id,
    Ex,
    Px,
    ExAt,
    PxAt,
    KeepTtl,
    Nx,
    Xx,
    Cursor,
    Count,
    Stale,
    Token,
    Cost,
    Wait,
    Lease,
}

/// What is true of an option wherever it stands.
struct Rule {
    name: &'static str,
    takes: Takes,
    family: Family,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
}

/// Of one family, other than `Alone`, a command takes one option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Alone,
    Expiry,
    Condition,
}

impl Word {
    const ALL: [Word; 15] = [
        Word::Id,
        Word::Ex,
        Word::Px,
        Word::ExAt,
        Word::PxAt,
        Word::KeepTtl,
        Word::Nx,
        Word::Xx,
        Word::Cursor,
        Word::Count,
        Word::Stale,
        Word::Token,
        Word::Cost,
        Word::Wait,
        Word::Lease,
    ];

    const fn rule(self) -> Rule {
        let (name, takes, family) = match self {
            Word::Id => ("ID", Takes::Value, Family::Alone),
            Word::Ex => ("EX", Takes::Value, Family::Expiry),
            Word::Px => ("PX", Takes::Value, Family::Expiry),
            Word::ExAt => ("EXAT", Takes::Value, Family::Expiry),
            Word::PxAt => ("PXAT", Takes::Value, Family::Expiry),
            Word::KeepTtl => ("KEEPTTL", Takes::Nothing, Family::Expiry),
            Word::Nx => ("NX", Takes::Nothing, Family::Condition),
            Word::Xx => ("XX", Takes::Nothing, Family::Condition),
            Word::Cursor => ("CURSOR", Takes::Value, Family::Alone),
            Word::Count => ("COUNT", Takes::Value, Family::Alone),
            Word::Stale => ("STALE", Takes::Value, Family::Alone),
            Word::Token => ("TOKEN", Takes::Value, Family::Alone),
            Word::Cost => ("COST", Takes::Value, Family::Alone),
            Word::Wait => ("WAIT", Takes::Value, Family::Alone),
            Word::Lease => ("LEASE", Takes::Value, Family::Alone),
        };
        Rule { name, takes, family }
    }

    pub const fn name(self) -> &'static str {
        self.rule().name
    }
}

/// A command and the options it has.
#[derive(Debug, PartialEq, Eq)]
pub struct Grammar {
    pub command: &'static str,
    pub options: &'static [Word],
}

const REQUEST: &[Word] = &[Word::Id];

pub static GET: Grammar = Grammar { command: "CHATCACHE.GET", options: REQUEST };
pub static DEL: Grammar = Grammar { command: "CHATCACHE.DEL", options: REQUEST };
pub static KEY: Grammar = Grammar { command: "CHATCACHE.KEY", options: REQUEST };
pub static INSPECT: Grammar = Grammar { command: "CHATCACHE.INSPECT", options: REQUEST };
pub static SET: Grammar = Grammar {
    command: "CHATCACHE.SET",
    options: &[
        Word::Id,
        Word::Ex,
        Word::Px,
        Word::ExAt,
        Word::PxAt,
        Word::KeepTtl,
        Word::Stale,
        Word::Nx,
        Word::Xx,
        Word::Token,
        Word::Cost,
    ],
};
pub static FETCH: Grammar =
    Grammar { command: "CHATCACHE.FETCH", options: &[Word::Id, Word::Wait, Word::Lease] };
pub static RELEASE: Grammar = Grammar { command: "CHATCACHE.RELEASE", options: &[Word::Id, Word::Token] };
pub static PERSONAS: Grammar =
    Grammar { command: "CHATCACHE.PERSONAS", options: &[Word::Cursor, Word::Count] };

impl Grammar {
    /// The options among a command's arguments. The first that breaks a rule is refused.
    fn read<'a>(&'static self, args: impl IntoIterator<Item = &'a [u8]>) -> Result<Given<'a>, CommandError> {
        let mut given = Given::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let word = self
                .options
                .iter()
                .copied()
                .find(|word| word.name().as_bytes().eq_ignore_ascii_case(arg))
                .ok_or(CommandError::UnknownOption(self))?;
            let rule = word.rule();
            if given.has(word) {
                return Err(CommandError::OptionTwice(rule.name));
            }
            if let Some(other) = given.of_family(rule.family) {
                return Err(CommandError::OptionsExclude(other.name(), rule.name));
            }
            let value = match rule.takes {
                Takes::Nothing => b"",
                Takes::Value => args.next().ok_or(CommandError::OptionNeedsValue(rule.name))?,
            };
            given.put(word, value);
        }
        Ok(given)
    }

    /// What the command takes, for the reply to one who gave it something else.
    pub fn summary(&self) -> String {
        let names: Vec<&str> = self.options.iter().map(|word| word.name()).collect();
        let command = self.command;
        match names.as_slice() {
            [] => format!("{command} has no options"),
            [only] => format!("the only option of {command} is {only}"),
            [first @ .., last] => format!("the options of {command} are {} and {last}", first.join(", ")),
        }
    }
}

/// The options that were given, each with its value, which is empty where the option takes none.
#[derive(Default)]
struct Given<'a>([Option<&'a [u8]>; Word::ALL.len()]);

impl<'a> Given<'a> {
    fn value(&self, word: Word) -> Option<&'a [u8]> {
        self.0[word as usize]
    }

    fn has(&self, word: Word) -> bool {
        self.value(word).is_some()
    }

    fn put(&mut self, word: Word, value: &'a [u8]) {
        self.0[word as usize] = Some(value);
    }

    /// The option of this family that was given.
    fn of_family(&self, family: Family) -> Option<Word> {
        let mut given = Word::ALL.into_iter().filter(|word| self.has(*word));
        given.find(|word| family != Family::Alone && word.rule().family == family)
    }

    /// The option's number, which must be one of these.
    fn within(&self, word: Word, min: i64, max: i64) -> Result<Option<i64>, CommandError> {
        match self.integer(word)? {
            Some(number) if !(min..=max).contains(&number) => {
                Err(CommandError::OutOfRange { option: word.name(), min, max })
            }
            number => Ok(number),
        }
    }

    fn integer(&self, word: Word) -> Result<Option<i64>, CommandError> {
        let parse = |value| parse_integer(value).ok_or(CommandError::NotAnInteger(word.name()));
        self.value(word).map(parse).transpose()
    }
}

/// The longest WAIT and LEASE: a day.
const DAY_MS: i64 = 86_400_000;

/// The longest STALE: a hundred years, as the longest TTL of a setting.
pub const MAX_STALE_MS: i64 = 100 * 366 * DAY_MS;

/// The highest COST that an entry can hold, some 50 days.
const MAX_COST_MS: i64 = u32::MAX as i64;

/// The options of the commands that only need to know which request is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions<'a> {
    pub id: Option<&'a [u8]>,
}

impl<'a> RequestOptions<'a> {
    pub fn parse(
        grammar: &'static Grammar,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<RequestOptions<'a>, CommandError> {
        Ok(RequestOptions { id: grammar.read(args)?.value(Word::Id) })
    }
}

/// Until when an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// As long as its tier says.
    Tier,
    /// For so long from now (EX, PX), which is until then.
    Relative { ms: i64, until_ms: i64 },
    /// Until then, in milliseconds since 1970 (EXAT, PXAT); it may have passed.
    At(i64),
    /// As long as the answer it replaces (KEEPTTL).
    Keep,
}

/// On what condition an answer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// The options of SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetOptions<'a> {
    pub id: Option<&'a [u8]>,
    pub ttl: Ttl,
    /// For how many milliseconds after its TTL the answer is given as stale; None where nothing is said.
    pub stale_ms: Option<i64>,
    pub condition: Condition,
    /// What is to prove a lease; any bytes.
    pub token: Option<&'a [u8]>,
    /// What computing the answer took, in milliseconds, where the caller has measured it.
    pub cost_ms: Option<u32>,
}

impl<'a> SetOptions<'a> {
    /// `now_ms` is what EX and PX count from.
    pub fn parse(
        args: impl IntoIterator<Item = &'a [u8]>,
        now_ms: i64,
    ) -> Result<SetOptions<'a>, CommandError> {
        let given = SET.read(args)?;
        let condition = match (given.has(Word::Nx), given.has(Word::Xx)) {
            (true, _) => Condition::IfAbsent,
            (_, true) => Condition::IfPresent,
            _ => Condition::Always,
        };
        if given.has(Word::KeepTtl) && given.has(Word::Stale) {
            return Err(CommandError::OptionsExclude(Word::KeepTtl.name(), Word::Stale.name()));
        }
        Ok(SetOptions {
            id: given.value(Word::Id),
            ttl: parse_ttl(&given, now_ms)?,
            stale_ms: given.within(Word::Stale, 0, MAX_STALE_MS)?,
            condition,
            token: given.value(Word::Token),
            cost_ms: given.within(Word::Cost, 0, MAX_COST_MS)?.and_then(|ms| u32::try_from(ms).ok()),
        })
    }
}

/// The options of FETCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions<'a> {
    pub id: Option<&'a [u8]>,
    /// For how many milliseconds to wait for somebody else's answer.
    pub wait_ms: i64,
    /// For how many milliseconds to have the lease; None for the setting's.
    pub lease_ms: Option<i64>,
}

impl<'a> FetchOptions<'a> {
    pub fn parse(args: impl IntoIterator<Item = &'a [u8]>) -> Result<FetchOptions<'a>, CommandError> {
        let given = FETCH.read(args)?;
        Ok(FetchOptions {
            id: given.value(Word::Id),
            wait_ms: given.within(Word::Wait, 0, DAY_MS)?.unwrap_or(0),
            lease_ms: given.within(Word::Lease, 1, DAY_MS)?,
        })
    }
}

/// The options of RELEASE, which is nothing without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseOptions<'a> {
    pub id: Option<&'a [u8]>,
    pub token: &'a [u8],
}

impl<'a> ReleaseOptions<'a> {
    pub fn parse(args: impl IntoIterator<Item = &'a [u8]>) -> Result<ReleaseOptions<'a>, CommandError> {
        let given = RELEASE.read(args)?;
        let token = given.value(Word::Token).ok_or(CommandError::OptionMissing(Word::Token.name()))?;
        Ok(ReleaseOptions { id: given.value(Word::Id), token })
    }
}

/// How an option's number becomes milliseconds, and what it counts from.
#[derive(Clone, Copy)]
enum Origin {
    Now,
    Epoch,
}

fn parse_ttl(given: &Given<'_>, now_ms: i64) -> Result<Ttl, CommandError> {
    const UNITS: [(Word, i64, Origin); 4] = [
        (Word::Ex, 1000, Origin::Now),
        (Word::Px, 1, Origin::Now),
        (Word::ExAt, 1000, Origin::Epoch),
        (Word::PxAt, 1, Origin::Epoch),
    ];
    for (word, unit_ms, origin) in UNITS {
        let Some(number) = given.integer(word)? else { continue };
        let invalid = CommandError::InvalidExpire(SET.command);
        let ms = number.checked_mul(unit_ms).filter(|ms| *ms > 0).ok_or(invalid)?;
        return match origin {
            Origin::Epoch => Ok(Ttl::At(ms)),
            Origin::Now => {
                let until_ms = now_ms.checked_add(ms).ok_or(invalid)?;
                Ok(Ttl::Relative { ms, until_ms })
            }
        };
    }
    Ok(if given.has(Word::KeepTtl) { Ttl::Keep } else { Ttl::Tier })
}

/// The options of PERSONAS: where to go on, and some how many to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOptions {
    pub cursor: u64,
    pub count: u64,
}

impl PageOptions {
    /// As SCAN has it.
    pub const DEFAULT_COUNT: u64 = 10;

    pub fn parse<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Result<PageOptions, CommandError> {
        let given = PERSONAS.read(args)?;
        let cursor = match given.value(Word::Cursor) {
            Some(cursor) => parse_unsigned(cursor).ok_or(CommandError::InvalidCursor)?,
            None => 0,
        };
        let count = match given.integer(Word::Count)? {
            Some(count) => u64::try_from(count).ok().filter(|count| *count > 0),
            None => Some(Self::DEFAULT_COUNT),
        };
        Ok(PageOptions { cursor, count: count.ok_or(CommandError::CountNotPositive)? })
    }
}

/// A number as Redis reads them (string2ll): digits with perhaps a minus before them, and nothing else; no
/// zero leads another digit, and there is no -0.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', b'0', ..] => None,
        [b'-', digits @ ..] => 0i64.checked_sub_unsigned(parse_unsigned(digits)?),
        digits => parse_unsigned(digits)?.try_into().ok(),
    }
}

fn parse_unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with(b"0")) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_000;

    fn set(line: &str) -> Result<SetOptions<'_>, String> {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        SetOptions::parse(args, NOW).map_err(|refusal| refusal.message().into_owned())
    }

    fn ttl(line: &str) -> Ttl {
        set(line).unwrap().ttl
    }

    fn page(line: &str) -> Result<PageOptions, String> {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        PageOptions::parse(args).map_err(|refusal| refusal.message().into_owned())
    }

    #[test]
    fn the_words_are_numbered_as_they_are_listed() {
        for (number, word) in Word::ALL.into_iter().enumerate() {
            assert_eq!(word as usize, number);
        }
    }

    #[test]
    fn options_may_stand_in_any_order_and_case() {
        let none = SetOptions {
            id: None,
            ttl: Ttl::Tier,
            stale_ms: None,
            condition: Condition::Always,
            token: None,
            cost_ms: None,
        };
        let wanted = SetOptions {
            id: Some(b"m-1"),
            ttl: Ttl::Relative { ms: 60_000, until_ms: NOW + 60_000 },
            condition: Condition::IfAbsent,
            ..none
        };
        for line in [
            "ID m-1 EX 60 NX",
            "id m-1 nx ex 60",
            "Ex 60 Id m-1 Nx",
            "eX 60 nX iD m-1",
            "NX ID m-1 EX 60",
            "nx EX 60 id m-1",
        ] {
            assert_eq!(set(line), Ok(wanted), "{line}");
        }
        let leased = SetOptions { token: Some(b"t"), stale_ms: Some(5), cost_ms: Some(0), ..none };
        assert_eq!(set("cost 0 TOKEN t stale 5"), Ok(leased));
        assert_eq!(set(""), Ok(none));
        assert_eq!(set("xx"), Ok(SetOptions { condition: Condition::IfPresent, ..none }));
    }

    #[test]
    fn a_value_may_be_the_name_of_an_option_or_any_bytes() {
        assert_eq!(set("ID EX EX 60").unwrap().id, Some(&b"EX"[..]));
        let options = RequestOptions::parse(&GET, [&b"ID"[..], b"\0\xff\r\n"]);
        assert_eq!(options, Ok(RequestOptions { id: Some(b"\0\xff\r\n") }));
        // An empty ID is the request's to refuse, with every other name.
        assert_eq!(RequestOptions::parse(&GET, [&b"ID"[..], b""]).unwrap().id, Some(&b""[..]));
        assert_eq!(RequestOptions::parse(&GET, []), Ok(RequestOptions { id: None }));
    }

    #[test]
    fn a_ttl_is_counted_from_now_or_from_1970() {
        assert_eq!(ttl("PX 1"), Ttl::Relative { ms: 1, until_ms: NOW + 1 });
        assert_eq!(ttl("EXAT 1"), Ttl::At(1000));
        assert_eq!(ttl("PXAT 9223372036854775807"), Ttl::At(i64::MAX));
        assert_eq!(ttl("KEEPTTL"), Ttl::Keep);
        let longest = i64::MAX - NOW;
        assert_eq!(ttl(&format!("PX {longest}")), Ttl::Relative { ms: longest, until_ms: i64::MAX });
    }

    #[test]
    fn a_ttl_that_is_not_positive_or_overflows_is_refused_as_by_the_native_set() {
        let text = "ERR invalid expire time in 'chatcache.set' command: \
                    it must be positive, and its end in milliseconds must fit 64 bits";
        let past_the_end = format!("PX {}", i64::MAX - NOW + 1);
        for line in [
            "EX 0",
            "EX -1",
            "PX 0",
            "EXAT 0",
            "PXAT -5",
            "EX 9223372036854775807",
            "EX -9223372036854775808",
            "EX 9223372036854775",
            "EXAT 9223372036854776",
            &past_the_end,
        ] {
            assert_eq!(set(line), Err(text.to_owned()), "{line}");
        }
        for value in ["x", "1.5", "+1", "01", "-0", "1x", "9223372036854775808", "-", "0x1"] {
            let text = "ERR value is not an integer or out of range: EX takes a whole number";
            assert_eq!(set(&format!("EX {value}")), Err(text.to_owned()), "{value}");
        }
        for value in [&b""[..], b" 1", b"1 ", b"1\0", b"\xff", "\u{661}".as_bytes()] {
            assert_eq!(SetOptions::parse([&b"PX"[..], value], NOW), Err(CommandError::NotAnInteger("PX")));
        }
    }

    #[test]
    fn an_option_is_refused_twice_and_beside_one_it_excludes() {
        let refused = |line: &str| set(line).unwrap_err();
        assert_eq!(refused("EX 1 ex 1"), "ERR syntax error: the option EX is given twice");
        assert_eq!(refused("ID a EX 1 id a"), "ERR syntax error: the option ID is given twice");
        assert_eq!(refused("NX nx"), "ERR syntax error: the option NX is given twice");
        assert_eq!(refused("NX EX 1 XX"), "ERR syntax error: NX and XX exclude each other");
        let expiry = ["EX 1", "PX 1", "EXAT 1", "PXAT 1", "KEEPTTL"];
        for one in expiry {
            for other in expiry.into_iter().filter(|other| *other != one) {
                let word = |option: &'static str| option.split(' ').next().unwrap();
                let text = format!("ERR syntax error: {} and {} exclude each other", word(one), word(other));
                assert_eq!(refused(&format!("{one} ID x {other}")), text);
            }
        }
    }

    #[test]
    fn an_option_without_its_value_is_refused() {
        for word in ["ID", "EX", "PX", "EXAT", "PXAT"] {
            let text = format!("ERR syntax error: the option {word} needs a value");
            assert_eq!(set(&word.to_lowercase()), Err(text));
        }
        assert_eq!(page("COUNT"), Err("ERR syntax error: the option COUNT needs a value".to_owned()));
    }

    #[test]
    fn a_word_that_is_no_option_is_answered_with_those_there_are() {
        let text = "ERR syntax error: the options of CHATCACHE.SET are ID, EX, PX, EXAT, PXAT, KEEPTTL, STALE, NX, XX, \
             TOKEN and COST";
        for line in ["CURSOR 0", "EX 1 60", "NXX", "EX= 5", "\u{212a}EEPTTL"] {
            assert_eq!(set(line), Err(text.to_owned()), "{line}");
        }
        let refused = |grammar| RequestOptions::parse(grammar, [&b"EX"[..], b"1"]).unwrap_err().message();
        assert_eq!(refused(&GET), "ERR syntax error: the only option of CHATCACHE.GET is ID");
        let text = "ERR syntax error: the options of CHATCACHE.PERSONAS are CURSOR and COUNT";
        assert_eq!(page("MATCH *"), Err(text.to_owned()));
        static NONE: Grammar = Grammar { command: "CHATCACHE.HELP", options: &[] };
        assert_eq!(refused(&NONE), "ERR syntax error: CHATCACHE.HELP has no options");
    }

    #[test]
    fn waits_leases_graces_and_costs_are_bounded() {
        let fetch = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            FetchOptions::parse(args).map(|options| (options.wait_ms, options.lease_ms))
        };
        assert_eq!(fetch(""), Ok((0, None)));
        assert_eq!(fetch("lease 86400000 WAIT 86400000"), Ok((DAY_MS, Some(DAY_MS))));
        let out_of_range = |option, min, max| Err(CommandError::OutOfRange { option, min, max });
        for line in ["WAIT -1", "WAIT 86400001"] {
            assert_eq!(fetch(line), out_of_range("WAIT", 0, DAY_MS), "{line}");
        }
        for line in ["LEASE 0", "LEASE -5", "LEASE 86400001"] {
            assert_eq!(fetch(line), out_of_range("LEASE", 1, DAY_MS), "{line}");
        }
        assert_eq!(set("STALE 0").unwrap().stale_ms, Some(0));
        assert_eq!(set("STALE -1").unwrap_err(), "ERR value is out of range: STALE takes 0 to 3162240000000");
        assert_eq!(set("COST 4294967295").unwrap().cost_ms, Some(u32::MAX));
        assert_eq!(
            set("COST 4294967296").unwrap_err(),
            "ERR value is out of range: COST takes 0 to 4294967295"
        );
        assert_eq!(
            set("KEEPTTL STALE 1").unwrap_err(),
            "ERR syntax error: KEEPTTL and STALE exclude each other"
        );
        let release = ReleaseOptions::parse([&b"ID"[..], b"1"]);
        assert_eq!(release, Err(CommandError::OptionMissing("TOKEN")));
    }

    #[test]
    fn a_page_begins_at_a_cursor_and_has_a_positive_count() {
        assert_eq!(page(""), Ok(PageOptions { cursor: 0, count: 10 }));
        let last = PageOptions { cursor: u64::MAX, count: 1 };
        assert_eq!(page("count 1 CURSOR 18446744073709551615"), Ok(last));
        for cursor in ["x", "-1", "18446744073709551616", "007"] {
            assert_eq!(page(&format!("CURSOR {cursor}")), Err("ERR invalid cursor".to_owned()));
        }
        for count in ["0", "-1"] {
            let text = "ERR syntax error: COUNT must be positive".to_owned();
            assert_eq!(page(&format!("COUNT {count}")), Err(text));
        }
        let text = "ERR value is not an integer or out of range: COUNT takes a whole number";
        assert_eq!(page("COUNT ten"), Err(text.to_owned()));
    }

    proptest! {
        #[test]
        fn an_integer_is_read_where_its_own_digits_stand_and_nowhere_else(
            number: i64, text in "[-+ 0-9]{0,21}",
        ) {
            prop_assert_eq!(parse_integer(number.to_string().as_bytes()), Some(number));
            let read = parse_integer(text.as_bytes());
            let strict = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            prop_assert_eq!(read, strict);
        }

        #[test]
        fn no_arguments_are_too_strange_to_be_answered(
            args in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(Word::ALL.to_vec()).prop_map(|word| word.name().as_bytes().to_vec()),
                    any::<i64>().prop_map(|number| number.to_string().into_bytes()),
                    prop::collection::vec(any::<u8>(), 0..8),
                ],
                0..8,
            ),
            now: i64,
        ) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            for refusal in [
                SetOptions::parse(args.iter().copied(), now).err(),
                RequestOptions::parse(&GET, args.iter().copied()).err(),
                PageOptions::parse(args.iter().copied()).err(),
            ].into_iter().flatten() {
                prop_assert!(refusal.message().starts_with("ERR "));
            }
        }
    }
}

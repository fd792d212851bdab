//! Options: for each command, the options it takes and the struct that its `run` gets.
//!
//! Options follow a command's fixed arguments, in any order and any case. Each is a row of the table in `grammar`.

use crate::request::error::CommandError;
use crate::request::grammar::{Grammar, Word};
use crate::request::limits::{DAY_MS, MAX_COST_MS, MAX_STALE_MS};
use crate::request::option_parser::{Given, parse_unsigned};

const fn id_only(command: &'static str) -> Grammar {
    Grammar { command, options: &[Word::Id], required: &[] }
}

/// The grammar of GET.
pub static GET: Grammar = id_only("CHATCACHE.GET");
/// The grammar of DEL.
pub static DEL: Grammar = id_only("CHATCACHE.DEL");
/// The grammar of KEY.
pub static KEY: Grammar = id_only("CHATCACHE.KEY");
/// The grammar of INSPECT.
pub static INSPECT: Grammar = id_only("CHATCACHE.INSPECT");

/// The options of the commands that take no other than ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions<'a> {
    /// The application's own ID of the message.
    pub id: Option<&'a [u8]>,
}

impl<'a> RequestOptions<'a> {
    /// Reads the options of a command with this grammar.
    ///
    /// # Errors
    ///
    /// Fails if an argument breaks the grammar.
    pub fn parse(
        grammar: &'static Grammar,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<RequestOptions<'a>, CommandError> {
        Ok(RequestOptions { id: Given::read(grammar, args)?.value(Word::Id) })
    }
}

/// The grammar of SET.
pub static SET: Grammar = Grammar {
    command: "CHATCACHE.SET",
    options: &[
        Word::Id,
        Word::Ex,
        Word::Px,
        Word::ExAt,
        Word::PxAt,
        Word::KeepTtl,
        Word::Nx,
        Word::Xx,
        Word::Stale,
        Word::Token,
        Word::Cost,
    ],
    required: &[],
};

/// The TTL of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The tier's.
    Tier,
    /// A time from now (EX, PX).
    Relative {
        /// The time, in milliseconds.
        ms: i64,
        /// Its end, in Unix milliseconds.
        until_ms: i64,
    },
    /// The end, in Unix milliseconds (EXAT, PXAT); it may be in the past.
    At(i64),
    /// That of the response it replaces (KEEPTTL).
    Keep,
}

/// The condition on which SET stores a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// The tier has no response to the request (NX).
    IfAbsent,
    /// The tier has a response to the request (XX).
    IfPresent,
}

/// The options of SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetOptions<'a> {
    /// The application's own ID of the message.
    pub id: Option<&'a [u8]>,
    /// The TTL.
    pub ttl: Ttl,
    /// The grace after the TTL, in milliseconds; the setting's if not given.
    pub stale_ms: Option<i64>,
    /// The condition.
    pub condition: Condition,
    /// The token that proves a lease; any bytes.
    pub token: Option<&'a [u8]>,
    /// The cost of computing the response, in milliseconds, if the caller measured it.
    pub cost_ms: Option<u32>,
}

impl<'a> SetOptions<'a> {
    /// Reads the options of SET. Relative TTLs count from `now_ms`, in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// Fails if an argument breaks the grammar, or a value is outside its range.
    pub fn parse(
        args: impl IntoIterator<Item = &'a [u8]>,
        now_ms: i64,
    ) -> Result<SetOptions<'a>, CommandError> {
        let given = Given::read(&SET, args)?;
        let condition = match (given.has(Word::Nx), given.has(Word::Xx)) {
            (true, _) => Condition::IfAbsent,
            (_, true) => Condition::IfPresent,
            _ => Condition::Always,
        };
        // KEEPTTL keeps the grace too.
        if given.has(Word::KeepTtl) && given.has(Word::Stale) {
            return Err(CommandError::OptionsExclude(Word::KeepTtl.token(), Word::Stale.token()));
        }
        Ok(SetOptions {
            id: given.value(Word::Id),
            ttl: parse_ttl(&SET, &given, now_ms)?,
            stale_ms: given.within(Word::Stale, 0, MAX_STALE_MS)?,
            condition,
            token: given.value(Word::Token),
            cost_ms: parse_cost(&given)?,
        })
    }
}

/// The start that an option's time counts from.
#[derive(Clone, Copy)]
enum Origin {
    Now,
    Epoch,
}

fn parse_cost(given: &Given<'_>) -> Result<Option<u32>, CommandError> {
    Ok(given.within(Word::Cost, 0, MAX_COST_MS)?.and_then(|ms| u32::try_from(ms).ok()))
}

fn parse_ttl(grammar: &Grammar, given: &Given<'_>, now_ms: i64) -> Result<Ttl, CommandError> {
    const UNITS: [(Word, i64, Origin); 4] = [
        (Word::Ex, 1000, Origin::Now),
        (Word::Px, 1, Origin::Now),
        (Word::ExAt, 1000, Origin::Epoch),
        (Word::PxAt, 1, Origin::Epoch),
    ];
    for (word, unit_ms, origin) in UNITS {
        let Some(number) = given.integer(word)? else { continue };
        let invalid = CommandError::InvalidExpire(grammar.command);
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

/// The grammar of FETCH.
pub static FETCH: Grammar = Grammar {
    command: "CHATCACHE.FETCH",
    options: &[Word::Id, Word::Wait, Word::Lease, Word::Refresh, Word::Detached, Word::Stream, Word::From],
    required: &[],
};

/// The responses that FETCH gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    /// The fresh one, or the stale one.
    #[default]
    Present,
    /// Only one stored from now on (REFRESH): the caller treats the present one as missing.
    New,
}

/// The form in which a caller takes a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading<'a> {
    /// The whole response.
    #[default]
    Whole,
    /// The draft from its first byte on, while it grows (STREAM).
    FromStart,
    /// The draft with this name from this offset on (STREAM FROM). The name may be any bytes.
    From(&'a [u8], usize),
}

/// The bond between a lease and the connection of its holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bond {
    /// The lease ends with the connection.
    #[default]
    Connection,
    /// The lease outlives the connection (DETACHED).
    Detached,
}

/// The options of FETCH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchOptions<'a> {
    /// The application's own ID of the message.
    pub id: Option<&'a [u8]>,
    /// The longest wait for another caller's response, in milliseconds.
    pub wait_ms: i64,
    /// The time of the lease, in milliseconds; the setting's if not given.
    pub lease_ms: Option<i64>,
    /// The responses that the caller takes.
    pub accepted: Accepted,
    /// The bond between the lease and the caller's connection.
    pub bond: Bond,
    /// The form in which the caller takes the response.
    pub reading: Reading<'a>,
}

impl<'a> FetchOptions<'a> {
    /// Reads the options of FETCH.
    ///
    /// # Errors
    ///
    /// Fails if an argument breaks the grammar, or a value is outside its range.
    pub fn parse(args: impl IntoIterator<Item = &'a [u8]>) -> Result<FetchOptions<'a>, CommandError> {
        let given = Given::read(&FETCH, args)?;
        let reading = match (given.has(Word::Stream), given.draft_and_offset()?) {
            (false, None) => Reading::Whole,
            (true, None) => Reading::FromStart,
            (true, Some((draft, offset))) => Reading::From(draft, offset),
            (false, Some(_)) => {
                return Err(CommandError::OptionNeeds(Word::From.token(), Word::Stream.token()));
            }
        };
        if given.has(Word::Refresh) && given.has(Word::From) {
            return Err(CommandError::OptionsExclude(Word::Refresh.token(), Word::From.token()));
        }
        Ok(FetchOptions {
            reading,
            id: given.value(Word::Id),
            wait_ms: given.within(Word::Wait, 0, DAY_MS)?.unwrap_or(0),
            lease_ms: given.within(Word::Lease, 1, DAY_MS)?,
            accepted: if given.has(Word::Refresh) { Accepted::New } else { Accepted::Present },
            bond: if given.has(Word::Detached) { Bond::Detached } else { Bond::Connection },
        })
    }
}

/// The grammar of APPEND.
pub static APPEND: Grammar =
    Grammar { command: "CHATCACHE.APPEND", options: &[Word::Id, Word::Token], required: &[Word::Token] };

/// The grammar of COMMIT.
pub static COMMIT: Grammar = Grammar {
    command: "CHATCACHE.COMMIT",
    options: &[Word::Id, Word::Ex, Word::Px, Word::ExAt, Word::PxAt, Word::Stale, Word::Token, Word::Cost],
    required: &[Word::Token],
};

/// The options of COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitOptions<'a> {
    /// The application's own ID of the message.
    pub id: Option<&'a [u8]>,
    /// The TTL.
    pub ttl: Ttl,
    /// The grace after the TTL, in milliseconds; the setting's if not given.
    pub stale_ms: Option<i64>,
    /// The token of the lease; any bytes.
    pub token: &'a [u8],
    /// The cost of computing the response, in milliseconds, if the caller measured it.
    pub cost_ms: Option<u32>,
}

impl<'a> CommitOptions<'a> {
    /// Reads the options of COMMIT. Relative TTLs count from `now_ms`, in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// Fails if an argument breaks the grammar, a value is outside its range, or TOKEN is missing.
    pub fn parse(
        args: impl IntoIterator<Item = &'a [u8]>,
        now_ms: i64,
    ) -> Result<CommitOptions<'a>, CommandError> {
        let given = Given::read(&COMMIT, args)?;
        Ok(CommitOptions {
            id: given.value(Word::Id),
            ttl: parse_ttl(&COMMIT, &given, now_ms)?,
            stale_ms: given.within(Word::Stale, 0, MAX_STALE_MS)?,
            token: given.required(Word::Token)?,
            cost_ms: parse_cost(&given)?,
        })
    }
}

/// The grammar of RELEASE.
pub static RELEASE: Grammar =
    Grammar { command: "CHATCACHE.RELEASE", options: &[Word::Id, Word::Token], required: &[Word::Token] };

/// The options of RELEASE and APPEND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOptions<'a> {
    /// The application's own ID of the message.
    pub id: Option<&'a [u8]>,
    /// The token of the lease; any bytes.
    pub token: &'a [u8],
}

impl<'a> TokenOptions<'a> {
    /// Reads the options of a command with this grammar.
    ///
    /// # Errors
    ///
    /// Fails if an argument breaks the grammar, or TOKEN is missing.
    pub fn parse(
        grammar: &'static Grammar,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<TokenOptions<'a>, CommandError> {
        let given = Given::read(grammar, args)?;
        Ok(TokenOptions { id: given.value(Word::Id), token: given.required(Word::Token)? })
    }
}

/// The grammar of PERSONAS.
pub static PERSONAS: Grammar =
    Grammar { command: "CHATCACHE.PERSONAS", options: &[Word::Cursor, Word::Count], required: &[] };

/// The options of PERSONAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOptions {
    /// The cursor of the page before; 0 for the first page.
    pub cursor: u64,
    /// The number of personas on the page, approximately.
    pub count: u64,
}

impl PageOptions {
    /// The count if none is given, as that of SCAN.
    pub const DEFAULT_COUNT: u64 = 10;

    /// Reads the options of PERSONAS.
    ///
    /// # Errors
    ///
    /// Fails if an argument breaks the grammar, the cursor is no number or the count is not positive.
    pub fn parse<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Result<PageOptions, CommandError> {
        let given = Given::read(&PERSONAS, args)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_000;

    fn set(line: &str) -> Result<SetOptions<'_>, String> {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        SetOptions::parse(args, NOW).map_err(|error| error.message().into_owned())
    }

    fn ttl(line: &str) -> Ttl {
        set(line).unwrap().ttl
    }

    fn page(line: &str) -> Result<PageOptions, String> {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        PageOptions::parse(args).map_err(|error| error.message().into_owned())
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
    fn an_unknown_option_gets_the_list_of_those_there_are() {
        let text = "ERR syntax error: the options of CHATCACHE.SET are ID, EX, PX, EXAT, PXAT, KEEPTTL, NX, XX, STALE, \
             TOKEN and COST";
        for line in ["CURSOR 0", "EX 1 60", "NXX", "EX= 5", "\u{212a}EEPTTL"] {
            assert_eq!(set(line), Err(text.to_owned()), "{line}");
        }
        let refused = |grammar| RequestOptions::parse(grammar, [&b"EX"[..], b"1"]).unwrap_err().message();
        assert_eq!(refused(&GET), "ERR syntax error: the only option of CHATCACHE.GET is ID");
        let text = "ERR syntax error: the options of CHATCACHE.PERSONAS are CURSOR and COUNT";
        assert_eq!(page("MATCH *"), Err(text.to_owned()));
        static NONE: Grammar = Grammar { command: "CHATCACHE.HELP", options: &[], required: &[] };
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
        let release = TokenOptions::parse(&RELEASE, [&b"ID"[..], b"1"]);
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
        fn any_arguments_are_read_or_refused_with_an_error(
            args in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(Word::ALL.to_vec()).prop_map(|word| word.token().as_bytes().to_vec()),
                    any::<i64>().prop_map(|number| number.to_string().into_bytes()),
                    prop::collection::vec(any::<u8>(), 0..8),
                ],
                0..8,
            ),
            now: i64,
        ) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            for error in [
                SetOptions::parse(args.iter().copied(), now).err(),
                RequestOptions::parse(&GET, args.iter().copied()).err(),
                PageOptions::parse(args.iter().copied()).err(),
            ].into_iter().flatten() {
                prop_assert!(error.message().starts_with("ERR "));
            }
        }
    }

    #[test]
    fn no_options_of_fetch_are_the_default() {
        assert_eq!(FetchOptions::parse([]).ok(), Some(FetchOptions::default()));
    }
}

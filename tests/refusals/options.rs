//! Options that are none, stand twice, exclude each other, or have a value that cannot be.

use crate::support::{Raw, args};
use crate::witness::Witness;
use crate::words::Says;

const SET: &str = "CHATCACHE.SET msg ann helper hello new";

/// The four commands whose one option is ID.
const REQUESTS: [&str; 4] = ["GET", "DEL", "KEY", "INSPECT"];

#[test]
fn a_word_that_is_no_option_is_answered_with_those_there_are() {
    let mut witness = Witness::start();
    let options = "ERR syntax error: the options of CHATCACHE.SET are ID, EX, PX, EXAT, PXAT, KEEPTTL, NX, XX, STALE, \
         TOKEN and COST";
    for word in ["60", "NXX", "\"\"", "COUNT 1", "GET", "EX 60 60", "K\u{100}EPTTL", "\u{212a}EEPTTL"] {
        witness.refuses_line(&format!("{SET} {word}"), options);
    }
    for command in REQUESTS {
        for word in ["EX 60", "NX", "m-1", "ID m-1 more"] {
            witness.refuses_line(
                &format!("CHATCACHE.{command} msg ann helper hello {word}"),
                &format!("ERR syntax error: the only option of CHATCACHE.{command} is ID"),
            );
        }
    }
    for word in ["10", "MATCH *", "CURSOR 0 10"] {
        witness.refuses_line(
            &format!("CHATCACHE.PERSONAS {word}"),
            "ERR syntax error: the options of CHATCACHE.PERSONAS are CURSOR and COUNT",
        );
    }
}

#[test]
fn an_option_is_refused_twice_and_beside_one_that_it_excludes() {
    let mut witness = Witness::start();
    for option in [
        "ID m-1",
        "EX 10",
        "PX 10",
        "EXAT 99999999999",
        "PXAT 99999999999999",
        "KEEPTTL",
        "STALE 10",
        "NX",
        "XX",
        "TOKEN t",
        "COST 10",
    ] {
        let name = option.split(' ').next().expect("a word");
        let twice = format!("ERR syntax error: the option {name} is given twice");
        witness.refuses_line(&format!("{SET} {option} {}", option.to_lowercase()), &twice);
    }
    let expiries = ["EX 10", "PX 10", "EXAT 99999999999", "PXAT 99999999999999", "KEEPTTL"];
    for (one, other) in expiries.iter().flat_map(|one| expiries.map(|other| (*one, other))) {
        if one != other {
            let name = |option: &'static str| option.split(' ').next().expect("a word");
            let text = format!("ERR syntax error: {} and {} exclude each other", name(one), name(other));
            witness.refuses_line(&format!("{SET} {one} ID x {other}"), &text);
        }
    }
    witness.refuses_line(&format!("{SET} NX EX 10 XX"), "ERR syntax error: NX and XX exclude each other");
    witness.refuses_line(&format!("{SET} xx nx"), "ERR syntax error: XX and NX exclude each other");
    for command in REQUESTS {
        witness.refuses_line(
            &format!("CHATCACHE.{command} msg ann helper hello ID a id b"),
            "ERR syntax error: the option ID is given twice",
        );
    }
    let twice = "ERR syntax error: the option COUNT is given twice";
    witness.refuses_line("CHATCACHE.PERSONAS COUNT 1 CURSOR 0 count 1", twice);
}

#[test]
fn an_option_without_its_value_is_refused() {
    let mut witness = Witness::start();
    for option in ["ID", "EX", "PX", "EXAT", "PXAT", "STALE", "TOKEN", "COST"] {
        let text = format!("ERR syntax error: the option {option} needs a value");
        witness.refuses_line(&format!("{SET} {option}"), &text);
        witness.refuses_line(&format!("{SET} NX {}", option.to_lowercase()), &text);
    }
    for command in REQUESTS {
        let text = "ERR syntax error: the option ID needs a value";
        witness.refuses_line(&format!("CHATCACHE.{command} msg ann helper hello ID"), text);
    }
    for option in ["COUNT", "CURSOR"] {
        let text = format!("ERR syntax error: the option {option} needs a value");
        witness.refuses_line(&format!("CHATCACHE.PERSONAS {option}"), &text);
    }
}

#[test]
fn a_ttl_that_is_not_positive_or_has_no_end_in_time_is_refused() {
    let mut witness = Witness::start();
    let text = "ERR invalid expire time in 'chatcache.set' command: \
                it must be positive, and its end in milliseconds must fit 64 bits";
    for option in ["EX", "PX", "EXAT", "PXAT"] {
        for value in ["0", "-1", "-9223372036854775808"] {
            witness.refuses_line(&format!("{SET} {option} {value}"), text);
        }
    }
    // PXAT has no unit and no start that could overflow.
    for ttl in [
        "EX 9223372036854775807",
        "EX 9223372036854776",
        "EX 9223372036854775",
        "PX 9223372036854775807",
        "EXAT 9223372036854775807",
        "EXAT 9223372036854776",
    ] {
        witness.refuses_line(&format!("{SET} {ttl}"), text);
    }
}

#[test]
fn a_ttl_that_is_no_whole_number_is_refused() {
    let mut witness = Witness::start();
    let values: [&[u8]; 17] = [
        b"",
        b"x",
        b"1.5",
        b"1e3",
        b"+1",
        b" 1",
        b"1 ",
        b"1\n",
        b"01",
        b"-0",
        b"-",
        b"0x10",
        b"1\0",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"\xff",
        "\u{661}".as_bytes(),
    ];
    for option in ["EX", "PX", "EXAT", "PXAT"] {
        let text = format!("ERR value is not an integer or out of range: {option} takes a whole number");
        for value in values {
            let set = args!["CHATCACHE.SET", "msg", "ann", "helper", "hello", "new", option, value];
            witness.refuses(&set, &text);
        }
    }
}

#[test]
fn personas_wants_a_positive_count_and_a_cursor_that_it_gave() {
    let mut witness = Witness::start();
    for count in ["0", "-1", "-9223372036854775808"] {
        let text = "ERR syntax error: COUNT must be positive";
        witness.refuses_line(&format!("CHATCACHE.PERSONAS COUNT {count}"), text);
    }
    for count in ["\"\"", "ten", "1.0", "9223372036854775808", "1\u{100}"] {
        let text = "ERR value is not an integer or out of range: COUNT takes a whole number";
        witness.refuses_line(&format!("CHATCACHE.PERSONAS COUNT {count}"), text);
    }
    for cursor in ["\"\"", "x", "-1", "+0", "00", "0.0", "18446744073709551616", "0\0"] {
        witness.refuses_line(&format!("CHATCACHE.PERSONAS CURSOR {cursor}"), "ERR invalid cursor");
    }
    assert!(matches!(witness.con.say("CHATCACHE.PERSONAS CURSOR 0 COUNT 1"), Raw::Array(_)));
}

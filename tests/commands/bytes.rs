//! Arguments are bytes: any of them, few or many of them, and messages made to be mistaken for each other.

use std::collections::BTreeSet;
use testkit::{Raw, Server, args, fields, items};

use super::TIERS;

/// Names and messages that break code that takes bytes for text. Each is another one.
const STRANGE: [&[u8]; 16] = [
    b"\0",
    b"\0\0",
    b"a\0b",
    b"\n",
    b"\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"\xff",
    b"\xff\xfe\xfd",
    b"\xc3\x28",
    "\u{100}".as_bytes(),
    "\u{1f600}".as_bytes(),
    b" ",
    b":{}%",
    b"%s%n%d",
    b"*?[a]\\",
];

#[test]
fn any_bytes_may_stand_in_any_place_and_come_back_as_they_went() {
    let server = Server::start();
    let mut con = server.raw();
    for strange in STRANGE {
        for (user, persona, message, id) in [
            (strange, &b"helper"[..], &b"hello"[..], &b"m-1"[..]),
            (b"ann", strange, b"hello", b"m-1"),
            (b"ann", b"helper", strange, b"m-1"),
            (b"ann", b"helper", b"hello", strange),
            (strange, strange, strange, strange),
        ] {
            for tier in TIERS {
                let options = if tier == "session" { args!["ID", id].to_vec() } else { Vec::new() };
                let request = args![tier, user, persona, message].to_vec();
                let set = [
                    args!["CHATCACHE.SET"].to_vec(),
                    request.clone(),
                    args![strange].to_vec(),
                    options.clone(),
                ];
                assert_eq!(con.call(&set.concat()), Raw::simple("OK"));
                let request = [request, options].concat();
                let about = |command: &str| [vec![command.as_bytes().to_vec()], request.clone()].concat();
                assert_eq!(con.call(&about("CHATCACHE.GET")), Raw::bulk(strange), "{tier} {strange:?}");
                let known = fields(con.call(&about("CHATCACHE.INSPECT")));
                assert_eq!((&known["user"], &known["persona"]), (&Raw::bulk(user), &Raw::bulk(persona)));
                assert_eq!(Raw::Int(1), con.call(&[b"EXISTS".to_vec(), key(&known["key"])]));
                assert_eq!(con.call(&about("CHATCACHE.DEL")), Raw::Int(1));
            }
            assert_eq!(
                con.call(&args!["CHATCACHE.SET", "response", user, persona, message, "x"]),
                Raw::simple("OK")
            );
            let page = items(con.say("CHATCACHE.PERSONAS"));
            assert_eq!(fields(items(page[1].clone())[0].clone())["name"], Raw::bulk(persona));
            let drop = match persona == strange {
                true => args!["CHATCACHE.INVALIDATE", persona],
                false => args!["CHATCACHE.FORGET", user],
            };
            assert_eq!(con.call(&drop), Raw::Int(1));
        }
    }
    assert_eq!(con.number("DBSIZE"), 0);
    assert_eq!(con.text("PING"), "PONG");
}

fn key(reply: &Raw) -> Vec<u8> {
    match reply {
        Raw::Bulk(key) => key.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_two_strange_requests_share_an_entry() {
    let server = Server::start();
    let mut con = server.raw();
    let mut keys = BTreeSet::new();
    let pairs: Vec<_> = STRANGE.iter().flat_map(|user| STRANGE.map(|persona| (*user, persona))).collect();
    for (n, (user, persona)) in pairs.iter().enumerate() {
        let set = args!["CHATCACHE.SET", "response", user, persona, "hello", n];
        assert_eq!(con.call(&set), Raw::simple("OK"));
        let Raw::Bulk(key) = con.call(&args!["CHATCACHE.KEY", "response", user, persona, "hello"]) else {
            panic!("no key for {user:?} {persona:?}");
        };
        assert!(keys.insert(key), "{user:?} {persona:?}");
    }
    for (n, (user, persona)) in pairs.iter().enumerate() {
        let get = args!["CHATCACHE.GET", "response", user, persona, "hello"];
        assert_eq!(con.call(&get), Raw::bulk(n.to_string()));
    }
    assert_eq!(con.number("DBSIZE"), pairs.len() as i64);
}

#[test]
fn an_entry_of_any_length_comes_back_byte_for_byte() {
    let server = Server::start();
    let mut con = server.raw();
    let long: Vec<u8> = (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let responses = [vec![], vec![0], vec![b'x'; 64], long[..65_536].to_vec(), long, vec![b'a'; 16 << 20]];
    for response in responses {
        assert_eq!(
            con.call(&args!["CHATCACHE.SET", "msg", "ann", "helper", "hello", response]),
            Raw::simple("OK")
        );
        let got = con.say("CHATCACHE.GET any ann helper hello");
        assert!(got == Raw::Bulk(response.clone()), "an answer of {} bytes", response.len());
        let known = fields(con.say("CHATCACHE.INSPECT msg ann helper hello"));
        assert_eq!(known["raw-bytes"], Raw::Int(response.len() as i64));
        assert_eq!(con.stats("helper")["bytes"], response.len() as i64);
    }
}

#[test]
fn messages_and_names_may_be_as_long_as_the_limits_say() {
    let server = Server::start();
    let mut con = server.raw();
    let (name, message) = ("n".repeat(65_535), "m".repeat(16 << 20));
    for tier in TIERS {
        let options = if tier == "session" { args!["ID", name].to_vec() } else { Vec::new() };
        let set = args!["CHATCACHE.SET", tier, name, name, message, "answer"].to_vec();
        assert_eq!(con.call(&[set, options.clone()].concat()), Raw::simple("OK"));
        let get = args!["CHATCACHE.GET", tier, name, name, message].to_vec();
        assert_eq!(con.call(&[get, options].concat()), Raw::bulk("answer"));
    }
    let get = args!["CHATCACHE.GET", "msg", "", "helper", message[1..]];
    assert_eq!(con.call(&get), Raw::NullBulk);
    assert_eq!(con.call(&args!["CHATCACHE.INVALIDATE", name]), Raw::Int(4));
    con.ok("CHATCACHE.SET msg \"\" helper \"\" to-nothing");
    assert_eq!(con.say("CHATCACHE.GET any \"\" helper \"\""), Raw::bulk("to-nothing"));
}

#[test]
fn a_thousand_commands_may_be_under_way_at_once() {
    let server = Server::start();
    let mut con = server.raw();
    let about = |command: &str, n: usize| format!("{command} response ann helper m-{n}");
    let line = |line: String| line.split(' ').map(String::from).collect::<Vec<_>>();
    let sets: Vec<_> = (0..1000).map(|n| line(about("CHATCACHE.SET", n) + &format!(" answer-{n}"))).collect();
    assert_eq!(con.pipeline(&sets), vec![Raw::simple("OK"); 1000]);
    let gets: Vec<_> = (0..1000).map(|n| line(about("CHATCACHE.GET", n))).collect();
    let responses: Vec<_> = (0..1000).map(|n| Raw::bulk(format!("answer-{n}"))).collect();
    assert_eq!(con.pipeline(&gets), responses);
    let mixed: Vec<_> = (0..1000)
        .map(|n| match n % 4 {
            0 => line(about("CHATCACHE.DEL", n)),
            1 => line(about("CHATCACHE.GET", n)),
            2 => line(about("CHATCACHE.KEY", n)),
            _ => line("CHATCACHE.GET nowhere ann helper hello".to_owned()),
        })
        .collect();
    for (n, reply) in con.pipeline(&mixed).into_iter().enumerate() {
        match n % 4 {
            0 => assert_eq!(reply, Raw::Int(1)),
            1 => assert_eq!(reply, Raw::bulk(format!("answer-{n}"))),
            2 => assert!(matches!(reply, Raw::Bulk(_))),
            _ => assert!(matches!(reply, Raw::Error(_))),
        }
    }
    assert_eq!(con.number("DBSIZE"), 750);
}

/// Two messages with one MD5, as published with the attack by Wang and others.
fn colliding() -> [Vec<u8>; 2] {
    let first = "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89\
                 55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b\
                 d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0\
                 e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70";
    let second = "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f89\
                  55ad340609f4b30283e4888325f1415a085125e8f7cdc99fd91dbd7280373c5b\
                  d8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0\
                  e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70";
    let byte = |hex: &str, at: usize| u8::from_str_radix(&hex[2 * at..][..2], 16).expect("hex digits");
    [first, second].map(|hex| (0..128).map(|at| byte(hex, at)).collect())
}

#[test]
fn a_message_with_the_md5_of_another_never_gets_its_entry() {
    let server = Server::start();
    let mut con = server.raw();
    let [first, second] = &colliding();
    for tier in TIERS {
        let about = |command: &str, message: &[u8], more: &[&str]| {
            let mut line = args![command, tier, "ann", "helper", message].to_vec();
            line.extend(more.iter().map(|word| word.as_bytes().to_vec()));
            line
        };
        let name = con.call(&about("CHATCACHE.KEY", first, &[]));
        assert_eq!(con.call(&about("CHATCACHE.KEY", second, &[])), name, "they do collide");
        assert_eq!(con.call(&about("CHATCACHE.SET", first, &["to-first", "EX", "9000"])), Raw::simple("OK"));
        for command in ["CHATCACHE.GET", "CHATCACHE.INSPECT"] {
            assert_eq!(con.call(&about(command, second, &[])), Raw::NullBulk, "{tier}");
        }
        assert_eq!(con.call(&args!["CHATCACHE.GET", "any", "ann", "helper", second]), Raw::NullBulk);
        assert_eq!(con.call(&about("CHATCACHE.DEL", second, &[])), Raw::Int(0));
        assert_eq!(con.call(&about("CHATCACHE.SET", second, &["to-second", "XX"])), Raw::NullBulk);
        assert_eq!(con.call(&about("CHATCACHE.GET", first, &[])), Raw::bulk("to-first"));

        // The key holds one entry: the later one, with a TTL of its own.
        assert_eq!(
            con.call(&about("CHATCACHE.SET", second, &["to-second", "NX", "KEEPTTL"])),
            Raw::simple("OK")
        );
        assert_eq!(con.call(&about("CHATCACHE.GET", second, &[])), Raw::bulk("to-second"));
        assert_eq!(con.call(&about("CHATCACHE.GET", first, &[])), Raw::NullBulk);
        let Raw::Int(ttl) = con.call(&args!["PTTL", key(&name)]) else { panic!("no TTL") };
        let wanted = [300, 3600, 86_400, 3600][TIERS.iter().position(|t| *t == tier).expect("a tier")] * 1000;
        assert!((wanted - 30_000..=wanted).contains(&ttl), "{tier}: {ttl}");
        assert_eq!(con.call(&about("CHATCACHE.DEL", second, &[])), Raw::Int(1));
    }
}

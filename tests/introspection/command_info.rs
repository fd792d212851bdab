//! COMMAND: the server's facts about each command, and redis-cli's hints.

use std::collections::{BTreeMap, BTreeSet};
use testkit::{Raw, Server, fields, items, pairs, text_of, texts};

/// Each command: its arity, its flags, its first and last key and their step.
const COMMANDS: [(&str, i64, &str, [i64; 3]); 16] = [
    ("get", -5, "readonly fast", [3, 3, 1]),
    ("set", -6, "write denyoom fast", [3, 3, 1]),
    ("del", -5, "write fast", [3, 3, 1]),
    ("fetch", -5, "readonly blocking", [3, 3, 1]),
    ("append", -8, "write denyoom fast", [3, 3, 1]),
    ("commit", -7, "write denyoom fast", [3, 3, 1]),
    ("release", -7, "readonly fast", [3, 3, 1]),
    ("invalidate", -2, "write fast", [1, -1, 1]),
    ("softinvalidate", -2, "write fast", [1, -1, 1]),
    ("forget", -2, "write", [0, 0, 0]),
    ("flush", -1, "write", [0, 0, 0]),
    ("key", -5, "readonly fast", [3, 3, 1]),
    ("inspect", -5, "readonly fast", [3, 3, 1]),
    ("personas", -1, "readonly", [0, 0, 0]),
    ("stats", -1, "readonly fast", [1, 1, 1]),
    ("help", 1, "readonly fast loading stale", [0, 0, 0]),
];

#[test]
fn the_server_lists_exactly_the_module_s_commands() {
    let with = Server::start();
    let without = Server::builder().without_module().start();
    let listed = texts(with.raw().say("COMMAND LIST FILTERBY MODULE chatcache"));
    let wanted = COMMANDS.map(|(name, ..)| format!("chatcache.{name}"));
    assert_eq!(listed.len(), wanted.len());
    assert_eq!(BTreeSet::from_iter(listed), BTreeSet::from(wanted));
    let counts = [with, without].map(|server| server.raw().number("COMMAND COUNT"));
    assert_eq!(counts[0] - counts[1], COMMANDS.len() as i64);
}

#[test]
fn command_info_is_true_of_every_command() {
    let server = Server::start();
    let mut con = server.raw();
    for (name, arity, flags, keys) in COMMANDS {
        let info =
            items(items(con.say(&format!("COMMAND INFO CHATCACHE.{}", name.to_uppercase())))[0].clone());
        assert_eq!(text_of(&info[0]), format!("chatcache.{name}"));
        assert_eq!(info[1], Raw::Int(arity), "{name}");
        let told: BTreeSet<String> = texts(info[2].clone()).into_iter().collect();
        let wanted = flags.split(' ').chain(["module"]).map(str::to_owned).collect();
        assert_eq!(told, wanted, "{name}");
        assert_eq!(info[3..6], keys.map(Raw::Int), "{name}");
    }
}

/// An argument as the manual of a command would write it.
fn written(argument: BTreeMap<String, Raw>) -> String {
    let kind = text_of(&argument["type"]);
    let token = argument.get("token").map(text_of);
    let parts = |between: &str| {
        let parts = items(argument["arguments"].clone()).into_iter().map(fields);
        parts.map(written).collect::<Vec<_>>().join(between)
    };
    let mut text = match kind.as_str() {
        "pure-token" => token.expect("a token"),
        "oneof" => parts("|"),
        "block" => {
            let parts = parts(" ");
            token.map_or_else(|| parts.clone(), |token| format!("{token} {parts}"))
        }
        "key" | "string" | "integer" | "unix-time" => {
            let name = text_of(&argument["name"]);
            token.map_or_else(|| name.clone(), |token| format!("{token} {name}"))
        }
        other => panic!("an argument of type {other}"),
    };
    let flags = argument.get("flags").cloned().map(texts).unwrap_or_default();
    if flags.contains(&"multiple".to_owned()) {
        text = format!("{text} [{text} ...]");
    }
    if flags.contains(&"optional".to_owned()) {
        text = format!("[{text}]");
    }
    text
}

#[test]
fn command_docs_tell_how_each_command_is_written() {
    let server = Server::start();
    let mut con = server.raw();
    const TIERS: &str = "msg|persona|session|response";
    let request = format!("{TIERS} user persona message [ID id]");
    let expiry = "EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL";
    for (name, manual) in [
        ("get", format!("{TIERS}|any user persona message [ID id]")),
        (
            "set",
            format!(
                "{TIERS} user persona message response [ID id] [{expiry}] [NX|XX] \
                 [STALE stale-milliseconds] [TOKEN token] [COST cost-milliseconds]"
            ),
        ),
        ("del", request.clone()),
        (
            "fetch",
            format!(
                "{request} [WAIT wait-milliseconds] [LEASE lease-milliseconds] [REFRESH] [DETACHED] \
                 [STREAM] [FROM draft offset]"
            ),
        ),
        ("append", format!("{TIERS} user persona message piece [ID id] TOKEN token")),
        (
            "commit",
            format!(
                "{request} [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds] \
                 [STALE stale-milliseconds] TOKEN token [COST cost-milliseconds]"
            ),
        ),
        ("release", format!("{request} TOKEN token")),
        ("key", request.clone()),
        ("inspect", request),
        ("invalidate", "persona [persona ...]".to_owned()),
        ("softinvalidate", "persona [persona ...]".to_owned()),
        ("forget", "user [user ...]".to_owned()),
        ("flush", format!("[{TIERS} [{TIERS} ...]]")),
        ("personas", "[CURSOR cursor] [COUNT count]".to_owned()),
        ("stats", "[persona]".to_owned()),
        ("help", String::new()),
    ] {
        let docs = pairs(con.say(&format!("COMMAND DOCS chatcache.{name}")));
        assert_eq!((docs.len(), docs[0].0.as_str()), (1, &*format!("chatcache.{name}")));
        let docs = fields(docs[0].1.clone());
        assert_eq!(text_of(&docs["group"]), "module", "{name}");
        assert_eq!(text_of(&docs["module"]), "chatcache", "{name}");
        assert_eq!(text_of(&docs["since"]), "0.1.0", "{name}");
        assert!(text_of(&docs["complexity"]).starts_with("O("), "{name}");
        assert!(text_of(&docs["summary"]).len() > 15, "{name}");
        let arguments = docs.get("arguments").cloned().map(items).unwrap_or_default();
        let arguments: Vec<String> = arguments.into_iter().map(fields).map(written).collect();
        assert_eq!(arguments.join(" "), manual, "{name}");
    }
}

#[test]
fn the_persona_is_the_key_of_each_command() {
    let server = Server::start();
    let mut con = server.raw();
    for (line, flags) in [
        ("GET any ann helper hello ID m-1", "RO access"),
        ("INSPECT msg ann helper hello", "RO access"),
        ("STATS helper", "RO access"),
        ("KEY msg ann helper hello", "RO"),
        ("SET msg ann helper hello answer EX 10", "RW update"),
        ("DEL msg ann helper hello", "RM delete"),
        ("INVALIDATE helper", "RM delete"),
        ("FETCH msg ann helper hello WAIT 10", "RO access"),
        ("RELEASE msg ann helper hello TOKEN token", "RO"),
        ("SOFTINVALIDATE helper", "RW update"),
    ] {
        assert_eq!(texts(con.say(&format!("COMMAND GETKEYS CHATCACHE.{line}"))), ["helper"], "{line}");
        let keys = items(con.say(&format!("COMMAND GETKEYSANDFLAGS CHATCACHE.{line}")));
        assert_eq!(keys.len(), 1, "{line}");
        let key = items(keys[0].clone());
        assert_eq!(text_of(&key[0]), "helper", "{line}");
        let told: BTreeSet<String> = texts(key[1].clone()).into_iter().collect();
        assert_eq!(told, flags.split(' ').map(str::to_owned).collect(), "{line}");
    }
    let keys = con.say("COMMAND GETKEYS CHATCACHE.INVALIDATE one two three");
    assert_eq!(texts(keys), ["one", "two", "three"]);
    for line in ["FORGET ann", "FLUSH msg", "PERSONAS COUNT 1"] {
        let reply = con.say(&format!("COMMAND GETKEYS CHATCACHE.{line}"));
        assert!(matches!(&reply, Raw::Error(text) if text.contains("no key arguments")), "{line}: {reply:?}");
    }
}

//! The refusals of FETCH, RELEASE, SOFTINVALIDATE and the options of SET, word for word.

use testkit::{Q, Raw, RawClient, Server, lease, replica_caught_up, set_line, waiter};

#[track_caller]
fn refused(con: &mut RawClient, line: &str, text: &str) {
    assert_eq!(con.say(line), Raw::Error(text.to_owned()), "{line}");
}

const ANY_NUMBER: [&str; 7] = ["x", "\"\"", "1.5", "+1", "01", "-0", "9223372036854775808"];

#[test]
fn a_refusal_changes_nothing() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).start();
    let mut con = master.raw();
    con.ok(&set_line("response ann bot there", "answer", ""));
    let token = lease(&mut con, "response ann bot leased");
    let mut waiting = waiter(&master, "response ann bot leased");
    replica_caught_up(&master, &replica);
    let state = |con: &mut RawClient| {
        let mut stats = con.stats("");
        stats.retain(|name, _| name != "index-bytes");
        (
            stats,
            con.number("DBSIZE"),
            con.text("INFO replication")
                .lines()
                .filter(|line| line.starts_with("master_repl_offset"))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    };
    let (before, size, _) = state(&mut con);

    let wrong = |command: &str| format!("ERR wrong number of arguments for 'chatcache.{command}' command");
    for (line, command) in [
        ("CHATCACHE.FETCH", "fetch"),
        ("CHATCACHE.FETCH response ann bot", "fetch"),
        ("CHATCACHE.RELEASE", "release"),
        ("CHATCACHE.RELEASE response ann bot hi", "release"),
        ("CHATCACHE.RELEASE response ann bot hi TOKEN", "release"),
        ("CHATCACHE.SOFTINVALIDATE", "softinvalidate"),
    ] {
        refused(&mut con, line, &wrong(command));
    }
    let unknown = "ERR unknown tier: use msg, persona, session or response";
    for line in [
        "CHATCACHE.FETCH any ann bot hi",
        "CHATCACHE.FETCH tier ann bot hi WAIT 1",
        "CHATCACHE.RELEASE any ann bot hi TOKEN x",
    ] {
        refused(&mut con, line, unknown);
    }
    refused(
        &mut con,
        "CHATCACHE.FETCH response \"\" bot hi",
        "ERR the user is empty: the tier response needs one",
    );
    refused(&mut con, "CHATCACHE.FETCH msg ann \"\" hi", "ERR the persona is empty");
    refused(
        &mut con,
        "CHATCACHE.FETCH session ann bot hi ID \"\"",
        "ERR the ID is empty: leave ID out if there is none",
    );
    refused(&mut con, "CHATCACHE.SOFTINVALIDATE bot \"\"", "ERR the persona is empty");

    let fetch = "ERR syntax error: the options of CHATCACHE.FETCH are ID, WAIT, LEASE, REFRESH, DETACHED, STREAM and FROM";
    for option in ["NX", "TOKEN x", "EX 1", "WAIT 1 5", "\"\"", "LEASES 1"] {
        refused(&mut con, &format!("CHATCACHE.FETCH {Q} {option}"), fetch);
    }
    let release = "ERR syntax error: the options of CHATCACHE.RELEASE are ID and TOKEN";
    refused(&mut con, &format!("CHATCACHE.RELEASE {Q} WAIT 1"), release);
    refused(&mut con, &format!("CHATCACHE.RELEASE {Q} TOKEN x y"), release);
    refused(
        &mut con,
        &format!("CHATCACHE.RELEASE {Q} ID 1"),
        "ERR syntax error: the option TOKEN is missing",
    );
    refused(
        &mut con,
        &format!("CHATCACHE.RELEASE {Q} ID 1 TOKEN"),
        "ERR syntax error: the option TOKEN needs a value",
    );
    let of_set = "ERR syntax error: the options of CHATCACHE.SET are ID, EX, PX, EXAT, PXAT, KEEPTTL, NX, XX, STALE, TOKEN and COST";
    for option in ["WAIT 1", "LEASE 1", "STALE 1 COST 1 2"] {
        refused(&mut con, &set_line(Q, "new", option), of_set);
    }

    for (command, option) in
        [("FETCH", "WAIT"), ("FETCH", "LEASE"), ("SET", "STALE"), ("SET", "COST"), ("SET", "TOKEN")]
    {
        let head =
            if command == "SET" { format!("CHATCACHE.SET {Q} new") } else { format!("CHATCACHE.FETCH {Q}") };
        refused(
            &mut con,
            &format!("{head} {option}"),
            &format!("ERR syntax error: the option {option} needs a value"),
        );
        let lower = option.to_lowercase();
        refused(
            &mut con,
            &format!("{head} {option} 1 {lower} 1"),
            &format!("ERR syntax error: the option {option} is given twice"),
        );
        if option == "TOKEN" {
            continue;
        }
        for value in ANY_NUMBER {
            let text = format!("ERR value is not an integer or out of range: {option} takes a whole number");
            refused(&mut con, &format!("{head} {option} {value}"), &text);
        }
        let (min, max) = match option {
            "WAIT" => (0, 86_400_000),
            "LEASE" => (1, 86_400_000),
            "COST" => (0, 4_294_967_295),
            _ => (0, 100 * 366 * 86_400_000_i64),
        };
        for value in [min - 1, max + 1, i64::MAX, i64::MIN] {
            let text = format!("ERR value is out of range: {option} takes {min} to {max}");
            refused(&mut con, &format!("{head} {option} {value}"), &text);
        }
    }
    refused(
        &mut con,
        &set_line(Q, "new", "KEEPTTL STALE 1"),
        "ERR syntax error: KEEPTTL and STALE exclude each other",
    );
    refused(
        &mut con,
        &set_line(Q, "new", "STALE 1 KEEPTTL"),
        "ERR syntax error: KEEPTTL and STALE exclude each other",
    );
    let end = "ERR invalid expire time in 'chatcache.set' command: it must be positive, and its end in milliseconds must fit 64 bits";
    refused(&mut con, &set_line(Q, "new", "PXAT 9223372036854775807 STALE 1"), end);

    let (after, now, _) = state(&mut con);
    assert_eq!((after, now), (before, size));
    replica_caught_up(&master, &replica);
    assert_eq!(replica.raw().number("DBSIZE"), size);
    con.ok(&set_line("response ann bot leased", "answer", &format!("TOKEN {token}")));
    assert_eq!(waiting.read(), testkit::hit("answer"));
}

#[test]
fn the_bounds_themselves_are_taken() {
    let server = Server::start();
    let mut con = server.raw();
    for (n, option) in
        ["WAIT 0", "WAIT 86400000", "LEASE 1", "LEASE 86400000", "lease 5 wait 6 id 7", "ID WAIT"]
            .iter()
            .enumerate()
    {
        lease(&mut con, &format!("session ann bot m-{n} {option}"));
    }
    for option in ["STALE 0", "STALE 3162240000000", "COST 0 stale 5", "nx cost 4294967295 ex 5", "token x"] {
        let reply = con.say(&set_line(Q, "answer", option));
        assert!(!matches!(reply, Raw::Error(_)), "{option}: {reply:?}");
    }
}

#[test]
fn a_refused_response_leaves_the_lease_to_its_holder() {
    let server = Server::builder().config("chatcache.max-response-bytes 10").start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    let text = "ERR the response is larger than chatcache.max-response-bytes (10)";
    refused(&mut con, &set_line(Q, "more-than-ten-bytes", &format!("TOKEN {token}")), text);
    con.ok("CONFIG SET maxmemory 1 maxmemory-policy noeviction");
    assert!(
        matches!(con.say(&set_line(Q, "short", &format!("TOKEN {token}"))), Raw::Error(text) if text.starts_with("OOM "))
    );
    con.ok("CONFIG SET maxmemory 0");
    con.ok(&set_line(Q, "short", &format!("TOKEN {token}")));
}

#[test]
fn bad_settings_of_leases_are_refused() {
    let server = Server::start();
    let mut con = server.raw();
    for bad in [
        "ttl-jitter 51",
        "ttl-jitter -1",
        "ttl-jitter x",
        "lease-ms 0",
        "lease-ms 86400001",
        "stale-msg -1",
        "max-waiters -1",
    ] {
        let reply = con.say(&format!("CONFIG SET chatcache.{bad}"));
        assert!(matches!(reply, Raw::Error(_)), "{bad}: {reply:?}");
    }
}

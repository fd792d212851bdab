//! CONFIG GET, SET and REWRITE.

use testkit::{Raw, RawClient, Server, args, eventually, fill_persona};

use super::{DEFAULTS, defaults_but, settings};

#[track_caller]
fn seconds_left(con: &mut RawClient, tier: &str) -> i64 {
    con.ok(&format!("CHATCACHE.SET {tier} ann helper hello answer"));
    let key = con.text(&format!("CHATCACHE.KEY {tier} ann helper hello"));
    con.number(&format!("PTTL {key}")) / 1000
}

#[test]
fn config_get_tells_every_setting_and_its_default() {
    let server = Server::start();
    assert_eq!(settings(&mut server.raw()), defaults_but(&[]));
}

#[test]
fn a_ttl_that_is_set_is_that_of_the_next_entry() {
    let server = Server::start();
    let mut con = server.raw();
    for (n, tier) in ["msg", "persona", "session", "response"].into_iter().enumerate() {
        let before = seconds_left(&mut con, tier);
        let ttl = 1_000_000 * (n as i64 + 1);
        con.ok(&format!("CONFIG SET chatcache.ttl-{tier} {ttl}"));
        let key = con.text(&format!("CHATCACHE.KEY {tier} ann helper hello"));
        assert!(con.number(&format!("PTTL {key}")) / 1000 <= before, "what is stored keeps its end");
        let left = seconds_left(&mut con, tier);
        assert!((ttl - 30..=ttl).contains(&left), "{tier}: {left}");
    }
    let wanted = ["1000000", "2000000", "3000000", "4000000"];
    let names = ["msg", "persona", "session", "response"].map(|tier| format!("chatcache.ttl-{tier}"));
    assert_eq!(names.map(|name| settings(&mut con)[&name].clone()), wanted);
}

#[test]
fn the_limit_of_a_response_may_be_set_in_units_and_is_kept_to_the_byte() {
    let server = Server::start();
    let mut con = server.raw();
    for (value, bytes) in
        [("1", 1), ("100", 100), ("1kb", 1024), ("2K", 2000), ("1Mb", 1 << 20), ("20mb", 20 << 20)]
    {
        con.ok(&format!("CONFIG SET chatcache.max-response-bytes {value}"));
        assert_eq!(settings(&mut con)["chatcache.max-response-bytes"], bytes.to_string());
        for (size, fits) in [(bytes, true), (bytes + 1, false)] {
            let set = args!["CHATCACHE.SET", "msg", "ann", "helper", "hello", vec![b'x'; size]];
            assert_eq!(con.call(&set) == Raw::simple("OK"), fits, "{size} bytes of {value}");
        }
    }
}

#[test]
fn the_sync_limit_selects_the_invalidations_that_delete_their_keys_at_once() {
    let server = Server::start();
    let mut con = server.raw();
    for (limit, keys_left) in [(9, 10), (10, 0), (0, 10), (1_000_000, 0)] {
        con.ok(&format!("CONFIG SET chatcache.invalidate-sync-limit {limit}"));
        fill_persona(&mut con, "ann", "helper", 10, 1);
        let replies = con.transaction(&["CHATCACHE.INVALIDATE helper", "DBSIZE"]);
        assert_eq!(replies, [Raw::Int(10), Raw::Int(keys_left)], "a limit of {limit}");
        eventually(|| con.number("DBSIZE") == 0);
    }
}

#[test]
fn a_bad_value_is_refused_with_a_reason_and_the_old_one_stays() {
    let server = Server::start();
    let mut con = server.raw();
    let ttl = "argument must be between 1 and 3162240000 inclusive";
    let bytes = "argument must be between 1 and 536870912 inclusive";
    let limit = "argument must be between 0 and 1000000 inclusive";
    let check = "argument must be between 0 and 3600 inclusive";
    let (l1, words) = ("argument must be", "argument(s) must be one of the following");
    let (number, memory) = ("argument couldn't be parsed into an integer", "argument must be a memory value");
    for (setting, value, reason) in [
        ("ttl-msg", "0", ttl),
        ("ttl-persona", "-1", ttl),
        ("ttl-session", "3162240001", ttl),
        ("ttl-response", "9223372036854775807", ttl),
        ("ttl-msg", "9223372036854775808", number),
        ("ttl-msg", "1.5", number),
        ("ttl-msg", "5s", number),
        ("ttl-msg", "\"\"", number),
        ("ttl-msg", "+5", number),
        ("max-response-bytes", "0", bytes),
        ("max-response-bytes", "1gb", bytes),
        ("max-response-bytes", "16xb", memory),
        ("max-response-bytes", "much", memory),
        ("invalidate-sync-limit", "-1", limit),
        ("invalidate-sync-limit", "1000001", limit),
        ("invalidate-sync-limit", "1kb", number),
        ("l1-max-bytes", "-1", l1),
        ("l1-max-bytes", "64tb", memory),
        ("key-check-s", "3601", check),
        ("key-check-s", "-1", check),
        ("compression", "gzip", words),
        ("compression", "2", words),
        ("compression-min-bytes", "some", memory),
    ] {
        match con.say(&format!("CONFIG SET chatcache.{setting} {value}")) {
            Raw::Error(text) => assert!(
                text.starts_with("ERR ") && text.contains(setting) && text.contains(reason),
                "{setting} {value}: {text}"
            ),
            other => panic!("{setting} {value} gave {other:?}"),
        }
        assert_eq!(settings(&mut con), defaults_but(&[]), "{setting} {value}");
    }
}

#[test]
fn several_settings_are_set_together_or_not_at_all() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CONFIG SET chatcache.ttl-msg 5 chatcache.max-response-bytes 1kb maxmemory-samples 3");
    let changed = [("chatcache.ttl-msg", "5"), ("chatcache.max-response-bytes", "1024")];
    assert_eq!(settings(&mut con), defaults_but(&changed));
    let reply = con.say("CONFIG SET chatcache.ttl-msg 6 chatcache.ttl-persona 7 chatcache.ttl-session 0");
    assert!(matches!(reply, Raw::Error(_)), "{reply:?}");
    assert_eq!(settings(&mut con), defaults_but(&changed));
    let reply = con.say("CONFIG SET chatcache.no-such-setting 1");
    assert!(matches!(reply, Raw::Error(_)), "{reply:?}");
}

#[test]
fn config_rewrite_keeps_settings_over_a_restart() {
    let mut server = Server::builder()
        .module_args(&["ttl-session", "111"])
        .config("chatcache.ttl-persona 222")
        .config("chatcache.ttl-response 333")
        .start();
    let mut con = server.raw();
    let started = [
        ("chatcache.ttl-session", "111"),
        ("chatcache.ttl-persona", "222"),
        ("chatcache.ttl-response", "333"),
    ];
    assert_eq!(settings(&mut con), defaults_but(&started));
    let set = [
        ("chatcache.ttl-msg", "77"),
        ("chatcache.ttl-persona", "88"),
        // Back to the defaults.
        ("chatcache.ttl-session", "86400"),
        ("chatcache.ttl-response", "3600"),
        ("chatcache.max-response-bytes", "1048576"),
        ("chatcache.invalidate-sync-limit", "0"),
    ];
    for (name, value) in set {
        con.ok(&format!("CONFIG SET {name} {value}"));
    }
    con.ok("CONFIG REWRITE");
    drop(con);
    server.restart_without_saving();
    assert_eq!(settings(&mut server.raw()), defaults_but(&set));
    assert!(
        server.log().contains("is ready: ttl-msg 77, ttl-persona 88, ttl-session 86400"),
        "{}",
        server.log()
    );
}

#[test]
fn settings_without_config_rewrite_are_gone_with_the_restart() {
    let mut server = Server::builder().config("chatcache.ttl-msg 11").start();
    server.raw().ok("CONFIG SET chatcache.ttl-msg 22");
    server.restart_without_saving();
    assert_eq!(settings(&mut server.raw()), defaults_but(&[("chatcache.ttl-msg", "11")]));
}

#[test]
fn the_redis_conf_of_the_repository_has_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/redis.conf");
    let conf = std::fs::read_to_string(path).expect("redis.conf");
    let lines: Vec<&str> = conf.lines().filter(|line| line.starts_with("chatcache.")).collect();
    let mut builder = Server::builder().config("chatcache.ttl-msg 1");
    for line in &lines {
        builder = builder.config(*line);
    }
    let server = builder.start();
    assert_eq!(settings(&mut server.raw()), defaults_but(&[]));
    for (name, _) in DEFAULTS {
        assert!(lines.iter().any(|line| line.split(' ').next() == Some(name)), "{name} in redis.conf");
    }
}

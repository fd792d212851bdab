//! Arguments of loadmodule and lines of redis.conf, good and bad.

use testkit::{Raw, Server, fields, items, text_of, texts};

use super::{defaults_but, settings};

#[test]
fn loadmodule_takes_settings_with_and_without_their_prefix_and_in_units() {
    let arguments = [
        ["ttl-msg", "5"],
        ["chatcache.ttl-persona", "6"],
        ["CHATCACHE.TTL-SESSION", "7"],
        ["Ttl-Response", "8"],
        ["max-response-bytes", "32mb"],
        ["chatcache.invalidate-sync-limit", "9"],
        ["compression", "LZ4"],
        ["l1-max-bytes", "0"],
    ];
    let server = Server::builder().module_args(&arguments.concat()).start();
    let wanted = defaults_but(&[
        ("chatcache.ttl-msg", "5"),
        ("chatcache.ttl-persona", "6"),
        ("chatcache.ttl-session", "7"),
        ("chatcache.ttl-response", "8"),
        ("chatcache.max-response-bytes", "33554432"),
        ("chatcache.invalidate-sync-limit", "9"),
        ("chatcache.compression", "lz4"),
        ("chatcache.l1-max-bytes", "0"),
    ]);
    let mut con = server.raw();
    assert_eq!(settings(&mut con), wanted);
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    let key = con.text("CHATCACHE.KEY msg ann helper hello");
    assert!((1..=5_000).contains(&con.number(&format!("PTTL {key}"))));
}

#[test]
fn a_size_has_the_units_of_redis_conf_in_loadmodule_too() {
    for (written, bytes) in
        [("7", 7), ("7b", 7), ("7k", 7_000), ("7KB", 7 << 10), ("7m", 7_000_000), ("7mB", 7 << 20)]
    {
        let server = Server::builder().module_args(&["max-response-bytes", written]).start();
        let told = settings(&mut server.raw());
        assert_eq!(told["chatcache.max-response-bytes"], bytes.to_string(), "{written}");
    }
}

#[test]
fn lines_of_redis_conf_are_settings_and_win_over_loadmodule() {
    let server = Server::builder()
        .module_args(&["ttl-msg", "5", "ttl-persona", "6"])
        .config("chatcache.ttl-msg 50")
        .config("CHATCACHE.max-response-bytes 1MB")
        .start();
    let wanted = defaults_but(&[
        ("chatcache.ttl-msg", "50"),
        ("chatcache.ttl-persona", "6"),
        ("chatcache.max-response-bytes", "1048576"),
    ]);
    assert_eq!(settings(&mut server.raw()), wanted);
}

/// The log of a server that does not start with these.
#[track_caller]
fn log_of_a_server_that_does_not_start(arguments: &[&str], line: Option<&str>) -> String {
    let mut builder = Server::builder().module_args(arguments);
    if let Some(line) = line {
        builder = builder.config(line);
    }
    match builder.try_start() {
        Ok(_) => panic!("the server started with {arguments:?} {line:?}"),
        Err(log) => log,
    }
}

#[test]
fn a_bad_argument_of_loadmodule_stops_the_start_and_the_log_says_why() {
    let ttl = "takes a whole number from 1 to 3162240000";
    let bytes = "max-response-bytes takes a size from 1 to 536870912 bytes, such as 16mb";
    for (arguments, reason) in [
        (&["ttl-msg", "0"][..], format!("ttl-msg {ttl}")),
        (&["chatcache.ttl-persona", "-1"], format!("ttl-persona {ttl}")),
        (&["ttl-session", "3162240001"], format!("ttl-session {ttl}")),
        (&["ttl-response", "9223372036854775808"], format!("ttl-response {ttl}")),
        (&["ttl-msg", "5s"], format!("ttl-msg {ttl}")),
        (&["ttl-msg", ""], format!("ttl-msg {ttl}")),
        (&["ttl-msg", "\u{661}"], format!("ttl-msg {ttl}")),
        (&["max-response-bytes", "16xb"], bytes.to_owned()),
        (&["max-response-bytes", "0"], bytes.to_owned()),
        (&["max-response-bytes", "513mb"], bytes.to_owned()),
        (&["max-response-bytes", "mb"], bytes.to_owned()),
        (
            &["invalidate-sync-limit", "1000001"],
            "invalidate-sync-limit takes a whole number from 0 to 1000000".to_owned(),
        ),
        (&["ttl-persona", "7", "ttl-msg"], "the setting ttl-msg in loadmodule has no value".to_owned()),
        (
            &["no-such-setting", "1"],
            "unknown setting 'no-such-setting' in loadmodule: known are ttl-msg, ttl-persona".to_owned(),
        ),
        (&["other.ttl-msg", "1"], "unknown setting 'other.ttl-msg' in loadmodule".to_owned()),
        (&["ttl\u{100}\n", "1"], r"unknown setting 'ttl\xc4\x80\n' in loadmodule".to_owned()),
    ] {
        let log = log_of_a_server_that_does_not_start(arguments, None);
        assert!(log.contains(&format!("<chatcache> not loaded: {reason}")), "{arguments:?}:\n{log}");
    }
}

#[test]
fn a_number_is_written_in_loadmodule_as_it_is_for_config_set() {
    for value in ["+5", "007", " 5", "5 "] {
        let log = log_of_a_server_that_does_not_start(&["ttl-msg", value], None);
        assert!(log.contains("ttl-msg takes a whole number"), "{value:?}:\n{log}");
    }
}

#[test]
fn a_bad_line_of_redis_conf_stops_the_start_and_the_log_says_why() {
    for (line, reason) in [
        ("chatcache.ttl-msg 0", "argument must be between 1 and 3162240000 inclusive"),
        ("chatcache.ttl-session -5", "argument must be between 1 and 3162240000 inclusive"),
        ("chatcache.ttl-persona never", "argument couldn't be parsed into an integer"),
        ("chatcache.max-response-bytes 1tb", "argument must be a memory value"),
        ("chatcache.max-response-bytes 600mb", "argument must be between 1 and 536870912 inclusive"),
    ] {
        let log = log_of_a_server_that_does_not_start(&[], Some(line));
        assert!(log.contains(reason), "{line}:\n{log}");
        let setting = line.split(' ').next().expect("a name");
        assert!(log.contains(setting), "{line}:\n{log}");
        assert!(log.contains("<chatcache> not loaded"), "{line}:\n{log}");
    }
    let log = log_of_a_server_that_does_not_start(&[], Some("chatcache.no-such-setting 1"));
    assert!(log.contains("Module Configuration detected without"), "{log}");
}

/// The module that other servers of this test are started with.
fn module_path() -> String {
    let server = Server::start();
    let mut con = server.raw();
    let mut modules = items(con.say("MODULE LIST")).into_iter().map(fields);
    let ours = modules.find(|module| module["name"] == Raw::bulk("chatcache")).expect("our module");
    text_of(&ours["path"])
}

#[test]
fn a_running_server_may_load_the_module_with_settings() {
    let path = module_path();
    let server = Server::builder().without_module().start();
    let mut con = server.raw();
    con.ok(&format!("MODULE LOADEX {path} CONFIG chatcache.ttl-msg 5 CONFIG chatcache.max-response-bytes 1mb ARGS ttl-persona 6"));
    let wanted = defaults_but(&[
        ("chatcache.ttl-msg", "5"),
        ("chatcache.max-response-bytes", "1048576"),
        ("chatcache.ttl-persona", "6"),
    ]);
    assert_eq!(settings(&mut con), wanted);
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_eq!(con.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("answer"));
}

#[test]
fn a_running_server_refuses_a_module_with_bad_settings_and_goes_on() {
    let path = module_path();
    let server = Server::builder().without_module().start();
    let mut con = server.raw();
    for line in [
        format!("MODULE LOADEX {path} CONFIG chatcache.ttl-msg 0"),
        format!("MODULE LOADEX {path} ARGS ttl-msg never"),
        format!("MODULE LOAD {path} no-such-setting 1"),
        format!("MODULE LOAD {path} ttl-msg"),
    ] {
        let reply = con.say(&line);
        assert!(
            matches!(&reply, Raw::Error(text) if text.starts_with("ERR Error loading")),
            "{line}: {reply:?}"
        );
        assert_eq!(texts(con.say("COMMAND LIST FILTERBY MODULE chatcache")), [""; 0], "{line}");
        assert_eq!(settings(&mut con).len(), 0, "{line}");
    }
    con.ok(&format!("MODULE LOAD {path}"));
    assert_eq!(settings(&mut con), defaults_but(&[]));
    con.ok("CHATCACHE.SET msg ann helper hello answer");
}

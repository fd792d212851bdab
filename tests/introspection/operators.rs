//! INFO, the slow log, the statistics of commands, and the log.

use std::collections::BTreeMap;
use testkit::{Raw, RawClient, Server, fields, items, numbers, text_of, texts};

/// The fields of our section, by name.
fn fields_of_ours(info: &str) -> BTreeMap<String, String> {
    let section = info.split("# chatcache\r\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.into(), value.into())).collect()
}

fn use_it(con: &mut RawClient) {
    for tier in ["msg", "persona", "session", "response"] {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper hello answer"));
        con.say(&format!("CHATCACHE.GET {tier} ann helper hello"));
        con.say(&format!("CHATCACHE.GET {tier} ann helper bye"));
        con.ok(&format!("CHATCACHE.SET {tier} bob coder bye answer"));
    }
    con.say("CHATCACHE.DEL msg ann helper hello");
    con.say("CHATCACHE.INVALIDATE coder");
}

#[test]
fn info_and_stats_have_the_same_counters() {
    let server = Server::start();
    let mut con = server.raw();
    for used in [false, true] {
        if used {
            use_it(&mut con);
            con.ok("SELECT 2");
            con.ok("CHATCACHE.SET msg ann helper hello answer");
        }
        let replies = con.transaction(&["CHATCACHE.STATS", "INFO chatcache"]);
        let stats = numbers(replies[0].clone());
        let info = match &replies[1] {
            Raw::Bulk(text) => fields_of_ours(&String::from_utf8_lossy(text)),
            other => panic!("{other:?}"),
        };
        let name = |name: &str| format!("chatcache_{}", name.replace('-', "_"));
        let wanted: BTreeMap<_, _> =
            stats.iter().map(|(key, value)| (name(key), value.to_string())).collect();
        assert_eq!(info, wanted);
        assert_eq!((stats["entries"], stats["sets"]), if used { (4, 9) } else { (0, 0) });
    }
}

#[test]
fn info_shows_the_section_on_request_only() {
    let server = Server::start();
    let mut con = server.raw();
    let count = fields_of_ours(&con.text("INFO chatcache")).len();
    assert!(count >= 20, "{count} fields");
    for (line, there) in [
        ("INFO everything", true),
        ("INFO modules", true),
        ("INFO CHATCACHE", true),
        ("INFO memory chatcache", true),
        ("INFO", false),
        ("INFO default", false),
        ("INFO memory", false),
    ] {
        let told = fields_of_ours(&con.text(line));
        assert_eq!(told.len(), if there { count } else { 0 }, "{line}");
    }
    assert!(con.text("INFO modules").contains("module:name=chatcache,ver=100"));
}

#[test]
fn the_slow_log_and_the_statistics_of_commands_know_ours() {
    let server = Server::builder().config("slowlog-log-slower-than 0").start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    con.say("CHATCACHE.GET any ann helper hello");
    con.say("CHATCACHE.GET nowhere ann helper hello");
    let log = items(con.say("SLOWLOG GET 10"));
    let logged: Vec<String> =
        log.iter().map(|entry| texts(items(entry.clone())[3].clone()).join(" ")).collect();
    assert!(logged.contains(&"CHATCACHE.SET msg ann helper hello answer".to_owned()), "{logged:?}");
    assert!(logged.contains(&"CHATCACHE.GET any ann helper hello".to_owned()), "{logged:?}");

    let statistics = con.text("INFO commandstats");
    let of_get = statistics.lines().find(|line| line.starts_with("cmdstat_chatcache.get:")).expect("ours");
    assert!(of_get.contains("calls=2,"), "{of_get}");
    assert!(of_get.contains("failed_calls=1"), "{of_get}");
    let latencies = fields(con.say("LATENCY HISTOGRAM chatcache.get"));
    assert_eq!(fields(latencies["chatcache.get"].clone())["calls"], Raw::Int(2));
}

#[test]
fn the_log_tells_the_version_and_the_settings_at_load() {
    let server =
        Server::builder().module_args(&["ttl-msg", "5"]).config("chatcache.max-response-bytes 1mb").start();
    let line = format!(
        "<chatcache> version {} is ready: ttl-msg 5, ttl-persona 3600, ttl-session 86400, ttl-response 3600, \
         max-response-bytes 1048576, invalidate-sync-limit 512",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(server.log().matches(&line).count(), 1, "{}", server.log());
}

#[test]
fn module_list_shows_the_module_and_unload_is_refused() {
    let server = Server::start();
    let mut con = server.raw();
    let mut modules = items(con.say("MODULE LIST")).into_iter().map(fields);
    let ours = modules.find(|module| text_of(&module["name"]) == "chatcache").expect("our module");
    assert_eq!(ours["ver"], Raw::Int(100));
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    let reply = con.say("MODULE UNLOAD chatcache");
    assert!(matches!(&reply, Raw::Error(text) if text.contains("data types")), "{reply:?}");
    assert_eq!(con.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("answer"));
}

//! The append-only file, in both forms of its base, and the commands in it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use redis::Connection;
use testkit::{
    NOTHING_AT_ONCE, Server, args, as_text, ask, checked, cmd, commands_in, count, dbsize, eventually, fill,
    get, in_one_go, is_valkey, one_of_each, pending, pending_in, personas, reclaimed, saved_in_background,
    seen, server_version, set, stat, text,
};

const WITH_PREAMBLE: &str = "aof-use-rdb-preamble yes";
const WITHOUT_PREAMBLE: &str = "aof-use-rdb-preamble no";

/// The files of the AOF whose names end so, oldest first.
fn files(server: &Server, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.dir().join("appendonlydir")).expect("appendonlydir");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(ending)))
        .collect();
    paths.sort();
    paths
}

/// The commands in those files, as text, without SELECT.
fn written(server: &Server, ending: &str) -> Vec<String> {
    let files = files(server, ending).into_iter().map(|path| fs::read(path).expect("read the AOF"));
    let commands = files.flat_map(|file| commands_in(&file)).map(|command| as_text(&command));
    commands.filter(|command| !command.starts_with("SELECT")).collect()
}

fn rewrite(con: &mut Connection) {
    ask(con, &["BGREWRITEAOF"]);
    saved_in_background(con);
}

/// One of each stored before a rewrite in this form, more after; then the power cord.
fn a_crash_loses_nothing(preamble: &str, rewritten: bool) {
    let mut server = Server::builder().appendonly().config("appendfsync always").config(preamble).start();
    let mut con = server.connect();
    let mut requests = one_of_each(&mut con);
    fill(&mut con, "persona", "", "dropped before", 700);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped before"]), 700);
    reclaimed(&server);
    // GETs are no writes, so only a rewrite carries hits over.
    let hits_count = rewritten;
    if rewritten {
        rewrite(&mut con);
    }
    fill(&mut con, "persona", "", "dropped after", 700);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped after"]), 700);
    set(&mut con, "response", "bob", "late", "q", "a");
    requests.push(args!["response", "bob", "late", "q"].into());
    let look = |con: &mut Connection| {
        let mut all = Vec::new();
        for request in &requests {
            let (mut fields, expires) = seen(con, request);
            // The dump holds the hits and the time it was stored, which a replay makes anew.
            if !hits_count || request[2] == b"late" {
                fields.remove("hits");
                fields.remove("dump");
            }
            all.push((fields, expires));
        }
        all
    };
    let before = look(&mut con);
    let personas_before = personas(&mut con);
    server.kill9();
    server.start_again();
    let mut con = server.connect();
    assert_eq!(look(&mut con), before);
    assert_eq!(personas(&mut con), personas_before);
    assert_eq!(dbsize(&mut con), 13);
    assert_eq!(stat(&mut con, "pending-reclaim"), 0);
}

#[test]
fn a_crash_loses_nothing_of_a_plain_aof() {
    a_crash_loses_nothing(WITHOUT_PREAMBLE, false);
}

#[test]
fn a_crash_loses_nothing_of_an_aof_rewritten_as_commands() {
    a_crash_loses_nothing(WITHOUT_PREAMBLE, true);
}

#[test]
fn a_crash_loses_nothing_of_an_aof_with_an_rdb_preamble() {
    a_crash_loses_nothing(WITH_PREAMBLE, true);
}

#[test]
fn a_rewrite_as_commands_writes_entries_as_restore_and_their_absolute_end() {
    let server = Server::builder().appendonly().config(WITHOUT_PREAMBLE).start();
    let mut con = server.connect();
    set(&mut con, "persona", "", "helper", "lasting", "answer");
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "helper", "lasting"]));
    let expires = count(&mut con, &args!["PEXPIRETIME", key]);
    rewrite(&mut con);
    let base = written(&server, ".base.aof");
    assert_eq!(base.len(), 2, "{base:?}");
    assert!(base[0].starts_with(&format!("RESTORE {key} 0 ")), "{base:?}");
    assert_eq!(base[1], format!("PEXPIREAT {key} {expires}"));
    assert_eq!(written(&server, ".incr.aof"), Vec::<String>::new());
    ask(&mut con, &args!["PERSIST", key]);
    rewrite(&mut con);
    assert_eq!(written(&server, ".base.aof").len(), 1);
}

#[test]
fn every_ttl_in_the_aof_is_absolute_and_no_condition_is_left() {
    let server = Server::builder().appendonly().start();
    let mut con = server.connect();
    let mut ends = Vec::new();
    let far = 4_000_000_000u64;
    let options: [&[&str]; 8] = [
        &[],
        &["ex", "100"],
        &["PX", "123456"],
        &["EXAT", "4000000000"],
        &["pxat", "4000000000123"],
        &["NX", "EX", "50"],
        &["XX", "KEEPTTL"],
        &["ID", "an id", "keepttl"],
    ];
    for (number, options) in options.iter().enumerate() {
        // XX needs the entry that NX has just stored.
        let message = format!("q{}", if options.contains(&"XX") { number - 1 } else { number });
        let mut command: Vec<Vec<u8>> =
            args!["chatcache.set", "session", "ann", "helper", message, "a"].into();
        command.extend(options.iter().map(|word| word.as_bytes().to_vec()));
        assert_eq!(ask(&mut con, &command), redis::Value::Okay);
        let mut key: Vec<Vec<u8>> = args!["CHATCACHE.KEY", "session", "ann", "helper", message].into();
        key.extend(options.iter().filter(|word| **word == "ID").flat_map(|_| args!["ID", "an id"]));
        let key = text(&ask(&mut con, &key));
        ends.push((message, count(&mut con, &args!["PEXPIRETIME", key])));
    }
    assert_eq!(ends[3].1, far as i64 * 1000);
    let expected: Vec<String> = ends
        .iter()
        .enumerate()
        .map(|(number, (message, end))| {
            let id = if number == 7 { " ID an id" } else { "" };
            format!("CHATCACHE.SET session ann helper {message} a{id} PXAT {end}")
        })
        .collect();
    eventually(|| written(&server, ".incr.aof") == expected);
}

#[test]
fn the_aof_has_no_command_without_effect_and_each_invalidate_once() {
    let server = Server::builder().appendonly().config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "helper", 3000);
    fill(&mut con, "response", "ann", "other", 10);
    for silent in [
        &["CHATCACHE.GET", "persona", "", "helper", "q1"][..],
        &["CHATCACHE.SET", "persona", "", "helper", "q1", "b", "NX"],
        &["CHATCACHE.SET", "persona", "", "helper", "unknown", "b", "XX"],
        &["CHATCACHE.DEL", "persona", "", "helper", "unknown"],
        &["CHATCACHE.INSPECT", "persona", "", "helper", "q1"],
        &["CHATCACHE.PERSONAS"],
        &["CHATCACHE.STATS", "helper"],
    ] {
        ask(&mut con, silent);
    }
    assert!(cmd(&mut con, &["CHATCACHE.SET", "persona", "", "helper", "q", "a", "EX", "0"]).is_err());
    assert_eq!(count(&mut con, &["CHATCACHE.DEL", "persona", "", "helper", "q1"]), 1);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 2999);
    assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "ann", "nobody"]), 10);
    assert_eq!(count(&mut con, &["CHATCACHE.FLUSH"]), 0);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
    set(&mut con, "msg", "", "helper", "the last", "a");
    let mut commands = Vec::new();
    eventually(|| {
        commands = written(&server, ".incr.aof");
        commands.last().is_some_and(|last| last.contains("the last"))
    });
    commands
        .retain(|command| !command.starts_with("CHATCACHE.SET") && !["MULTI", "EXEC"].contains(&&**command));
    assert_eq!(
        commands,
        [
            "CHATCACHE.DEL persona  helper q1",
            "CHATCACHE.INVALIDATE helper",
            "CHATCACHE.FORGET ann nobody",
            "CHATCACHE.FLUSH",
        ]
    );
}

#[test]
fn a_crash_under_load_keeps_all_that_was_acknowledged_and_brings_nothing_back() {
    let mut server =
        Server::builder().appendonly().config("appendfsync always").config(NOTHING_AT_ONCE).start();
    fill(&mut server.connect(), "persona", "", "dropped", 30_000);
    let stop = AtomicBool::new(false);
    let (acknowledged, invalidated) = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (mut con, stop) = (server.connect(), &stop);
                scope.spawn(move || {
                    let persona = format!("p{writer}");
                    let mut done = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let question = format!("q{done}");
                        let response = cmd(
                            &mut con,
                            &args!["CHATCACHE.SET", "response", "ann", persona, question, question],
                        );
                        if response.is_err() {
                            break;
                        }
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut con = server.connect();
        eventually(|| stat(&mut con, "entries") > 30_000 + 400);
        let invalidated = count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]);
        let entries = stat(&mut con, "entries");
        eventually(|| stat(&mut con, "entries") > entries + 100);
        // SAFETY: kill has no memory to be unsafe with; the server is this test's own and has not been waited for.
        unsafe { libc::kill(server.pid() as libc::pid_t, libc::SIGKILL) };
        let acknowledged: Vec<usize> =
            writers.into_iter().map(|writer| writer.join().expect("a count")).collect();
        stop.store(true, Ordering::Relaxed);
        (acknowledged, invalidated)
    });
    assert_eq!(invalidated, 30_000);
    server.wait_for_exit();
    server.start_again();
    let mut con = server.connect();
    for (writer, &done) in acknowledged.iter().enumerate() {
        assert!(done > 0);
        for number in 0..done {
            let question = format!("q{number}");
            assert_eq!(get(&mut con, "response", "ann", &format!("p{writer}"), &question), Some(question));
        }
    }
    // A write may have reached the disk without its reply reaching the client: one of each writer at most.
    let sum = acknowledged.iter().sum::<usize>() as i64;
    assert!((sum..=sum + 4).contains(&stat(&mut con, "entries")));
    assert_eq!(get(&mut con, "persona", "", "dropped", "q1"), None);
    assert!(!personas(&mut con).contains_key("dropped"));
    assert_eq!(dbsize(&mut con), stat(&mut con, "entries"));
}

#[test]
fn a_rewrite_as_commands_leaves_out_tombstones() {
    let mut server = Server::builder().appendonly().config(WITHOUT_PREAMBLE).config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "kept", 10);
    fill(&mut con, "persona", "", "dropped", 50_000);
    let replies = in_one_go(
        &server,
        &[&["CHATCACHE.INVALIDATE", "dropped"], &["BGREWRITEAOF"], &["INFO", "everything"], &["DBSIZE"]],
    );
    assert_eq!(pending_in(&replies[2]), 50_000);
    saved_in_background(&mut con);
    let restored = written(&server, ".base.aof").iter().filter(|line| line.starts_with("RESTORE")).count();
    assert_eq!(restored, 10);
    server.kill9();
    server.start_again();
    let mut con = server.connect();
    assert_eq!(dbsize(&mut con), 10);
    assert_eq!(get(&mut con, "persona", "", "dropped", "q1"), None);
}

#[test]
fn a_key_restored_after_its_reclaim_survives_an_aof_whose_preamble_has_its_tombstone() {
    let mut server = Server::builder()
        .appendonly()
        .config(WITH_PREAMBLE)
        .config("appendfsync always")
        .config(NOTHING_AT_ONCE)
        .start();
    let mut con = server.connect();
    set(&mut con, "persona", "", "other", "q", "of the other");
    let dump = seen(&mut con, &args!["persona", "", "other", "q"].into()).0["dump"].clone();
    fill(&mut con, "persona", "", "dropped", 50_000);
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "dropped", "q1"]));
    let replies = in_one_go(
        &server,
        &[&["CHATCACHE.INVALIDATE", "dropped"], &["BGREWRITEAOF"], &["INFO", "everything"]],
    );
    assert_eq!(pending_in(&replies[2]), 50_000);
    saved_in_background(&mut con);
    reclaimed(&server);
    // Nothing is there any more, so RESTORE needs no REPLACE, and SET NX succeeds.
    let second = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "dropped", "q2"]));
    ask(&mut con, &args!["RESTORE", key, 0, dump]);
    assert_eq!(ask(&mut con, &args!["SET", second, "plain", "NX"]), redis::Value::Okay);
    server.kill9();
    server.start_again();
    let mut con = server.connect();
    reclaimed(&server);
    assert_eq!(count(&mut con, &args!["EXISTS", key, second]), 2, "an acknowledged write is lost");
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "other"]), 2);
}

#[test]
fn after_a_rename_of_an_invalidated_entry_an_aof_replay_ends_in_the_same_state() {
    let mut server = Server::builder().appendonly().config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    set(&mut con, "persona", "", "living", "q", "a");
    fill(&mut con, "persona", "", "dropped", 5_000);
    let living = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "living", "q"]));
    let invalidated = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "dropped", "q1"]));
    let replies = in_one_go(
        &server,
        &[&["CHATCACHE.INVALIDATE", "dropped"], &["RENAME", &invalidated, &living], &["INFO", "everything"]],
    );
    assert_eq!(replies[1], testkit::Raw::simple("OK"));
    assert_eq!(pending_in(&replies[2]), 5_000);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
    server.kill9();
    server.start_again();
    let mut con = server.connect();
    assert_eq!(get(&mut con, "persona", "", "living", "q"), None, "what RENAME overwrote is back");
    assert_eq!(dbsize(&mut con), 0);
    assert_eq!(pending(&mut con), 0);
}

#[test]
fn redis_check_aof_finds_nothing_wrong() {
    for preamble in [WITH_PREAMBLE, WITHOUT_PREAMBLE] {
        // The checker of Valkey 9.1 does not know Valkey 9.1's own preamble, with or without a module.
        if preamble == WITH_PREAMBLE && is_valkey() && server_version() >= (9, 0, 0) {
            continue;
        }
        let server = Server::builder().appendonly().config(preamble).start();
        let mut con = server.connect();
        one_of_each(&mut con);
        rewrite(&mut con);
        fill(&mut con, "persona", "", "helper", 700);
        ask(&mut con, &["CHATCACHE.INVALIDATE", "helper"]);
        let manifest = files(&server, ".manifest").pop().expect("a manifest");
        let (good, said) = checked(&server, "aof", &manifest);
        assert!(good && said.contains("All AOF files and manifest are valid"), "{said}");
    }
}

//! A full disk. What stands for one is a limit on the size of the server's files, as that needs no root: a write
//! that goes over it fails as one to a full disk does, with another number (EFBIG for ENOSPC).

use std::sync::Once;

use redis::Connection;
use testkit::{
    Builder, Busy, NOTHING_AT_ONCE, Server, args, ask, cmd, count, error_text, eventually, expect_error,
    fill, get, info_field, pending, reclaimed, saved_in_background, set,
};

use super::consistency;

/// With 20,000 responses, each of these files is larger.
const SMALL: u64 = 200_000;

/// A server that is told of a write over the limit, where others are killed.
fn start(builder: Builder) -> Server {
    static IGNORE: Once = Once::new();
    // SAFETY: no handler is installed; the server inherits that the signal is ignored.
    IGNORE.call_once(|| _ = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) });
    builder.start()
}

/// No file of the server's may be longer than this from now on.
fn limit(server: &Server, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: both pointers are as prlimit wants them: a limit to read, and none to write.
    let set = unsafe {
        libc::prlimit(server.pid() as libc::pid_t, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut())
    };
    assert_eq!(set, 0, "prlimit: {}", std::io::Error::last_os_error());
}

/// Lifts the limit.
fn no_limit(server: &Server) {
    limit(server, libc::RLIM_INFINITY);
}

fn persistence(con: &mut Connection, field: &str) -> String {
    info_field(con, "persistence", field)
}

/// Waits for a BGSAVE or BGREWRITEAOF to fail.
#[track_caller]
fn fails(con: &mut Connection, in_progress: &str, status: &str) {
    eventually(|| persistence(con, in_progress) == "0" && persistence(con, status) == "err");
}

/// Stores 20,000 responses that stay, and 20,000 that are in the middle of a slow reclaim.
fn in_the_middle(server: &Server) -> Busy {
    let mut con = server.connect();
    fill(&mut con, "persona", "", "kept", 20_000);
    fill(&mut con, "persona", "", "dropped", 20_000);
    let busy = Busy::keep(server);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), 20_000);
    assert!(pending(&mut con) > 0);
    busy
}

/// All is as it was, and can be written.
#[track_caller]
fn is_whole(server: &Server, more: i64) {
    let mut con = server.connect();
    reclaimed(server);
    assert_eq!(get(&mut con, "persona", "", "dropped", "q1"), None);
    for n in [1, 10_000, 20_000] {
        assert_eq!(get(&mut con, "persona", "", "kept", &format!("q{n}")), Some(format!("a{n}")));
    }
    assert_eq!(consistency::counts_agree(&mut server.raw())["entries"], 20_000 + more);
    set(&mut con, "msg", "", "new", "one more", "answer");
    assert_eq!(count(&mut con, &["CHATCACHE.DEL", "msg", "", "new", "one more"]), 1);
}

#[test]
fn a_snapshot_onto_a_full_disk_fails_and_harms_nothing() {
    let mut server = start(Server::builder().config(NOTHING_AT_ONCE).config("rdbcompression no"));
    let mut con = server.connect();
    let busy = in_the_middle(&server);
    limit(&server, SMALL);
    for _ in 0..2 {
        ask(&mut con, &["BGSAVE"]);
        fails(&mut con, "rdb_bgsave_in_progress", "rdb_last_bgsave_status");
    }
    expect_error(cmd(&mut con, &["SAVE"]), "ERR");
    // A server that cannot save does not end either.
    expect_error(cmd(&mut con, &["SHUTDOWN", "SAVE"]), "ERR Errors trying to SHUTDOWN");
    set(&mut con, "msg", "", "late", "q", "stored meanwhile");
    drop(busy);
    is_whole(&server, 1);
    no_limit(&server);
    ask(&mut con, &["BGSAVE"]);
    saved_in_background(&mut con);
    server.kill9();
    server.start_again();
    is_whole(&server, 1);
}

#[test]
fn a_server_that_cannot_save_refuses_writes_and_serves_reads() {
    // Servers with save points stop writes after a failed snapshot.
    let server = start(Server::builder().config("save 3600 100000000").config("rdbcompression no"));
    let mut con = server.connect();
    fill(&mut con, "persona", "", "kept", 20_000);
    limit(&server, SMALL);
    ask(&mut con, &["BGSAVE"]);
    fails(&mut con, "rdb_bgsave_in_progress", "rdb_last_bgsave_status");
    for refused in [
        args!["CHATCACHE.SET", "persona", "", "kept", "q1", "other"].to_vec(),
        args!["CHATCACHE.DEL", "persona", "", "kept", "q1"].to_vec(),
        args!["CHATCACHE.INVALIDATE", "kept"].to_vec(),
        args!["CHATCACHE.FLUSH"].to_vec(),
    ] {
        expect_error(cmd(&mut con, &refused), "MISCONF");
    }
    is_answered(&mut con);
    no_limit(&server);
    ask(&mut con, &["BGSAVE"]);
    saved_in_background(&mut con);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "kept"]), 20_000);
}

#[track_caller]
fn is_answered(con: &mut Connection) {
    assert_eq!(get(con, "persona", "", "kept", "q1"), Some("a1".into()));
    assert_eq!(get(con, "persona", "", "kept", "none"), None);
}

fn a_rewrite_that_fails(preamble: &str) {
    let builder = Server::builder().appendonly().config("appendfsync always").config("rdbcompression no");
    let mut server =
        start(builder.config("auto-aof-rewrite-percentage 0").config(NOTHING_AT_ONCE).config(preamble));
    let mut con = server.connect();
    // The log that grows on begins anew, so that it stays below the limit.
    let busy = in_the_middle(&server);
    ask(&mut con, &["BGREWRITEAOF"]);
    saved_in_background(&mut con);
    limit(&server, SMALL);
    for n in 0..2 {
        ask(&mut con, &["BGREWRITEAOF"]);
        set(&mut con, "msg", "", "late", &format!("q{n}"), "stored meanwhile");
        fails(&mut con, "aof_rewrite_in_progress", "aof_last_bgrewrite_status");
    }
    drop(busy);
    is_whole(&server, 2);
    server.kill9();
    server.start_again();
    is_whole(&server, 2);
    // The new process has no limit.
    let mut con = server.connect();
    ask(&mut con, &["BGREWRITEAOF"]);
    saved_in_background(&mut con);
    server.kill9();
    server.start_again();
    is_whole(&server, 2);
}

#[test]
fn a_rewrite_with_a_preamble_onto_a_full_disk_fails_and_harms_nothing() {
    a_rewrite_that_fails("aof-use-rdb-preamble yes");
}

#[test]
fn a_rewrite_as_commands_onto_a_full_disk_fails_and_harms_nothing() {
    a_rewrite_that_fails("aof-use-rdb-preamble no");
}

/// Stores until the disk is full: how many were acknowledged, and how it ended.
fn until_it_is_full(con: &mut Connection) -> (usize, String) {
    for n in 0..100_000 {
        let message = format!("q{n}");
        if let Err(error) = cmd(con, &args!["CHATCACHE.SET", "persona", "", "kept", message, message]) {
            return (n, error_text(&error));
        }
    }
    panic!("the disk was never full");
}

#[track_caller]
fn all_are_there(con: &mut Connection, acknowledged: usize) {
    for n in 0..acknowledged {
        let message = format!("q{n}");
        assert_eq!(get(con, "persona", "", "kept", &message), Some(message));
    }
}

#[test]
fn while_the_disk_is_full_for_the_aof_writes_are_refused_and_none_is_lost() {
    // With `everysec` a write may wait for the sync before it, and be lost although nothing is full.
    let builder = Server::builder().appendonly().config("appendfsync no");
    let mut server = start(builder.config("auto-aof-rewrite-percentage 0"));
    let mut con = server.connect();
    limit(&server, SMALL);
    let (acknowledged, error) = until_it_is_full(&mut con);
    assert!(error.starts_with("MISCONF"), "{error}");
    assert!(acknowledged > 500, "{acknowledged}");
    expect_error(cmd(&mut con, &["CHATCACHE.INVALIDATE", "kept"]), "MISCONF");
    all_are_there(&mut con, acknowledged);
    no_limit(&server);
    eventually(|| persistence(&mut con, "aof_last_write_status") == "ok");
    fill(&mut con, "persona", "", "after", 10);
    server.kill9();
    server.start_again();
    let mut con = server.connect();
    all_are_there(&mut con, acknowledged);
    assert_eq!(consistency::counts_agree(&mut server.raw())["entries"], acknowledged as i64 + 10);
}

#[test]
fn a_server_that_must_sync_every_write_ends_where_it_cannot_and_loses_none() {
    let builder = Server::builder().appendonly().config("appendfsync always");
    let mut server = start(builder.config("auto-aof-rewrite-percentage 0"));
    let mut con = server.connect();
    limit(&server, SMALL);
    let (acknowledged, _) = until_it_is_full(&mut con);
    assert!(!server.wait_for_exit().success());
    assert!(server.log().contains("AOF write error"), "it ended for another reason");
    server.start_again();
    let mut con = server.connect();
    all_are_there(&mut con, acknowledged);
    let entries = consistency::counts_agree(&mut server.raw())["entries"];
    assert!(
        (acknowledged as i64..=acknowledged as i64 + 1).contains(&entries),
        "{entries} of {acknowledged}"
    );
}

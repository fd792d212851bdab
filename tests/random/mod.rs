//! Long random tests of Redis with chatcache against a model (random/model.rs).
//!
//! `CHATCACHE_SEED` repeats a run, which prints it when it starts and when it fails (keys that really expire
//! and reclaiming in the background make that a good approximation); `CHATCACHE_STEPS` makes it longer.

mod checks;
mod draw;
mod driver;
mod eviction;
mod model;
mod ops;
mod requests;

use driver::{Driver, Pause, steps};
use model::Reclaim;
use testkit::{
    Raw, Server, args, eventually, info_field, replica_caught_up, skipped_as_copy_changes_the_database,
};

/// Every invalidation is done, keys and all, when it replies.
fn at_once() -> Driver {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 1000000").start();
    Driver::new(server, Reclaim::AtOnce, Pause::None)
}

/// Every invalidation is reclaimed in the background.
fn later(pause: Pause) -> Driver {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 0").start();
    Driver::new(server, Reclaim::Later, pause)
}

#[test]
fn random_commands_agree_with_the_model_if_invalidations_are_reclaimed_at_once() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let mut driver = at_once();
    driver.run(steps(6000));
    restarted(driver);
}

#[test]
fn random_commands_agree_with_the_model_if_each_reclaim_ends_before_the_next_command() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let mut driver = later(Pause::UntilReclaimed);
    driver.run(steps(4000));
    restarted(driver);
}

#[test]
fn random_commands_agree_with_the_model_during_reclaims() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let mut driver = later(Pause::None);
    driver.run(steps(6000));
    restarted(driver);
}

/// The same with another setting of L1 or of the request table: the model knows nothing of these, so the replies are the same.
/// Answers are few here and their requests fewer, so most reads find one that is hot.
fn with(setting: &str) {
    let config = |limit: &str| {
        let limit = format!("chatcache.invalidate-sync-limit {limit}");
        Server::builder().config(format!("chatcache.{setting}")).config(limit).start()
    };
    let mut driver = Driver::new(config("1000000"), Reclaim::AtOnce, Pause::None);
    driver.run(steps(3000));
    restarted(driver);
    Driver::new(config("0"), Reclaim::Later, Pause::None).run(steps(3000));
}

#[test]
fn random_commands_agree_with_the_model_without_l1() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    with("l1-max-bytes 0");
}

#[test]
fn random_commands_agree_with_the_model_with_an_l1_of_a_few_entries() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    with("l1-max-bytes 1kb");
}

#[test]
fn random_commands_agree_with_the_model_if_each_read_opens_its_key() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    with("key-check-s 0");
}

#[test]
fn random_commands_agree_with_the_model_while_the_size_of_l1_changes() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let mut driver = at_once();
    for bytes in ["1kb", "0", "2kb", "64mb", "1gb"].repeat(5) {
        let set = args!["CONFIG", "SET", "chatcache.l1-max-bytes", bytes];
        assert_eq!(driver.server.raw().call(&set), Raw::simple("OK"));
        driver.run(steps(150));
    }
}

#[test]
fn a_replica_follows_random_commands_if_invalidations_are_reclaimed_at_once() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let mut driver = at_once();
    driver.replica = Some(Server::builder().replica_of(&driver.server).start());
    driver.run(steps(2500));
    replica_is_equal(&mut driver);
}

#[test]
fn a_replica_follows_random_commands_if_each_reclaim_ends_before_the_next_command() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let mut driver = later(Pause::UntilReclaimed);
    driver.replica = Some(
        Server::builder().config("chatcache.invalidate-sync-limit 0").replica_of(&driver.server).start(),
    );
    driver.run(steps(1000));
    replica_is_equal(&mut driver);
}

/// The replica loses its link again and again, and each time loads a new data set beside the one that it serves.
#[test]
fn a_replica_that_loads_beside_its_old_data_follows_random_commands() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let server = Server::builder()
        .config("chatcache.invalidate-sync-limit 0")
        .config("repl-diskless-sync yes")
        .config("repl-backlog-size 16kb")
        .start();
    let mut driver = Driver::new(server, Reclaim::Later, Pause::UntilReclaimed);
    let replica = Server::builder()
        .config("chatcache.invalidate-sync-limit 0")
        .config("repl-diskless-load swapdb")
        .config("loading-process-events-interval-bytes 1024")
        .config("key-load-delay 1000")
        .replica_of(&driver.server)
        .start();
    driver.replica = Some(replica);
    for _ in 0..4 {
        driver.run(steps(150));
        overflow_the_backlog(&mut driver);
    }
    driver.run(steps(150));
    let log = driver.replica.as_ref().expect("a replica").log();
    assert!(log.matches("Swapping active DB with loaded DB").count() >= 4, "{log}");
    replica_is_equal(&mut driver);
}

/// Breaks the replica's link, sends more than its master keeps for it meanwhile, and waits until a full sync has begun.
fn overflow_the_backlog(driver: &mut Driver) {
    let mut con = driver.server.connect();
    let before = info_field(&mut con, "stats", "sync_full");
    let filler = "x".repeat(300_000);
    let commands: [&[&str]; 3] =
        [&["CLIENT", "KILL", "TYPE", "replica"], &["SET", "filler", &filler], &["DEL", "filler"]];
    testkit::in_one_go(&driver.server, &commands);
    eventually(|| info_field(&mut con, "stats", "sync_full") != before);
}

/// A restart keeps everything.
fn restarted(mut driver: Driver) {
    driver.wait_out_deadlines(driver::LONG_MARGIN_MS);
    driver.server.restart();
    driver.reconnect();
    checks::everything(&mut driver);
    driver.reclaimed();
    checks::everything(&mut driver);
}

/// Checks that the replica has the same keys, responses and index as its master.
fn replica_is_equal(driver: &mut Driver) {
    // A replica deletes nothing that expires: its master does, while there is one to ask.
    driver.wait_out_deadlines(driver::NO_DEADLINE_MS);
    let replica = driver.replica.take().expect("a replica");
    replica_caught_up(&driver.server, &replica);
    let mut con = replica.raw();
    eventually(|| driver::pending(&mut con) == 0 && driver::pending(&mut driver.con) == 0);
    let digests = [&mut driver.con, &mut con].map(|con| con.call(&args!["DEBUG", "DIGEST"]));
    if digests[0] != digests[1] || matches!(digests[0], Raw::Error(_)) {
        driver.fail(&format!("DEBUG DIGEST of master and replica: {digests:?}"));
    }
    driver.con = con;
    driver.model.selected = 0;
    checks::everything(driver);
}

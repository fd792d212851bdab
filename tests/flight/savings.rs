//! The cost of a response, and the savings of the cache.

use std::time::Duration;
use testkit::{Q, Server, hit, inspected, lease, refresh, set_line, store_stale, waiter};

#[test]
fn the_time_from_lease_to_set_is_the_cost() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    std::thread::sleep(Duration::from_millis(60));
    con.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    let cost = inspected(&mut con, Q, "cost-ms");
    assert!((60..5000).contains(&cost), "{cost}");
    // Without a lease it is 0, unless it is said.
    con.ok(&set_line(Q, "hello", ""));
    assert_eq!(inspected(&mut con, Q, "cost-ms"), 0);
    con.ok(&set_line(Q, "hello", "COST 4294967295"));
    assert_eq!(inspected(&mut con, Q, "cost-ms"), 4_294_967_295);
    con.ok(&set_line(Q, "hello", "COST 0"));
    assert_eq!(inspected(&mut con, Q, "cost-ms"), 0);
    // A given cost wins over the measured one.
    con.number(&format!("CHATCACHE.DEL {Q}"));
    let token = lease(&mut con, Q);
    con.ok(&set_line(Q, "hello", &format!("COST 123456 TOKEN {token}")));
    assert_eq!(inspected(&mut con, Q, "cost-ms"), 123_456);
}

#[test]
fn each_hit_saves_what_the_response_cost() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "hello", "COST 100"));
    con.ok(&set_line("msg ann other hi", "hello", "COST 7"));
    let saved = |con: &mut testkit::RawClient, persona: &str| con.stats(persona)["saved-ms"];
    assert_eq!(saved(&mut con, ""), 0);
    con.say(&format!("CHATCACHE.GET {Q}"));
    con.say(&format!("CHATCACHE.FETCH {Q}"));
    con.say("CHATCACHE.GET msg ann other hi");
    con.say("CHATCACHE.GET any ann bot nothing");
    assert_eq!(saved(&mut con, ""), 207);
    assert_eq!([saved(&mut con, "bot"), saved(&mut con, "other")], [200, 7]);
    // Looking is not using.
    con.say(&format!("CHATCACHE.INSPECT {Q}"));
    assert_eq!(saved(&mut con, ""), 207);
    // A stale entry saved the wait as well.
    con.number("CHATCACHE.SOFTINVALIDATE bot");
    refresh(&mut con, Q);
    assert_eq!(saved(&mut con, ""), 307);
    assert_eq!(saved(&mut con, "bot"), 300);
}

#[test]
fn each_wait_that_ends_with_the_response_saves_its_cost() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    let mut waiting = [waiter(&server, Q), waiter(&server, Q)];
    con.ok(&set_line(Q, "hello", &format!("COST 50 TOKEN {token}")));
    for con in &mut waiting {
        assert_eq!(con.read(), hit("hello"));
    }
    let stats = con.stats("");
    assert_eq!((stats["coalesced"], stats["saved-ms"]), (2, 100));
}

#[test]
fn a_refresh_that_is_waited_for_has_a_cost_of_its_own() {
    let server = Server::start();
    let mut con = server.raw();
    store_stale(&mut con, Q, "old");
    let token = refresh(&mut con, Q);
    std::thread::sleep(Duration::from_millis(20));
    con.ok(&set_line(Q, "new", &format!("TOKEN {token}")));
    assert!(inspected(&mut con, Q, "cost-ms") >= 20);
}

#[test]
fn waits_save_for_the_persona_too() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    let mut waiting = waiter(&server, Q);
    con.ok(&set_line(Q, "hello", &format!("COST 50 TOKEN {token}")));
    assert_eq!(waiting.read(), hit("hello"));
    assert_eq!(con.stats("bot")["saved-ms"], 50);
}

//! Stale while revalidate: all callers get the old response, and one computes the new one.

use testkit::{
    Q, Raw, Server, busy_of, comes_too_late, eventually, fields, hit, inspected, instants, lease, refresh,
    refresh_of, set_line, stale, store_stale,
};

#[test]
fn within_the_grace_all_callers_get_the_stale_response_and_one_a_token() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "old", "PX 60000 STALE 60000"));
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), hit("old"));
    store_stale(&mut con, Q, "old");
    let mut holder = server.raw();
    let (response, token) = refresh_of(holder.say(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
    assert_eq!(response, "old");
    for wait in ["", " WAIT 60000"] {
        for _ in 0..20 {
            assert_eq!(server.raw().say(&format!("CHATCACHE.FETCH {Q}{wait}")), stale("old"));
        }
    }
    assert_eq!(holder.say(&format!("CHATCACHE.FETCH {Q}")), stale("old"), "once is enough");
    holder.ok(&set_line(Q, "new", &format!("TOKEN {token}")));
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), hit("new"));
    assert_eq!(con.stats("")["stale-hits"], 42);
}

#[test]
fn get_gives_fresh_responses_only() {
    let server = Server::start();
    let mut con = server.raw();
    store_stale(&mut con, Q, "old");
    let before = con.stats("");
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk);
    assert_eq!(con.say("CHATCACHE.GET any ann bot hi"), Raw::NullBulk);
    let after = con.stats("");
    assert_eq!(after["hits"], before["hits"]);
    assert_eq!(after["misses"], before["misses"] + 2);
    // A fresh one of a later tier is found behind a stale one of an earlier.
    con.ok(&set_line("msg ann bot hi", "stale-msg", "PX 1 STALE 60000"));
    con.ok(&set_line("persona ann bot hi", "fresh", ""));
    eventually(|| inspected(&mut con, "msg ann bot hi", "fresh-ms") == 0);
    assert_eq!(con.say("CHATCACHE.GET any ann bot hi"), Raw::bulk("fresh"));
}

#[test]
fn the_death_of_a_refresher_passes_the_refresh_on() {
    let server = Server::start();
    let mut con = server.raw();
    store_stale(&mut con, Q, "old");

    let mut holder = server.raw();
    refresh(&mut holder, Q);
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), stale("old"));
    drop(holder);
    eventually(|| con.stats("")["leases"] == 0);
    let mut holder = server.raw();
    let token = refresh(&mut holder, Q);
    assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    let mut holder = server.raw();
    refresh_of(holder.say(&format!("CHATCACHE.FETCH {Q} LEASE 20")));
    eventually(|| con.stats("")["leases"] == 0);
    let token = refresh(&mut con, Q);
    con.ok(&set_line(Q, "new", &format!("TOKEN {token}")));
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("new"));
}

#[test]
fn after_its_grace_a_response_is_gone() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "old", "PX 1 STALE 50"));
    eventually(|| con.say(&format!("CHATCACHE.INSPECT {Q}")) == Raw::NullBulk);
    lease(&mut con, Q);
    busy_of(con.say(&format!("CHATCACHE.FETCH {Q}")));
}

#[test]
fn the_key_s_ttl_covers_freshness_and_grace() {
    let server = Server::start();
    let mut con = server.raw();
    let key = con.text(&format!("CHATCACHE.KEY {Q}"));
    con.ok(&set_line(Q, "answer", "EX 100 STALE 50000"));
    let ms = con.number(&format!("PTTL {key}"));
    assert!((140_000..=150_000).contains(&ms), "{ms}");
    assert!((90_000..=100_000).contains(&inspected(&mut con, Q, "fresh-ms")));
    assert!((140_000..=150_000).contains(&inspected(&mut con, Q, "ttl-ms")));
    con.ok(&set_line(Q, "answer", "STALE 1000 PXAT 4102444800000"));
    assert_eq!(con.number(&format!("PEXPIRETIME {key}")), 4_102_444_801_000);
    con.ok(&set_line(Q, "answer", "STALE 0 EXAT 4102444800"));
    assert_eq!(con.number(&format!("PEXPIRETIME {key}")), 4_102_444_800_000);
    // KEEPTTL keeps both instants.
    con.ok(&set_line(Q, "answer", "STALE 1000 PXAT 4102444800000"));
    let before = inspected(&mut con, Q, "fresh-ms");
    con.ok(&set_line(Q, "another", "KEEPTTL"));
    assert_eq!(con.number(&format!("PEXPIRETIME {key}")), 4_102_444_801_000);
    let [fresh, ttl, _] = instants(&mut con, Q);
    assert!(fresh <= before && fresh > before - 60_000);
    assert!((0..=1100).contains(&(ttl - fresh)), "{ttl} - {fresh}");
    // EXPIRE is the key's: it may end before the freshness does.
    assert_eq!(con.number(&format!("PEXPIRE {key} 5000")), 1);
    assert!(inspected(&mut con, Q, "fresh-ms") <= 5000);
}

#[test]
fn a_tier_s_setting_is_the_grace_where_none_is_given() {
    let server = Server::builder().config("chatcache.stale-msg 100").start();
    let mut con = server.raw();
    for (tier, ttl) in [("msg", 300), ("persona", 3600), ("session", 86_400), ("response", 3600)] {
        let request = format!("{tier} ann bot hi");
        let key = con.text(&format!("CHATCACHE.KEY {request}"));
        if tier != "msg" {
            con.ok(&set_line(&request, "answer", ""));
            assert!(con.number(&format!("PTTL {key}")) <= ttl * 1000);
            con.ok(&format!("CONFIG SET chatcache.stale-{tier} 100"));
        }
        con.ok(&set_line(&request, "answer", ""));
        let (fresh, ms) = (inspected(&mut con, &request, "fresh-ms"), con.number(&format!("PTTL {key}")));
        assert!((ttl * 1000 - 10_000..=ttl * 1000).contains(&fresh), "{tier}: {fresh}");
        assert!((ttl * 1000 + 90_000..=ttl * 1000 + 100_000).contains(&ms), "{tier}: {ms}");
        con.ok(&set_line(&request, "answer", "EX 10"));
        assert!((100_000..=110_000).contains(&con.number(&format!("PTTL {key}"))), "{tier}");
        con.ok(&set_line(&request, "answer", "EX 10 STALE 0"));
        assert!(con.number(&format!("PTTL {key}")) <= 10_000, "{tier}");
    }
}

#[test]
fn a_stale_response_counts_as_absent_for_a_condition() {
    let server = Server::start();
    let mut con = server.raw();
    store_stale(&mut con, Q, "old");
    assert_eq!(con.say(&set_line(Q, "new", "XX")), Raw::NullBulk);
    assert_eq!(refresh_of(con.say(&format!("CHATCACHE.FETCH {Q}"))).0, "old");
    con.ok(&set_line(Q, "new", "NX"));
    assert_eq!(con.say(&set_line(Q, "newer", "NX")), Raw::NullBulk);
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("new"));
    // KEEPTTL has nothing to keep of a stale one.
    store_stale(&mut con, Q, "old");
    con.ok(&set_line(Q, "new", "KEEPTTL"));
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("new"));
    assert!(inspected(&mut con, Q, "fresh-ms") > 3_500_000);
}

#[test]
fn invalidate_also_removes_a_stale_entry_within_its_grace() {
    let server = Server::start();
    let mut con = server.raw();
    for drop in ["CHATCACHE.INVALIDATE bot", "CHATCACHE.FORGET ann", "CHATCACHE.FLUSH response"] {
        store_stale(&mut con, Q, "old");
        let token = refresh(&mut con, Q);
        assert_eq!(con.number(drop), 1, "{drop}: a stale answer counts");
        comes_too_late(&mut con, Q, &token);
        let token = lease(&mut con, Q);
        assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    }
    store_stale(&mut con, Q, "old");
    let token = refresh(&mut con, Q);
    assert_eq!(con.number(&format!("CHATCACHE.DEL {Q}")), 1, "a stale answer can be deleted");
    comes_too_late(&mut con, Q, &token);
    assert_eq!(con.number(&format!("CHATCACHE.DEL {Q}")), 0);
}

#[test]
fn inspect_and_stats_show_a_stale_entry() {
    let server = Server::start();
    let mut con = server.raw();
    store_stale(&mut con, Q, "old");
    let seen = fields(con.say(&format!("CHATCACHE.INSPECT {Q}")));
    assert_eq!(seen["fresh-ms"], Raw::Int(0));
    let Raw::Int(ttl) = seen["ttl-ms"] else { panic!("{seen:?}") };
    assert!((3_500_000..=3_600_000).contains(&ttl), "{ttl}");
    assert_eq!(con.stats("")["entries"], 1);
}

#[test]
fn a_persisted_stale_response_stays_stale_through_its_moves() {
    let server = Server::start();
    let mut con = server.raw();
    let key = con.text(&format!("CHATCACHE.KEY {Q}"));
    store_stale(&mut con, Q, "old");
    con.number(&format!("PERSIST {key}"));
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk);
    assert_eq!(inspected(&mut con, Q, "ttl-ms"), -1);
    assert_eq!(inspected(&mut con, Q, "fresh-ms"), 0);
    con.ok("DEBUG RELOAD");
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk);
    refresh(&mut con, Q);
}

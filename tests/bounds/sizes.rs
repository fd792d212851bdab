//! Commands whose caller chooses the size of the work: one call does a bounded part of it.

use testkit::{Raw, RawClient, Server, args, eventually, items, pairs, text_of};

/// The slots that one PERSONAS looks at.
const SLOTS: usize = 10_000;

/// One page of PERSONAS: the next cursor and the names.
fn page(con: &mut RawClient, cursor: &str, count: usize) -> (String, Vec<String>) {
    let reply = items(con.call(&args!["CHATCACHE.PERSONAS", "CURSOR", cursor, "COUNT", count]));
    let names = items(reply[1].clone()).into_iter().map(|persona| text_of(&pairs(persona)[0].1)).collect();
    (text_of(&reply[0]), names)
}

/// All pages of PERSONAS.
fn pages(con: &mut RawClient, count: usize) -> Vec<Vec<String>> {
    let (mut cursor, mut pages) = ("0".to_owned(), Vec::new());
    loop {
        let (next, names) = page(con, &cursor, count);
        pages.push(names);
        if next == "0" {
            return pages;
        }
        cursor = next;
    }
}

fn store_personas(con: &mut RawClient, count: usize, name_bytes: usize) {
    let sets: Vec<_> = (0..count)
        .map(|n| {
            let persona = format!("p{n:0width$}", width = name_bytes - 1);
            args!["CHATCACHE.SET", "persona", "", persona, "hello", "answer"].to_vec()
        })
        .collect();
    assert!(con.pipeline(&sets).iter().all(|reply| *reply == Raw::simple("OK")));
}

#[test]
fn personas_with_any_count_looks_at_ten_thousand_slots_and_goes_on_at_its_cursor() {
    const PERSONAS: usize = 2 * SLOTS + 1;
    let server = Server::start();
    let mut con = server.raw();
    store_personas(&mut con, PERSONAS, 8);
    for count in [SLOTS, SLOTS + 1, 1_000_000] {
        let pages = pages(&mut con, count);
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [SLOTS, SLOTS, 1], "COUNT {count}");
        let mut names = pages.concat();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), PERSONAS);
    }
}

#[test]
fn a_page_of_personas_ends_after_a_mebibyte_of_names() {
    let server = Server::start();
    let mut con = server.raw();
    store_personas(&mut con, 40, 65_000);
    let pages = pages(&mut con, 1_000);
    // 17 names of 65,000 bytes are the first that reach 1 MiB.
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [17, 17, 6]);
}

#[test]
fn invalidating_ten_thousand_unknown_names_leaves_nothing_behind() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET persona ann helper hello answer");
    let before = con.stats("");
    for command in ["CHATCACHE.INVALIDATE", "CHATCACHE.SOFTINVALIDATE", "CHATCACHE.FORGET"] {
        let mut call = vec![command.as_bytes().to_vec()];
        call.extend((0..10_000).map(|n| format!("unknown-{n}").into_bytes()));
        assert_eq!(con.call(&call), Raw::Int(0), "{command}");
    }
    let after = con.stats("");
    for name in ["entries", "personas", "users", "index-bytes", "idle-bytes", "pending-reclaim"] {
        assert_eq!(after[name], before[name], "{name}");
    }
}

#[test]
fn one_invalidate_of_many_personas_deletes_ten_times_the_limit_at_once() {
    const PERSONAS: i64 = 20;
    const LIMIT: i64 = 50;
    let server = Server::builder().config(format!("chatcache.invalidate-sync-limit {LIMIT}")).start();
    let mut con = server.raw();
    for n in 0..PERSONAS {
        testkit::fill_persona(&mut con, "ann", &format!("p{n}"), LIMIT as usize, 10);
    }
    let names: Vec<String> = (0..PERSONAS).map(|n| format!("p{n}")).collect();
    let replies = con.transaction(&[&format!("CHATCACHE.INVALIDATE {}", names.join(" ")), "DBSIZE"]);
    assert_eq!(replies, [Raw::Int(PERSONAS * LIMIT), Raw::Int((PERSONAS - 10) * LIMIT)]);
    testkit::reclaimed(&server);
    assert_eq!(con.number("DBSIZE"), 0);
}

#[test]
fn one_invalidate_deletes_a_megabyte_of_names_at_most_and_leaves_the_rest_to_slices() {
    const NAME_BYTES: usize = 65_000;
    let server = Server::start();
    let mut con = server.raw();
    let user = "u".repeat(NAME_BYTES);
    let sets: Vec<_> = (0..100)
        .map(|n| {
            args!["CHATCACHE.SET", "session", &user, "helper", "", "answer", "ID", format!("m-{n}")].to_vec()
        })
        .collect();
    assert!(con.pipeline(&sets).iter().all(|reply| *reply == Raw::simple("OK")));
    let replies = con.transaction(&["CHATCACHE.INVALIDATE helper", "DBSIZE"]);
    assert_eq!(replies[0], Raw::Int(100));
    let Raw::Int(left) = replies[1] else { panic!("{replies:?}") };
    assert!((80..=90).contains(&left), "{left} keys are left after a megabyte of names");
    eventually(|| con.number("DBSIZE") == 0);
}

#[test]
fn a_tier_or_a_user_that_one_command_names_again_and_again_is_invalidated_once() {
    let server = Server::start();
    let mut con = server.raw();
    store_personas(&mut con, 1000, 10);
    let repeated =
        |command: &str, word: &str| [vec![command.to_owned()], vec![word.to_owned(); 50_000]].concat();
    assert_eq!(con.call(&repeated("CHATCACHE.FLUSH", "persona")), Raw::Int(1000));
    con.ok("CHATCACHE.SET response ann helper hello answer");
    assert_eq!(con.call(&repeated("CHATCACHE.FORGET", "ann")), Raw::Int(1));
}

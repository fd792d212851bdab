//! PERSONAS, STATS and HELP.

use std::collections::BTreeSet;
use testkit::{Raw, RawClient, Server, fields, items, pairs, text_of, texts};

use super::TIERS;

/// One page of PERSONAS: the cursor to go on with, and the personas' names.
fn page(con: &mut RawClient, line: &str) -> (String, Vec<String>) {
    let reply = items(con.say(line));
    let [cursor, personas] = reply.as_slice() else { panic!("{line} gave {reply:?}") };
    let personas = items(personas.clone()).into_iter().map(fields);
    (text_of(cursor), personas.map(|persona| text_of(&persona["name"])).collect())
}

/// The names that a whole iteration brings, in its order; `between` runs after each page.
fn iterate(con: &mut RawClient, count: &str, mut between: impl FnMut(&mut RawClient, usize)) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = "0".to_owned();
    for pages in 0.. {
        assert!(pages < 100_000, "the iteration does not end");
        let (next, found) = page(con, &format!("CHATCACHE.PERSONAS CURSOR {cursor}{count}"));
        names.extend(found);
        if next == "0" {
            break;
        }
        cursor = next;
        between(con, pages);
    }
    names
}

fn store(con: &mut RawClient, names: impl Iterator<Item = String>) -> BTreeSet<String> {
    let names: BTreeSet<String> = names.collect();
    let set = |name: &String| {
        ["CHATCACHE.SET", "persona", "ann", name, "hello", "answer"].map(String::from).to_vec()
    };
    let sets: Vec<_> = names.iter().map(set).collect();
    assert!(con.pipeline(&sets).iter().all(|reply| *reply == Raw::simple("OK")));
    names
}

#[test]
fn an_iteration_lists_each_of_a_thousand_personas_once() {
    let server = Server::start();
    let mut con = server.raw();
    let all = store(&mut con, (0..1000).map(|n| format!("persona-{n}")));
    for count in ["", " COUNT 1", " count 7", " COUNT 999", " COUNT 1000", " COUNT 1000000"] {
        let names = iterate(&mut con, count, |_, _| {});
        assert_eq!(names.len(), 1000, "COUNT{count}");
        assert_eq!(BTreeSet::from_iter(names), all, "COUNT{count}");
    }
    for (line, most) in [("CHATCACHE.PERSONAS", 10), ("CHATCACHE.PERSONAS COUNT 25 CURSOR 0", 25)] {
        let (cursor, personas) = page(&mut con, line);
        assert_ne!(cursor, "0");
        assert!((1..=most).contains(&personas.len()), "{line} brought {}", personas.len());
    }
}

#[test]
fn an_iteration_lists_each_persona_that_stays_while_others_come_and_go() {
    let server = Server::start();
    let mut con = server.raw();
    let names = |what: &'static str| (0..500).map(move |n| format!("{what}-{n}"));
    let staying = store(&mut con, names("staying"));
    store(&mut con, names("going"));
    let seen = iterate(&mut con, " COUNT 10", |con, pages| {
        con.say(&format!("CHATCACHE.INVALIDATE going-{} going-{}", pages * 2, 499 - pages));
        con.ok(&format!("CHATCACHE.SET msg bob coming-{pages} coming-{pages} answer"));
        // And one that stays gets other responses.
        con.ok(&format!("CHATCACHE.SET session cy staying-{pages} s-{pages} answer"));
        con.say(&format!("CHATCACHE.DEL persona ann staying-{pages} hello"));
    });
    let stayed: Vec<_> = seen.iter().filter(|name| staying.contains(*name)).cloned().collect();
    assert_eq!(stayed.len(), 500, "each of those who stay comes once");
    assert_eq!(BTreeSet::from_iter(stayed), staying);
    let (gone, _): (Vec<_>, Vec<_>) =
        (0..5).map(|n| format!("going-{n}")).partition(|name| seen.contains(name));
    assert!(gone.len() < 5, "those who had gone do not come");
}

#[test]
fn personas_without_entries_are_not_listed() {
    let server = Server::start();
    let mut con = server.raw();
    let nobody = Raw::Array(vec![Raw::bulk("0"), Raw::Array(vec![])]);
    assert_eq!(con.say("CHATCACHE.PERSONAS"), nobody);
    assert_eq!(con.say("CHATCACHE.GET any ann helper hello"), Raw::NullBulk);
    assert_eq!(con.say("CHATCACHE.PERSONAS"), nobody, "a miss makes no persona");
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_eq!(iterate(&mut con, "", |_, _| {}), ["helper"]);
    con.say("CHATCACHE.DEL msg ann helper hello");
    assert_eq!(con.say("CHATCACHE.PERSONAS"), nobody);
    // A cursor that nobody gave ends at once.
    assert_eq!(con.say("CHATCACHE.PERSONAS CURSOR 18446744073709551615 COUNT 9223372036854775807"), nobody);
}

#[test]
fn personas_lists_the_entries_and_bytes_of_each() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello 12345");
    con.ok("CHATCACHE.SET response ann helper hello 123");
    con.ok("CHATCACHE.SET response ann coder hello 1");
    for _ in 0..3 {
        con.say("CHATCACHE.GET any ann helper hello");
    }
    con.say("CHATCACHE.GET msg ann helper bye");
    let reply = items(con.say("CHATCACHE.PERSONAS"));
    assert_eq!(reply[0], Raw::bulk("0"));
    let mut listed: Vec<Vec<(String, Raw)>> = items(reply[1].clone()).into_iter().map(pairs).collect();
    listed.sort_by_key(|persona| text_of(&persona[0].1));
    let persona = |name: &str, numbers: [i64; 4]| {
        let mut fields = vec![("name".to_owned(), Raw::bulk(name))];
        let names = ["entries", "bytes", "hits", "misses"];
        fields
            .extend(names.into_iter().zip(numbers).map(|(name, number)| (name.to_owned(), Raw::Int(number))));
        fields
    };
    assert_eq!(listed, [persona("coder", [1, 1, 0, 0]), persona("helper", [2, 8, 3, 1])]);
}

#[test]
fn the_server_s_counters_count_each_operation() {
    let server = Server::start();
    let mut con = server.raw();
    let fresh = con.stats("");
    assert!(fresh.iter().all(|(name, value)| *value == 0 || name == "index-bytes"), "{fresh:?}");
    for (n, tier) in TIERS.into_iter().enumerate() {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper {tier} 1234567890"));
        for _ in 0..=n {
            con.say(&format!("CHATCACHE.GET {tier} bob{n} helper {tier}"));
            con.say(&format!("CHATCACHE.GET {tier} ann helper {tier}"));
        }
    }
    let stats = con.stats("");
    // bob shares in msg (1) and persona (2) only; in session and response (3 + 4) he finds nothing.
    let hits = ["hits-msg", "hits-persona", "hits-session", "hits-response", "hits", "misses"];
    assert_eq!(hits.map(|name| stats[name]), [2, 4, 3, 4, 13, 7]);
    // The first hit of each response is from its key (msg, persona, session, response), and then it is hot.
    assert_eq!((stats["hits-l1"], stats["hits-l2"], stats["l1-entries"]), (9, 4, 4));
    let state = ["sets", "entries", "personas", "users", "raw-bytes", "stored-bytes", "saved-ms"];
    assert_eq!(state.map(|name| stats[name]), [4, 4, 1, 1, 40, 40, 0]);
    assert_eq!(TIERS.map(|tier| stats[&format!("entries-{tier}")]), [1; 4]);
    assert!(stats["index-bytes"] > 0);

    con.say("CHATCACHE.DEL msg ann helper msg");
    con.say("CHATCACHE.DEL msg ann helper msg");
    con.ok("CHATCACHE.SET msg ann coder hello 123");
    con.say("CHATCACHE.INVALIDATE helper");
    con.say("CHATCACHE.FORGET ann");
    let stats = con.stats("");
    let state =
        ["sets", "deleted", "drops", "dropped", "reclaimed", "pending-reclaim", "entries", "raw-bytes"];
    assert_eq!(state.map(|name| stats[name]), [5, 1, 2, 4, 4, 0, 0, 0]);
    assert_eq!(TIERS.map(|tier| stats[&format!("entries-{tier}")]), [0; 4]);
    assert_eq!((stats["personas"], stats["users"], stats["hits"]), (0, 0, 13));
    assert_eq!((stats["l1-entries"], stats["l1-bytes"]), (0, 0));
}

#[test]
fn an_invalidation_of_several_personas_counts_as_one() {
    let server = Server::start();
    let mut con = server.raw();
    for (invalidations, line) in
        [(1, "CHATCACHE.FLUSH"), (2, "CHATCACHE.INVALIDATE one two three"), (3, "CHATCACHE.FORGET ann bob")]
            .into_iter()
    {
        con.say(line);
        assert_eq!(con.stats("")["drops"], invalidations, "{line}");
    }
}

#[test]
fn a_persona_s_counters_are_its_own_and_outlive_its_entries() {
    let server = Server::start();
    let mut con = server.raw();
    let names: Vec<String> =
        pairs(con.say("CHATCACHE.STATS helper")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.join(" "), "entries bytes hits misses saved-ms");
    con.say("CHATCACHE.GET msg ann helper hello");
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    con.ok("CHATCACHE.SET response ann helper hello longer-answer");
    con.say("CHATCACHE.GET any ann helper hello");
    con.say("CHATCACHE.GET any ann coder bye");
    let told = |con: &mut RawClient, persona: &str| {
        let stats = con.stats(persona);
        ["entries", "bytes", "hits", "misses", "saved-ms"].map(|name| stats[name])
    };
    assert_eq!(told(&mut con, "helper"), [2, 19, 1, 1, 0]);
    assert_eq!(told(&mut con, "coder"), [0, 0, 0, 1, 0]);
    assert_eq!(told(&mut con, "ghost"), [0; 5]);
    con.say("CHATCACHE.INVALIDATE helper");
    assert_eq!(told(&mut con, "helper"), [0, 0, 1, 1, 0]);
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_eq!(told(&mut con, "helper"), [1, 6, 1, 1, 0]);
    // Reading the counters is no use of a response.
    assert_eq!(con.stats("")["misses"], 2);
}

#[test]
fn help_knows_every_command_and_every_tier() {
    let server = Server::start();
    let mut con = server.raw();
    let help = con.say("CHATCACHE.HELP");
    assert!(items(help.clone()).iter().all(|line| matches!(line, Raw::Simple(_))), "as OBJECT HELP");
    let lines = texts(help);
    for command in texts(con.say("COMMAND LIST FILTERBY MODULE chatcache")) {
        let name = command.strip_prefix("chatcache.").expect("our prefix").to_uppercase();
        let is_its = |line: &&String| line.split(' ').next() == Some(&name);
        assert_eq!(lines.iter().filter(is_its).count(), 1, "{name} in HELP");
    }
    for word in
        ["EX", "PX", "EXAT", "PXAT", "KEEPTTL", "NX", "XX", "ID", "CURSOR", "COUNT"].iter().chain(&TIERS)
    {
        let is_there = |line: &String| line.split(|c: char| !c.is_alphanumeric()).any(|part| part == *word);
        assert!(lines.iter().any(is_there), "{word} in HELP");
    }
    let widest = lines.iter().map(String::len).max();
    assert!(widest < Some(80), "{widest:?} columns");
}

//! Commands whose caller chooses the size of the work: one call does a bounded part of it.

use testkit::{Raw, RawClient, Server, args, items, pairs, text_of};

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

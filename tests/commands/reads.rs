//! GET, KEY and INSPECT: finding a response, and its facts.

use md5::{Digest, Md5};
use testkit::{Raw, Server, args, eventually, fields, pairs};

use super::TIERS;

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_entry_is_found_in_the_tier_it_was_stored_in_and_in_no_other() {
    let server = Server::start();
    let mut con = server.raw();
    for stored in TIERS {
        con.ok(&format!("CHATCACHE.SET {stored} ann helper in-{stored} answer"));
        for asked in TIERS {
            let reply = con.say(&format!("CHATCACHE.GET {asked} ann helper in-{stored}"));
            let wanted = if asked == stored { Raw::bulk("answer") } else { Raw::NullBulk };
            assert_eq!(reply, wanted, "stored in {stored}, asked in {asked}");
        }
        let shouted = format!("chatcache.get {} ann helper in-{stored}", stored.to_uppercase());
        assert_eq!(con.say(&shouted), Raw::bulk("answer"));
    }
}

#[test]
fn an_entry_is_shared_as_its_tier_says() {
    let server = Server::start();
    let mut con = server.raw();
    // The others that get ann's entry of the helper: (bob with the helper, ann with the coder).
    for (tier, bob, coder) in
        [("msg", true, true), ("persona", true, false), ("session", false, true), ("response", false, false)]
    {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper hello answer"));
        let wanted = |shared| if shared { Raw::bulk("answer") } else { Raw::NullBulk };
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} bob helper hello")), wanted(bob), "{tier}");
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} ann coder hello")), wanted(coder), "{tier}");
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} ann helper Hello")), Raw::NullBulk, "{tier}");
    }
}

#[test]
fn any_looks_from_the_narrowest_tier_to_the_widest() {
    let server = Server::start();
    let mut con = server.raw();
    for tier in TIERS {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper hello from-{tier}"));
    }
    for tier in ["session", "response", "persona", "msg"] {
        for any in ["any", "ANY", "Any"] {
            let reply = con.say(&format!("CHATCACHE.GET {any} ann helper hello"));
            assert_eq!(reply, Raw::bulk(format!("from-{tier}")));
        }
        assert_eq!(con.number(&format!("CHATCACHE.DEL {tier} ann helper hello")), 1);
    }
    assert_eq!(con.say("CHATCACHE.GET any ann helper hello"), Raw::NullBulk);
}

#[test]
fn get_any_without_a_user_finds_the_tiers_without_users() {
    let server = Server::start();
    let mut con = server.raw();
    for tier in TIERS {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper hello from-{tier}"));
    }
    for tier in ["persona", "msg"] {
        let reply = con.say("CHATCACHE.GET any \"\" helper hello");
        assert_eq!(reply, Raw::bulk(format!("from-{tier}")));
        assert_eq!(con.number(&format!("CHATCACHE.DEL {tier} \"\" helper hello")), 1);
    }
    assert_eq!(con.say("CHATCACHE.GET any \"\" helper hello"), Raw::NullBulk);
    assert_eq!(con.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("from-session"));
}

#[test]
fn an_id_stands_for_the_message_of_a_session() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET session ann helper hello first ID m-1");
    con.ok("CHATCACHE.SET session ann helper hello second id m-2");
    for (id, response) in [("m-1", "first"), ("m-2", "second")] {
        for message in ["hello", "\"\"", "something-else"] {
            for tier in ["session", "any"] {
                let reply = con.say(&format!("CHATCACHE.GET {tier} ann helper {message} ID {id}"));
                assert_eq!(reply, Raw::bulk(response), "{tier} {message} {id}");
            }
        }
    }
    assert_eq!(con.say("CHATCACHE.GET session ann helper hello"), Raw::NullBulk);
    assert_eq!(con.say("CHATCACHE.GET session bob helper hello ID m-1"), Raw::NullBulk);
    assert_eq!(con.number("CHATCACHE.DEL session ann helper \"\" ID m-1"), 1);
    assert_eq!(con.say("CHATCACHE.GET session ann helper hello ID m-1"), Raw::NullBulk);
    assert_eq!(con.say("CHATCACHE.GET session ann helper hello ID m-2"), Raw::bulk("second"));
}

#[test]
fn any_uses_an_id_for_the_tier_session_only() {
    let server = Server::start();
    let mut con = server.raw();
    for tier in ["msg", "persona", "response"] {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper {tier} from-{tier}"));
        let reply = con.say(&format!("CHATCACHE.GET any ann helper {tier} ID m-1"));
        assert_eq!(reply, Raw::bulk(format!("from-{tier}")));
    }
    con.ok("CHATCACHE.SET session ann helper \"\" from-session ID m-1");
    assert_eq!(con.say("CHATCACHE.GET any ann helper msg ID m-1"), Raw::bulk("from-session"));
    assert_eq!(con.say("CHATCACHE.GET any ann helper msg ID m-2"), Raw::bulk("from-msg"));
}

#[test]
fn an_id_spelled_as_the_md5_of_a_message_is_no_message() {
    let server = Server::start();
    let mut con = server.raw();
    let id = hex(Md5::digest("hello"));
    con.ok(&format!("CHATCACHE.SET session ann helper other answer ID {id}"));
    assert_eq!(con.say("CHATCACHE.GET session ann helper hello"), Raw::NullBulk);
    con.ok("CHATCACHE.SET session ann helper hello greeting");
    assert_eq!(con.say("CHATCACHE.GET session ann helper hello"), Raw::bulk("greeting"));
    assert_eq!(con.say(&format!("CHATCACHE.GET session ann helper other ID {id}")), Raw::NullBulk);
}

#[test]
fn the_key_is_one_that_a_client_can_compute_and_find() {
    let server = Server::start();
    let mut con = server.raw();
    let encoded = |name: &[u8]| -> Vec<u8> {
        let escaped = |byte: &u8| match byte {
            b'%' | b':' | b'{' | b'}' => format!("%{byte:02X}").into_bytes(),
            byte => vec![*byte],
        };
        name.iter().flat_map(escaped).collect()
    };
    let names: [&[u8]; 4] = [b"ann", b"a:b%c{d}e", b"\0\r\n\xff \xc4\x80", b"%3A"];
    let messages: [&[u8]; 3] = [b"hello", b"", b"\xff\0\r\n:{}%\xc4\x80"];
    for (user, persona) in names.iter().flat_map(|user| names.map(|persona| (*user, persona))) {
        for message in messages {
            let md5 = hex(Md5::digest(message)).into_bytes();
            let (u, p) = (encoded(user), encoded(persona));
            let keys = [
                ("msg", [&b"msg"[..], &md5].join(&b':')),
                ("persona", [&b"persona"[..], &p, &md5].join(&b':')),
                ("session", [&b"session"[..], &u, &md5].join(&b':')),
                ("response", [&b"response"[..], &u, &p, &md5].join(&b':')),
            ];
            for (tier, key) in keys {
                let reply = con.call(&args!["CHATCACHE.KEY", tier, user, persona, message]);
                assert_eq!(reply, Raw::Bulk(key.clone()), "{tier} {user:?} {persona:?} {message:?}");
                let stored = con.call(&args!["CHATCACHE.SET", tier, user, persona, message, "answer"]);
                assert_eq!(stored, Raw::simple("OK"));
                assert_eq!(con.call(&args!["TYPE", key]), Raw::simple("chatcache"));
                assert_eq!(con.call(&args!["DEL", key]), Raw::Int(1));
            }
        }
        let key = [b"session", &encoded(user)[..], &encoded(persona)].join(&b':');
        let reply = con.call(&args!["CHATCACHE.KEY", "session", user, "helper", "hello", "ID", persona]);
        assert_eq!(reply, Raw::Bulk(key), "the ID {persona:?}");
    }
    assert_eq!(con.number("DBSIZE"), 0);
}

#[test]
fn inspect_tells_all_that_is_known_of_an_entry_and_uses_none_of_it() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET session ann helper hello answer ID m:1 EX 100");
    assert_eq!(con.say("CHATCACHE.GET session ann helper hello ID m:1"), Raw::bulk("answer"));
    assert_eq!(con.say("CHATCACHE.GET any ann helper hello ID m:1"), Raw::bulk("answer"));
    let before = con.stats("");
    let inspect = |con: &mut testkit::RawClient| con.say("CHATCACHE.INSPECT session bob helper x ID m:1");
    assert_eq!(inspect(&mut con), Raw::NullBulk, "bob has no such session");
    let reply = con.say("CHATCACHE.INSPECT session ann coder x ID m:1");
    let names: Vec<String> = pairs(reply.clone()).into_iter().map(|(name, _)| name).collect();
    let wanted = "key tier user persona age-ms fresh-ms ttl-ms hits cost-ms raw-bytes stored-bytes encoding";
    assert_eq!(names.join(" "), wanted);
    let mut known = fields(reply);
    let mut number = |name| match known.remove(name) {
        Some(Raw::Int(number)) => number,
        other => panic!("{name}: {other:?}"),
    };
    assert!((0..30_000).contains(&number("age-ms")));
    let ttl = number("ttl-ms");
    assert!((70_000..=100_000).contains(&ttl), "{ttl}");
    assert_eq!(number("fresh-ms"), ttl);
    assert_eq!(number("hits"), 2);
    assert_eq!(number("cost-ms"), 0);
    assert_eq!(number("raw-bytes"), 6);
    assert_eq!(number("stored-bytes"), 6);
    assert_eq!(known["key"], Raw::bulk("session:ann:m%3A1"));
    assert_eq!(known["tier"], Raw::bulk("session"));
    assert_eq!(known["user"], Raw::bulk("ann"));
    assert_eq!(known["persona"], Raw::bulk("helper"));
    assert_eq!(known["encoding"], Raw::bulk("raw"));
    assert_eq!(con.stats(""), before, "looking is no use");
}

#[test]
fn inspect_gives_an_entry_without_an_end_the_ttl_minus_one_and_ages_it() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET persona \"\" helper hello answer");
    let key = con.text("CHATCACHE.KEY persona \"\" helper hello");
    assert_eq!(con.number(&format!("PERSIST {key}")), 1);
    let known = fields(con.say("CHATCACHE.INSPECT persona ann helper hello"));
    assert_eq!((&known["ttl-ms"], &known["fresh-ms"]), (&Raw::Int(-1), &Raw::Int(-1)));
    assert_eq!(known["user"], Raw::bulk(""));
    eventually(|| {
        let known = fields(con.say("CHATCACHE.INSPECT persona ann helper hello"));
        matches!(known["age-ms"], Raw::Int(age) if age > 20)
    });
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 1);
    assert_eq!(con.say("CHATCACHE.INSPECT persona ann helper hello"), Raw::NullBulk);
}

#[test]
fn an_expired_entry_is_gone_for_all_users() {
    let server = Server::start();
    let mut con = server.raw();
    // Only a look may find out that the time is over.
    con.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    for tier in TIERS {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper {tier} answer PX 30"));
        eventually(|| con.say(&format!("CHATCACHE.GET {tier} ann helper {tier}")) == Raw::NullBulk);
        con.ok(&format!("CHATCACHE.SET {tier} ann helper {tier} answer PX 30"));
        eventually(|| con.say(&format!("CHATCACHE.INSPECT {tier} ann helper {tier}")) == Raw::NullBulk);
        con.ok(&format!("CHATCACHE.SET {tier} ann helper {tier} answer EXAT 1"));
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} ann helper {tier}")), Raw::NullBulk);
    }
    con.ok("DEBUG SET-ACTIVE-EXPIRE 1");
    con.ok("CHATCACHE.SET msg ann helper unseen answer PX 30");
    eventually(|| con.number("DBSIZE") == 0);
    assert_eq!(con.stats("")["entries"], 0);
    assert_eq!(con.stats("")["personas"], 0);
}

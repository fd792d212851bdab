//! Keys that go one by one, and databases that go whole.

use testkit::{Raw, Server, args};

use super::story::{
    BOBS, Census, EMPTY, FULL, MSG, PERSONA, POETS, RESPONSE, SESSION, story, story_on, without_anns,
};

#[test]
fn a_key_that_was_deleted_is_out_of_the_index() {
    story([without_anns(3), EMPTY], |fixture| {
        let key = fixture.key(SESSION);
        fixture.number(1, &args!["DEL", key]);
    });
    story([without_anns(4), EMPTY], |fixture| {
        let [one, other] = [fixture.key(RESPONSE), b"nothing".to_vec()];
        fixture.number(1, &args!["UNLINK", one, other]);
    });
    story([without_anns(1), EMPTY], |fixture| {
        fixture.number(1, &["CHATCACHE.DEL", "msg", "anybody", "helper", "hi"]);
    });
    story([without_anns(1), EMPTY], |fixture| {
        let key = fixture.key(MSG);
        fixture.number(1, &args!["EXPIRE", key, -1]);
    });
}

#[test]
fn the_last_key_of_a_persona_takes_the_persona_with_it() {
    story([Census { poet: (0, 0), bob: 1, keys: 5, ..FULL }, EMPTY], |fixture| {
        let key = fixture.key(POETS);
        fixture.number(1, &args!["UNLINK", key]);
    });
}

#[test]
fn lazy_freeing_makes_no_difference() {
    let lazy = ["expire", "eviction", "server-del", "user-del", "user-flush"];
    let builder = lazy
        .iter()
        .fold(Server::builder(), |builder, what| builder.config(format!("lazyfree-lazy-{what} yes")));
    story_on(builder, [without_anns(3), EMPTY], |fixture| {
        let key = fixture.key(SESSION);
        fixture.number(1, &args!["DEL", key]);
    });
}

#[test]
fn a_key_that_another_type_took_over_is_out_of_the_index() {
    story([Census { keys: 6, ..without_anns(4) }, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.ok(&args!["SET", key, "text"]);
    });
    story([Census { keys: 7, ..without_anns(4) }, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["SADD", "set", "member"]);
        fixture.number(1, &args!["SUNIONSTORE", key, "set"]);
    });
    // A set without members does not exist, but the entry is gone all the same.
    story([without_anns(4), EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(0, &args!["SINTERSTORE", key, "set", "other set"]);
    });
}

#[test]
fn a_command_of_another_type_changes_nothing() {
    story([FULL, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        for refused in [
            &args!["GETSET", key, "text"][..],
            &args!["SET", key, "text", "GET"],
            &args!["GETDEL", key],
            &args!["APPEND", key, "text"],
            &args!["LPUSH", key, "text"],
        ] {
            let reply = fixture.run(refused);
            assert!(matches!(&reply, Raw::Error(text) if text.starts_with("WRONGTYPE")), "{reply:?}");
        }
        fixture.number(0, &args!["SETNX", key, "text"]);
        fixture.responses(RESPONSE);
    });
}

#[test]
fn an_entry_that_is_stored_again_counts_once_with_its_new_bytes() {
    let longer = Census { helper: (5, 15 + 7), ..FULL };
    story([longer, EMPTY], |fixture| {
        fixture.ok(&["CHATCACHE.SET", "persona", "ann", "helper", "hi", "22+longer"]);
    });
    // In the tier msg poet's response takes the place of helper's, and bob's that of ann's.
    let others = Census { helper: (4, 14), poet: (2, 9), ann: 3, bob: 3, keys: 6 };
    story([others, EMPTY], |fixture| {
        fixture.ok(&["CHATCACHE.SET", "msg", "bob", "poet", "hi", "one"]);
    });
}

#[test]
fn a_script_and_a_transaction_do_the_same_as_their_commands() {
    let gone = Census { helper: (3, 9), ann: 3, bob: 1, keys: 4, ..FULL };
    const SCRIPT: &str = "redis.call('DEL', ARGV[1]) redis.call('RENAME', ARGV[2], ARGV[3])
        return redis.call('CHATCACHE.GET', 'session', 'ann', 'helper', 'hi')";
    story([gone, EMPTY], |fixture| {
        let [del, from, to] = [fixture.key(BOBS), fixture.key(MSG), fixture.key(SESSION)];
        // The message's response overwrites the session's, and does not serve the session.
        assert_eq!(fixture.run(&args!["EVAL", SCRIPT, 0, del, from, to]), Raw::NullBulk);
        fixture.ok(&["CHATCACHE.SET", "session", "ann", "helper", "hi", "1++"]);
    });
    story([gone, EMPTY], |fixture| {
        let [del, from, to] = [fixture.key(BOBS), fixture.key(MSG), fixture.key(SESSION)];
        fixture.ok(&["MULTI"]);
        for queued in [
            &args!["DEL", del][..],
            &args!["RENAME", from, to],
            &args!["CHATCACHE.SET", "session", "ann", "helper", "hi", "1++"],
        ] {
            assert_eq!(fixture.run(queued), Raw::simple("QUEUED"));
        }
        let done = vec![Raw::Int(1), Raw::simple("OK"), Raw::simple("OK")];
        assert_eq!(fixture.run(&["EXEC"]), Raw::Array(done));
    });
}

#[test]
fn a_flushed_database_is_empty_and_the_others_are_not_touched() {
    for how in ["SYNC", "ASYNC"] {
        story([EMPTY, FULL], |fixture| {
            fixture.seed(1);
            fixture.select(0);
            fixture.ok(&["FLUSHDB", how]);
        });
        story([EMPTY, Census { poet: (0, 0), helper: (1, 2), ann: 1, bob: 0, keys: 1 }], |fixture| {
            fixture.seed(1);
            fixture.ok(&["FLUSHALL", how]);
            fixture.store(PERSONA);
        });
    }
}

#[test]
fn an_entry_stored_while_the_old_one_is_freed_in_the_background_stays() {
    story([FULL, EMPTY], |fixture| {
        for number in 0..2000 {
            fixture.ok(&args!["CHATCACHE.SET", "msg", "", "helper", number, "answer"]);
        }
        fixture.ok(&["MULTI"]);
        fixture.con.call(&["FLUSHALL", "ASYNC"]);
        fixture.con.call(&["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1"]);
        assert!(matches!(fixture.con.call(&["EXEC"]), Raw::Array(_)));
        fixture.seed(0);
    });
}

//! Keys that go one by one, and databases that go whole.

use testkit::{Raw, Server, args};

use super::story::{
    BOBS, Census, EMPTY, FULL, MSG, PERSONA, POETS, RESPONSE, SESSION, story, story_on, without_anns,
};

#[test]
fn a_key_that_was_deleted_is_out_of_the_index() {
    story([without_anns(3), EMPTY], |desk| {
        let key = desk.key(SESSION);
        desk.number(1, &args!["DEL", key]);
    });
    story([without_anns(4), EMPTY], |desk| {
        let [one, other] = [desk.key(RESPONSE), b"nothing".to_vec()];
        desk.number(1, &args!["UNLINK", one, other]);
    });
    story([without_anns(1), EMPTY], |desk| {
        desk.number(1, &["CHATCACHE.DEL", "msg", "anybody", "helper", "hi"]);
    });
    story([without_anns(1), EMPTY], |desk| {
        let key = desk.key(MSG);
        desk.number(1, &args!["EXPIRE", key, -1]);
    });
}

#[test]
fn the_last_key_of_a_persona_takes_the_persona_with_it() {
    story([Census { poet: (0, 0), bob: 1, keys: 5, ..FULL }, EMPTY], |desk| {
        let key = desk.key(POETS);
        desk.number(1, &args!["UNLINK", key]);
    });
}

#[test]
fn lazy_freeing_makes_no_difference() {
    let lazy = ["expire", "eviction", "server-del", "user-del", "user-flush"];
    let builder = lazy
        .iter()
        .fold(Server::builder(), |builder, what| builder.config(format!("lazyfree-lazy-{what} yes")));
    story_on(builder, [without_anns(3), EMPTY], |desk| {
        let key = desk.key(SESSION);
        desk.number(1, &args!["DEL", key]);
    });
}

#[test]
fn a_key_that_another_type_took_over_is_out_of_the_index() {
    story([Census { keys: 6, ..without_anns(4) }, EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        desk.ok(&args!["SET", key, "text"]);
    });
    story([Census { keys: 7, ..without_anns(4) }, EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        desk.number(1, &args!["SADD", "set", "member"]);
        desk.number(1, &args!["SUNIONSTORE", key, "set"]);
    });
    // Of no members there is no set, but the answer is gone all the same.
    story([without_anns(4), EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        desk.number(0, &args!["SINTERSTORE", key, "set", "other set"]);
    });
}

#[test]
fn a_command_of_another_type_changes_nothing() {
    story([FULL, EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        for refused in [
            &args!["GETSET", key, "text"][..],
            &args!["SET", key, "text", "GET"],
            &args!["GETDEL", key],
            &args!["APPEND", key, "text"],
            &args!["LPUSH", key, "text"],
        ] {
            let reply = desk.run(refused);
            assert!(matches!(&reply, Raw::Error(text) if text.starts_with("WRONGTYPE")), "{reply:?}");
        }
        desk.number(0, &args!["SETNX", key, "text"]);
        desk.answers(RESPONSE);
    });
}

#[test]
fn an_answer_that_is_stored_again_counts_once_with_its_new_bytes() {
    let longer = Census { helper: (5, 15 + 7), ..FULL };
    story([longer, EMPTY], |desk| {
        desk.ok(&["CHATCACHE.SET", "persona", "ann", "helper", "hi", "22+longer"]);
    });
    // In the tier msg poet's answer takes the place of helper's, and bob's that of ann's.
    let others = Census { helper: (4, 14), poet: (2, 9), ann: 3, bob: 3, keys: 6 };
    story([others, EMPTY], |desk| {
        desk.ok(&["CHATCACHE.SET", "msg", "bob", "poet", "hi", "one"]);
    });
}

#[test]
fn a_script_and_a_transaction_do_what_their_commands_do() {
    let gone = Census { helper: (3, 9), ann: 3, bob: 1, keys: 4, ..FULL };
    const SCRIPT: &str = "redis.call('DEL', ARGV[1]) redis.call('RENAME', ARGV[2], ARGV[3])
        return redis.call('CHATCACHE.GET', 'session', 'ann', 'helper', 'hi')";
    story([gone, EMPTY], |desk| {
        let [del, from, to] = [desk.key(BOBS), desk.key(MSG), desk.key(SESSION)];
        // The session's answer is overwritten by the message's, which does not answer the session.
        assert_eq!(desk.run(&args!["EVAL", SCRIPT, 0, del, from, to]), Raw::NullBulk);
        desk.ok(&["CHATCACHE.SET", "session", "ann", "helper", "hi", "1++"]);
    });
    story([gone, EMPTY], |desk| {
        let [del, from, to] = [desk.key(BOBS), desk.key(MSG), desk.key(SESSION)];
        desk.ok(&["MULTI"]);
        for queued in [
            &args!["DEL", del][..],
            &args!["RENAME", from, to],
            &args!["CHATCACHE.SET", "session", "ann", "helper", "hi", "1++"],
        ] {
            assert_eq!(desk.run(queued), Raw::simple("QUEUED"));
        }
        let done = vec![Raw::Int(1), Raw::simple("OK"), Raw::simple("OK")];
        assert_eq!(desk.run(&["EXEC"]), Raw::Array(done));
    });
}

#[test]
fn a_flushed_database_is_empty_and_the_others_are_not_touched() {
    for how in ["SYNC", "ASYNC"] {
        story([EMPTY, FULL], |desk| {
            desk.seed(1);
            desk.select(0);
            desk.ok(&["FLUSHDB", how]);
        });
        story([EMPTY, Census { poet: (0, 0), helper: (1, 2), ann: 1, bob: 0, keys: 1 }], |desk| {
            desk.seed(1);
            desk.ok(&["FLUSHALL", how]);
            desk.store(PERSONA);
        });
    }
}

#[test]
fn what_is_stored_while_the_old_is_freed_in_the_background_stays() {
    story([FULL, EMPTY], |desk| {
        for number in 0..2000 {
            desk.ok(&args!["CHATCACHE.SET", "msg", "", "helper", number, "answer"]);
        }
        desk.ok(&["MULTI"]);
        desk.con.call(&["FLUSHALL", "ASYNC"]);
        desk.con.call(&["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1"]);
        assert!(matches!(desk.con.call(&["EXEC"]), Raw::Array(_)));
        desk.seed(0);
    });
}

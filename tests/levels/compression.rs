//! L2: cold responses are compressed, and nobody can tell but by their size.

use testkit::{Raw, RawClient, Server, args, eventually, fields, info_field, replica_caught_up};

/// Returns a response like those of a model, of some 1,300 bytes, another for each number.
fn response(n: usize) -> String {
    let topics = ["the invoice", "your order", "a refund", "the delivery", "the password", "this feature"];
    let topic = topics[n % topics.len()];
    let mut text = format!("Thank you for asking about {topic} (case {n}). ");
    for step in 0..12 {
        text.push_str(&format!(
            "Step {step}: please open the settings, choose entry {} and confirm {topic} with code {:x}. ",
            (n * 7 + step * 13) % 101,
            n * 2_654_435_761 % 999_983 + step * 7919,
        ));
    }
    text
}

fn set(con: &mut RawClient, n: usize, response: impl AsRef<[u8]>) {
    let response = response.as_ref();
    let message = format!("question {n}");
    let set: [&[u8]; 8] =
        [b"CHATCACHE.SET", b"persona", b"", b"helper", message.as_bytes(), response, b"EX", b"1000"];
    assert_eq!(con.call(&set), Raw::simple("OK"));
}

fn get(con: &mut RawClient, n: usize) -> Raw {
    con.call(&args!["CHATCACHE.GET", "persona", "", "helper", format!("question {n}")])
}

fn inspect(con: &mut RawClient, n: usize, field: &str) -> Raw {
    let message = format!("question {n}");
    fields(con.call(&args!["CHATCACHE.INSPECT", "persona", "", "helper", message]))[field].clone()
}

fn key(con: &mut RawClient, n: usize) -> String {
    let message = format!("question {n}");
    testkit::text_of(&con.call(&args!["CHATCACHE.KEY", "persona", "", "helper", message]))
}

/// Waits until this response is compressed, and returns its encoding.
fn compressed(con: &mut RawClient, n: usize) -> String {
    eventually(|| inspect(con, n, "encoding") != Raw::bulk("raw"));
    testkit::text_of(&inspect(con, n, "encoding"))
}

fn waited(con: &mut RawClient) {
    eventually(|| con.stats("")["waiting-to-compress"] == 0);
}

#[test]
fn an_entry_that_would_take_long_to_decompress_stays_raw() {
    let server = Server::start();
    let mut con = server.raw();
    let of = |parts: usize| -> String { (0..parts).map(response).collect() };
    set(&mut con, 1, of(4_000));
    set(&mut con, 2, of(2_000));
    assert!(matches!(inspect(&mut con, 1, "raw-bytes"), Raw::Int(bytes) if bytes > 4 << 20));
    assert_eq!(compressed(&mut con, 2), "zstd");
    assert_eq!(inspect(&mut con, 1, "encoding"), Raw::bulk("raw"));
    // A compressed entry can be hot.
    let long = Raw::bulk(of(2_000));
    eventually(|| {
        assert_eq!(get(&mut con, 2), long);
        con.stats("")["hits-l1"] > 0
    });
}

#[test]
fn a_cold_entry_is_compressed_and_read_as_it_was() {
    for (method, most) in [("zstd", 0.6), ("lz4", 0.8)] {
        let server = Server::builder().config(format!("chatcache.compression {method}")).start();
        let mut con = server.raw();
        let text = response(1);
        set(&mut con, 1, &text);
        let key = key(&mut con, 1);
        assert_eq!(inspect(&mut con, 1, "encoding"), Raw::bulk("raw"), "SET packs nothing");
        let usage = con.number(&format!("MEMORY USAGE {key}"));
        let (digest, idle) = (con.say(&format!("DEBUG DIGEST-VALUE {key}")), con.stats("helper"));

        assert_eq!(compressed(&mut con, 1), method);
        let stats = con.stats("");
        assert_eq!(stats["raw-bytes"], text.len() as i64);
        assert!((stats["stored-bytes"] as f64) < text.len() as f64 * most, "{method}: {stats:?}");
        assert_eq!(inspect(&mut con, 1, "raw-bytes"), Raw::Int(text.len() as i64));
        assert_eq!(inspect(&mut con, 1, "stored-bytes"), Raw::Int(stats["stored-bytes"]));
        assert_eq!(con.stats("helper")["bytes"], stats["stored-bytes"]);
        assert!(con.number(&format!("MEMORY USAGE {key}")) < usage);
        assert_eq!(con.say(&format!("DEBUG DIGEST-VALUE {key}")), digest);
        assert_eq!(idle["hits"], 0);
        assert_eq!(get(&mut con, 1), Raw::bulk(&text));
        let fetched = con.call(&args!["CHATCACHE.FETCH", "persona", "", "helper", "question 1"]);
        assert_eq!(fetched, testkit::hit(&text));
        con.say("CHATCACHE.INVALIDATE helper");
        let stats = con.stats("");
        assert_eq!((stats["raw-bytes"], stats["stored-bytes"]), (0, 0));
    }
}

#[test]
fn entries_that_are_read_often_stay_raw() {
    let server = Server::start();
    let mut con = server.raw();
    let text = response(1);
    set(&mut con, 1, &text);
    set(&mut con, 2, response(2));
    for _ in 0..3 {
        assert_eq!(get(&mut con, 1), Raw::bulk(&text));
    }
    compressed(&mut con, 2);
    waited(&mut con);
    assert_eq!(inspect(&mut con, 1, "encoding"), Raw::bulk("raw"), "it is hot");
    con.ok("CONFIG SET chatcache.l1-max-bytes 0");
    compressed(&mut con, 1);
    con.ok("CONFIG SET chatcache.l1-max-bytes 64mb");
    eventually(|| con.stats("")["l1-entries"] == 0);
    let hits = con.stats("")["hits-l1"];
    eventually(|| {
        assert_eq!(get(&mut con, 2), Raw::bulk(response(2)));
        con.stats("")["hits-l1"] > hits
    });
    assert_eq!(inspect(&mut con, 2, "encoding"), Raw::bulk("raw"));
    let stats = con.stats("");
    assert!(stats["stored-bytes"] < stats["raw-bytes"]);
}

#[test]
fn small_and_incompressible_responses_stay_raw() {
    let server = Server::builder().config("chatcache.compression-min-bytes 1kb").start();
    let mut con = server.raw();
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let noise: Vec<u8> = noise.take(3000).collect();
    let texts =
        ["a".repeat(1023).into_bytes(), "ab".repeat(512).into_bytes(), noise, response(3).into_bytes()];
    for (n, text) in texts.iter().enumerate() {
        set(&mut con, n, text);
    }
    compressed(&mut con, 1);
    compressed(&mut con, 3);
    waited(&mut con);
    assert_eq!(inspect(&mut con, 0, "encoding"), Raw::bulk("raw"));
    assert_eq!(inspect(&mut con, 2, "encoding"), Raw::bulk("raw"));
    assert_eq!(con.stats("")["compressed"], 2);

    con.ok("CONFIG SET chatcache.compression none");
    set(&mut con, 3, response(4));
    assert_eq!(con.stats("")["waiting-to-compress"], 0);
}

#[test]
fn entries_are_compressed_in_the_database_that_they_have_come_to() {
    let server = Server::start();
    let mut con = server.raw();
    for n in 0..20 {
        set(&mut con, n, response(n));
    }
    for _ in 0..2 {
        assert_eq!(get(&mut con, 1), Raw::bulk(response(1)));
    }
    con.ok("SWAPDB 0 3");
    waited(&mut con);
    con.ok("SELECT 3");
    for n in [0, 19] {
        compressed(&mut con, n);
        assert_eq!(get(&mut con, n), Raw::bulk(response(n)));
    }
    // The hot one is compressed where it is now, once it is cold.
    let before = con.stats("")["hits-l1"];
    assert_eq!(get(&mut con, 1), Raw::bulk(response(1)));
    assert_eq!(con.stats("")["hits-l1"], before + 1);
    con.ok("CONFIG SET chatcache.l1-max-bytes 0");
    compressed(&mut con, 1);
    assert_eq!(get(&mut con, 1), Raw::bulk(response(1)));
}

#[test]
fn compressing_one_very_long_response_leaves_no_memory_behind() {
    for method in ["zstd", "lz4"] {
        let server = Server::builder().config(format!("chatcache.compression {method}")).start();
        let mut con = server.raw();
        let used = |server: &Server| -> i64 {
            info_field(&mut server.connect(), "memory", "used_memory").parse().expect("a number")
        };
        let before = used(&server);
        let long: String = (0..2_900).map(response).collect();
        set(&mut con, 1, &long);
        compressed(&mut con, 1);
        con.ok("FLUSHALL");
        drop(con);
        // As large as the response, 4 MB.
        eventually(|| used(&server) < before + 2_000_000);
    }
}

/// A response compressed with a dictionary can be read by any server to which it goes.
#[test]
fn entries_compressed_with_a_dictionary_are_readable_everywhere() {
    const RESPONSES: usize = 1500;
    let mut server = Server::builder().config("aof-use-rdb-preamble no").start();
    let mut con = server.raw();
    for n in 0..RESPONSES {
        set(&mut con, n, response(n));
    }
    waited(&mut con);
    let last = RESPONSES - 1;
    assert_eq!(compressed(&mut con, last), "zstd-dictionary");
    let stats = con.stats("");
    assert_eq!((stats["dictionaries"], stats["entries"]), (1, RESPONSES as i64));

    let other = Server::start();
    let mut reader = other.raw();
    for n in [0, last] {
        let key = key(&mut con, n);
        let Raw::Bulk(dump) = con.say(&format!("DUMP {key}")) else { panic!("no dump") };
        assert_eq!(reader.call(&args!["RESTORE", key, "0", dump]), Raw::simple("OK"));
        assert_eq!(inspect(&mut reader, n, "encoding"), Raw::bulk("zstd"), "it stays packed");
        assert_eq!(get(&mut reader, n), Raw::bulk(response(n)));
    }
    let check = |con: &mut RawClient| {
        for n in (0..RESPONSES).step_by(50).chain([last]) {
            assert_eq!(get(con, n), Raw::bulk(response(n)), "{n}");
        }
        let told = con.stats("");
        assert_eq!((told["entries"], told["raw-bytes"]), (stats["entries"], stats["raw-bytes"]));
    };
    let replica = Server::builder().replica_of(&server).start();
    replica_caught_up(&server, &replica);
    check(&mut replica.raw());
    let replica_stats = replica.raw().stats("");
    assert!(
        replica_stats["stored-bytes"] < replica_stats["raw-bytes"] * 3 / 4,
        "it came packed: {replica_stats:?}"
    );
    let digest = con.say("DEBUG DIGEST");
    assert_eq!(replica.raw().say("DEBUG DIGEST"), digest);
    check(&mut con);

    server.restart();
    let mut con = server.raw();
    check(&mut con);
    con.ok("CONFIG SET appendonly yes");
    eventually(|| {
        let Raw::Bulk(info) = con.say("INFO persistence") else { panic!("INFO is text") };
        let info = String::from_utf8_lossy(&info).into_owned();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    });
    server.kill9();
    server.start_again();
}

#[test]
fn a_damaged_compressed_entry_is_refused() {
    let server = Server::start();
    let mut con = server.raw();
    set(&mut con, 1, response(1));
    compressed(&mut con, 1);
    let key = key(&mut con, 1);
    let Raw::Bulk(dump) = con.say(&format!("DUMP {key}")) else { panic!("no dump") };
    let mut refused = 0;
    // The last ten bytes are the version and the checksum of the dump.
    for at in (dump.len() / 2)..(dump.len() - 12) {
        let mut bent = dump.clone();
        bent[at] ^= 0x55;
        let checksum = crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(&bent[..bent.len() - 8]);
        let end = bent.len() - 8;
        bent[end..].copy_from_slice(&checksum.to_le_bytes());
        match con.call(&args!["RESTORE", "bent", "0", bent, "REPLACE"]) {
            Raw::Error(_) => refused += 1,
            Raw::Simple(_) => {
                con.say("DEL bent");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    assert!(!server.crashed());
    assert_eq!(get(&mut con, 1), Raw::bulk(response(1)));
}

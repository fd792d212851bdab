//! Ten thousand values that no module wrote, with right checksums, as any client with a right to RESTORE can send.

use chatcache::entry::codec::{ENCODING_VERSION, Record, RecordState, encode_header};
use chatcache::entry::dump::{restore_payload, type_id};
use chatcache::tier::Tier;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use testkit::{Raw, Server, args, seed};

use super::consistency;

const VALUES: usize = 10_000;

/// The offset of the module's bytes, behind the number of the type: with another number the value would be another type's.
const FIRST: usize = 10;

/// The end of a payload: RDB version and checksum.
const END: usize = 10;

fn checksum(payload: &mut [u8]) {
    const CRC64: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_REDIS);
    let (value, sum) = payload.split_at_mut(payload.len() - 8);
    sum.copy_from_slice(&CRC64.checksum(value).to_le_bytes());
}

fn number(rng: &mut StdRng) -> i64 {
    *[0, 1, -1, i64::MIN, i64::MAX, 1_700_000_000_000, rng.random()].choose(rng).expect("a number")
}

fn bytes(rng: &mut StdRng, most: usize) -> Vec<u8> {
    (0..rng.random_range(0..=most)).map(|_| rng.random()).collect()
}

/// A value of the right form, whose fields say anything.
fn odd(rng: &mut StdRng, encoding: chatcache::entry::codec::RecordEncoding) -> Vec<u8> {
    let state = if rng.random_bool(0.7) { RecordState::Live } else { RecordState::Tombstone };
    let payload = bytes(rng, if state == RecordState::Live { 200 } else { 1 });
    let raw_bytes = match rng.random_range(0..4) {
        0 => rng.random(),
        _ => payload.len() as u32,
    };
    let header = encode_header(
        &Record {
            state,
            tier: *Tier::ALL.choose(rng).expect("a tier"),
            persona: bytes(rng, 20),
            user: bytes(rng, 20),
            fingerprint: rng.random(),
            stored_at_ms: number(rng),
            fresh_until_ms: rng.random_bool(0.5).then(|| number(rng)),
            hits: rng.random(),
            cost_ms: rng.random(),
            raw_bytes,
            encoding,
        }
        .borrow(),
    );
    let id = type_id("chatcache", ENCODING_VERSION as u16);
    match rng.random_range(0..10) {
        0 => restore_payload(id, &[&header]),
        1 => restore_payload(id, &[&header, &payload, &payload]),
        2 => restore_payload(id, &[]),
        _ => restore_payload(id, &[&header, &payload]),
    }
}

/// The same value with some bytes changed, added or cut off.
fn bend(rng: &mut StdRng, payload: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let end = payload.len() - END;
        if end <= FIRST + 1 {
            break;
        }
        let at = rng.random_range(FIRST..end);
        match rng.random_range(0..5) {
            0 => payload[at] ^= 1 << rng.random_range(0..8),
            1 => payload[at] = rng.random(),
            2 => {
                let telling = [0, 1, 2, 3, 0x3f, 0x40, 0x80, 0x81, 0xc3, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];
                payload[at] = *telling.choose(rng).expect("a byte");
            }
            3 => payload.insert(at, rng.random()),
            _ => drop(payload.drain(at..rng.random_range(at..end))),
        }
    }
    checksum(payload);
}

#[test]
fn ten_thousand_corrupt_values_are_refused_or_valid_and_the_counts_agree() {
    let mut rng = StdRng::seed_from_u64(seed());
    let server = Server::builder().config("rdbcompression no").start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET response ann helper q a");
    let long = "x".repeat(500);
    con.ok(&format!("CHATCACHE.SET response ann helper long {long}"));
    let templates: Vec<Vec<u8>> = ["q", "long"]
        .map(|message| con.text(&format!("CHATCACHE.KEY response ann helper {message}")))
        .map(|key| match con.call(&args!["DUMP", key]) {
            Raw::Bulk(dump) => dump,
            other => panic!("DUMP gave {other:?}"),
        })
        .into();
    let (mut taken, mut refused) = (0, 0);
    let mut sent = 0;
    while sent < VALUES {
        let mut commands = Vec::new();
        for n in 0..250 {
            let mut payload = match rng.random_range(0..3) {
                0 => templates.choose(&mut rng).expect("a template").clone(),
                _ => odd(&mut rng, chatcache::entry::codec::RecordEncoding::Raw),
            };
            if rng.random_bool(0.6) {
                bend(&mut rng, &mut payload);
            }
            // Some come over others, some have ended already, some end soon.
            let key = format!("bent {}", n % 200);
            let ttl = *["0", "0", "0", "1", "3600000"].choose(&mut rng).expect("a TTL");
            let mut command = args!["RESTORE", key, ttl, payload, "REPLACE"].to_vec();
            command.extend(rng.random_bool(0.05).then(|| b"ABSTTL".to_vec()));
            commands.push(command);
        }
        sent += commands.len();
        for (reply, command) in con.pipeline(&commands).into_iter().zip(&commands) {
            match reply {
                Raw::Simple(_) => taken += 1,
                Raw::Error(text) if text == "ERR Bad data format" => refused += 1,
                other => panic!("{other:?} for {:?}", command[3].escape_ascii().to_string()),
            }
        }
        // Accepted values are used like any others.
        let uses: Vec<_> = (0..200)
            .flat_map(|n| {
                let (key, copy) = (format!("bent {n}"), format!("copy {}", n % 20));
                [
                    args!["DUMP", key].to_vec(),
                    args!["MEMORY", "USAGE", key].to_vec(),
                    args!["DEBUG", "DIGEST-VALUE", key].to_vec(),
                    args!["COPY", key, copy, "REPLACE"].to_vec(),
                    args!["RENAME", copy, key].to_vec(),
                ]
            })
            .collect();
        con.pipeline(&uses);
        // Expired keys go when they are accessed.
        let names = (0..200).map(|n| format!("bent {n}")).chain((0..20).map(|n| format!("copy {n}")));
        let looks: Vec<_> = names.map(|name| args!["EXISTS", name].to_vec()).collect();
        con.pipeline(&looks);
        // No request finds any of them.
        assert_eq!(con.say("CHATCACHE.GET response ann helper q"), Raw::bulk("a"));
        assert_eq!(con.say("CHATCACHE.GET any ann helper other"), Raw::NullBulk);
        consistency::counts_agree(&mut con);
    }
    println!("{sent} sent: {taken} taken, {refused} refused");
    assert!(
        taken > VALUES / 20 && refused > VALUES / 20,
        "{taken} taken, {refused} refused: this tests nothing"
    );
    con.ok("DEBUG RELOAD");
    let stats = consistency::quiet(&mut con);
    assert_eq!(con.number("CHATCACHE.FLUSH"), stats["entries"]);
    assert_eq!(consistency::quiet(&mut con)["raw-bytes"], 0);
}

//! Ten thousand readers of one draft: they are told in slices, and the server serves others in between. They are fewer
//! if the system allows no such number of open files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Streamed, append, begin, streamed};
use testkit::bench::server::raise_file_limit;
use testkit::{Q, Raw, RawClient, Server, eventually_within, items, patient, words};

const CROWD: u64 = 10_000;

/// Open files of other clients, the server and libraries.
const OTHER_FILES: u64 = 300;

/// The longest time for which another client may wait for its reply.
const STALL: Duration = Duration::from_millis(250);

/// Clients that wait for more than the first bytes of a draft, and the name of that draft.
fn crowd(server: &Server, operator: &mut RawClient, size: usize, first: &[u8]) -> (Vec<RawClient>, String) {
    let reply = streamed(operator.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { bytes, draft, next } = reply else { panic!("{reply:?}") };
    assert_eq!(bytes, first);
    let from = format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} {next} WAIT 3600000");
    let mut readers = Vec::new();
    for _ in 0..size {
        let mut con = server.raw();
        con.send(&words(&from));
        readers.push(con);
    }
    eventually_within(Duration::from_secs(60), || operator.stats("")["readers"] == size as i64);
    (readers, draft)
}

/// Looks at the number of readers until there are none. Returns the numbers seen in between, and the longest look.
fn watched(operator: &mut RawClient, size: usize) -> (Vec<i64>, Duration) {
    let (begun, mut seen, mut longest) = (Instant::now(), Vec::new(), Duration::ZERO);
    loop {
        let look = Instant::now();
        let readers = operator.stats("")["readers"];
        longest = longest.max(look.elapsed());
        if readers == 0 {
            return (seen, longest);
        }
        if readers < size as i64 {
            seen.push(readers);
        }
        assert!(begun.elapsed() < patient(Duration::from_secs(30)), "{readers} readers are left");
    }
}

fn blocked_clients(operator: &mut RawClient) -> usize {
    let info = operator.text("INFO clients");
    let count = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    count.expect("a count").trim().parse().expect("a number")
}

#[test]
fn ten_thousand_readers_hear_of_a_part_and_of_each_end_in_slices_while_others_are_served() {
    let size = CROWD.min(raise_file_limit() - OTHER_FILES) as usize;
    let server = Server::builder().config(format!("maxclients {}", size + 100)).start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    for news in ["part", "rest", "lost"] {
        let token = begin(&mut holder, Q, b"Hello");
        let (mut readers, draft) = crowd(&server, &mut operator, size, b"Hello");
        let begun = Instant::now();
        match news {
            "part" => assert_eq!(append(&mut holder, Q, b", world", &token), Raw::Int(12)),
            "rest" => holder.ok(&format!("CHATCACHE.COMMIT {Q} TOKEN {token}")),
            _ => drop(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}"))),
        }
        let told = begun.elapsed();
        if news == "part" {
            // Readers that come meanwhile take their turn among those that are being told.
            for _ in 0..2 {
                let from = format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 0 WAIT 3600000");
                let Streamed::Part { bytes, .. } = streamed(server.raw().say(&from)) else {
                    panic!("no part")
                };
                assert_eq!(bytes, b"Hello, world");
            }
        }
        let (seen, longest) = watched(&mut operator, size);
        println!(
            "{news}: {} looks, {longest:?} at most; the holder {told:?}, all {:?}",
            seen.len(),
            begun.elapsed()
        );
        assert!(seen.len() >= 2, "{news}: {seen:?}");
        assert!(longest.max(told) < patient(STALL), "{news}: {longest:?}, the holder {told:?}");
        for reader in &mut readers {
            match (news, streamed(reader.read())) {
                ("part", Streamed::Part { bytes, next: 12, .. }) => assert_eq!(bytes, b", world"),
                ("rest", Streamed::Rest { bytes }) => assert_eq!(bytes, b""),
                ("lost", Streamed::Lost) => {}
                (_, other) => panic!("{news}: {other:?}"),
            }
        }
        operator.say(&format!("CHATCACHE.DEL {Q}"));
    }
    let stats = operator.stats("");
    assert_eq!((stats["readers"], stats["waiters"], stats["leases"]), (0, 0, 0), "{stats:?}");
}

#[test]
fn ten_thousand_waiters_get_a_response_in_slices_while_others_are_served() {
    let size = CROWD.min(raise_file_limit() - OTHER_FILES) as usize;
    let server = Server::builder().config(format!("maxclients {}", size + 100)).start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    testkit::lease(&mut holder, Q);
    let mut waiters: Vec<RawClient> = (0..size)
        .map(|_| {
            let mut con = server.raw();
            con.send(&words(&format!("CHATCACHE.FETCH {Q} WAIT 3600000")));
            con
        })
        .collect();
    eventually_within(Duration::from_secs(60), || operator.stats("")["waiters"] == size as i64);
    let told = AtomicBool::new(false);
    let (seen, longest) = thread::scope(|scope| {
        let pinger = scope.spawn(|| {
            let (mut seen, mut longest) = (Vec::new(), Duration::ZERO);
            while !told.load(Ordering::Relaxed) {
                let look = Instant::now();
                let blocked = blocked_clients(&mut operator);
                longest = longest.max(look.elapsed());
                if (1..size).contains(&blocked) {
                    seen.push(blocked);
                }
            }
            (seen, longest)
        });
        holder.ok(&format!("CHATCACHE.SET {Q} response"));
        for waiter in &mut waiters {
            assert_eq!(items(waiter.read())[1], Raw::bulk("response"));
        }
        told.store(true, Ordering::Relaxed);
        pinger.join().expect("a pinger")
    });
    println!("{} looks, {longest:?} at most", seen.len());
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(longest < patient(STALL), "{longest:?}");
}

#[test]
fn a_hundred_commands_of_one_turn_of_the_event_loop_wake_no_more_readers_than_one() {
    raise_file_limit();
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = begin(&mut holder, Q, b"Hello");
    let (readers, _) = crowd(&server, &mut operator, 4_000, b"Hello");
    let lines = (0..100)
        .map(|n| match n % 2 {
            0 => format!("CHATCACHE.APPEND {Q} x TOKEN {token}"),
            _ => format!("CHATCACHE.FETCH {Q}"),
        })
        .chain(["CHATCACHE.STATS".to_owned()]);
    let commands = lines.flat_map(|line| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        redis::cmd(&words[0]).arg(&words[1..]).get_packed_command()
    });
    holder.send_bytes(&commands.collect::<Vec<u8>>());
    let replies: Vec<Raw> = (0..101).map(|_| holder.read()).collect();
    let left = testkit::numbers(replies.last().cloned().expect("STATS"))["readers"];
    // The server may read the commands in two turns.
    assert!(left > 3_000, "{left} readers of {}", readers.len());
}

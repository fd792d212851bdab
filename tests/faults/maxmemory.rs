//! No memory left, with each of the policies that a server may have for that.

use rand::RngExt;
use testkit::{Raw, RawClient, Server, args, eventually, info, info_field};

use super::consistency;

/// More than fits.
const RESPONSES: usize = 12_000;
const ROOM: u64 = 5 << 20;

/// The nth request; every one has a key of its own.
fn request(n: usize) -> [Vec<u8>; 4] {
    let tier = ["msg", "persona", "session", "response"][n % 4];
    args![tier, format!("user {}", n % 50), format!("persona {}", n % 11), format!("message {n}")]
}

fn command(name: &str, n: usize) -> Vec<Vec<u8>> {
    [args![name].to_vec(), request(n).to_vec()].concat()
}

/// Returns a server with some memory left and this policy, and the sizes of its responses.
fn full(policy: &str) -> (Server, RawClient, Vec<Raw>) {
    let server = Server::builder().config(format!("maxmemory-policy {policy}")).start();
    let mut con = server.raw();
    let used: u64 = info_field(&mut server.connect(), "memory", "used_memory").parse().expect("bytes");
    con.ok(&format!("CONFIG SET maxmemory {}", used + ROOM));
    let mut rng = rand::rng();
    let mut sets = Vec::new();
    for n in 0..RESPONSES {
        let mut set = command("CHATCACHE.SET", n);
        set.push((0..rng.random_range(200..1500)).map(|_| rng.random_range(b' '..b'~')).collect());
        sets.push(set);
    }
    // In between come reads, values of others and, at times, an invalidation.
    let mut replies = Vec::new();
    for (part, sets) in sets.chunks(500).enumerate() {
        replies.extend(con.pipeline(sets));
        let reads: Vec<_> =
            (0..200).map(|_| command("CHATCACHE.GET", rng.random_range(0..RESPONSES))).collect();
        assert!(con.pipeline(&reads).iter().all(|reply| matches!(reply, Raw::Bulk(_) | Raw::NullBulk)));
        let others: Vec<_> =
            (0..20).map(|n| args!["SET", format!("other {part} {n}"), "x", "EX", 3600].to_vec()).collect();
        con.pipeline(&others);
        if part % 8 == 5 {
            let Raw::Int(_) = con.call(&args!["CHATCACHE.INVALIDATE", format!("persona {}", part % 11)])
            else {
                panic!("INVALIDATE was refused")
            };
        }
    }
    (server, con, replies)
}

/// Checks that the counts agree with the keyspace, and the bytes with its responses. Returns their number.
#[track_caller]
fn all_agree(con: &mut RawClient) -> usize {
    con.ok("CONFIG SET maxmemory 0");
    let stats = consistency::quiet(con);
    let gets: Vec<_> = (0..RESPONSES).map(|n| command("CHATCACHE.GET", n)).collect();
    let found: Vec<usize> = con
        .pipeline(&gets)
        .iter()
        .filter_map(|reply| match reply {
            Raw::Bulk(response) => Some(response.len()),
            Raw::NullBulk => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(stats["entries"], found.len() as i64);
    assert_eq!(stats["raw-bytes"], found.iter().sum::<usize>() as i64);
    found.len()
}

fn evicts(policy: &str) {
    let (server, mut con, replies) = full(policy);
    let refused = replies.iter().find(|reply| **reply != Raw::simple("OK"));
    assert_eq!(refused, None, "{policy}");
    let stats = info(&mut server.connect(), "stats");
    let evicted: i64 = stats["evicted_keys"].parse().expect("a number");
    assert!(evicted > 1000, "{policy}: only {evicted} were evicted");
    let left = all_agree(&mut con);
    println!("{policy}: {evicted} keys evicted, {left} of {RESPONSES} answers left");
    assert!(left > 1000, "{policy}: only {left} were left");
    assert_eq!(con.number("CHATCACHE.FLUSH"), left as i64);
    consistency::quiet(&mut con);
}

#[test]
fn with_a_policy_for_all_keys_entries_are_evicted_and_the_counts_agree() {
    ["allkeys-lru", "allkeys-lfu", "allkeys-random"].into_iter().for_each(evicts);
}

#[test]
fn with_a_policy_for_volatile_keys_entries_are_evicted_and_the_counts_agree() {
    ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"].into_iter().for_each(evicts);
}

#[test]
fn without_eviction_a_full_server_refuses_new_entries_and_keeps_the_others() {
    let (server, mut con, replies) = full("noeviction");
    let taken = replies.iter().filter(|reply| **reply == Raw::simple("OK")).count();
    let refused = Raw::Error("OOM command not allowed when used memory > 'maxmemory'.".into());
    assert_eq!(replies.iter().filter(|reply| **reply == refused).count(), RESPONSES - taken);
    assert!(taken > 1000 && taken < RESPONSES - 1000, "{taken} were taken");
    assert_eq!(info_field(&mut server.connect(), "stats", "evicted_keys"), "0");
    // An invalidation frees memory.
    let limit = con.say("CONFIG GET maxmemory");
    let invalidated = con.number("CHATCACHE.FLUSH session response");
    assert!(invalidated > 500, "{invalidated}");
    eventually(|| con.stats("")["pending-reclaim"] == 0);
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_eq!(con.say("CONFIG GET maxmemory"), limit);
    assert_eq!(con.number("CHATCACHE.DEL msg ann helper hello"), 1);
    let left = all_agree(&mut con);
    println!("noeviction: {taken} of {RESPONSES} taken, {invalidated} then dropped, {left} left");
}

//! Ten thousand connections, as far as the limit on open files lets them be.

use std::time::Duration;
use testkit::{
    Q, Raw, RawClient, Server, eventually_within, hit, info_field, lease, set_line, waiters, words,
};

/// Raises this process's limit on open files, which the server inherits, as far as allowed; the number of more clients
/// it and the server can have then.
fn room_for(wanted: usize) -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a limit that may be written.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a limit that may be read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    // Other tests of this process have files too.
    wanted.min(usize::try_from(limit.rlim_max).unwrap_or(usize::MAX).saturating_sub(500))
}

#[test]
fn ten_thousand_clients_are_served_and_ten_thousand_waiters_get_the_response() {
    const WANTED: usize = 10_000;
    let clients = room_for(WANTED);
    let server = Server::builder().config(format!("maxclients {}", clients + 10)).start();
    let mut operator = server.raw();
    operator.ok(&set_line("persona ann bot known", "answer", ""));
    let mut crowd: Vec<RawClient> = (0..clients).map(|_| server.raw()).collect();
    // Each requests a cached response, all at once.
    let get = words("CHATCACHE.GET persona bob bot known");
    crowd.iter_mut().for_each(|con| con.send(&get));
    crowd.iter_mut().for_each(|con| assert_eq!(con.read(), Raw::bulk("answer")));
    assert_eq!(operator.stats("")["hits"], clients as i64);
    // Each waits for the response that one of them computes, and gets it.
    let holder = &mut crowd[0];
    let token = lease(holder, Q);
    let fetch = words("CHATCACHE.FETCH response ann bot hi WAIT 3600000");
    crowd.iter_mut().skip(1).for_each(|con| con.send(&fetch));
    let all = clients as i64 - 1;
    eventually_within(Duration::from_secs(60), || waiters(&mut operator) == all);
    let memory = info_field(&mut server.connect(), "memory", "used_memory_human");
    assert_eq!(operator.say("CHATCACHE.GET persona bob bot known"), Raw::bulk("answer"));
    crowd[0].ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    crowd.iter_mut().skip(1).for_each(|con| assert_eq!(con.read(), hit("hello")));
    let stats = operator.stats("");
    assert_eq!((stats["coalesced"], stats["waiters"], stats["leases"]), (all, 0, 0));
    println!("{clients} clients (of {WANTED} wanted); {memory} used while all but one waited");
    // They all go, in the middle of another wait.
    let token = lease(&mut operator, "response ann bot other");
    let fetch = words("CHATCACHE.FETCH response ann bot other WAIT 3600000");
    crowd.iter_mut().for_each(|con| con.send(&fetch));
    eventually_within(Duration::from_secs(60), || waiters(&mut operator) == clients as i64);
    drop(crowd);
    eventually_within(Duration::from_secs(60), || waiters(&mut operator) == 0);
    operator.ok(&set_line("response ann bot other", "late", &format!("TOKEN {token}")));
    super::consistency::counts_agree(&mut operator);
}

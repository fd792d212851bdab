//! Another client: a PING every millisecond, to see how long the server lets it wait. It runs ahead of the load on its CPU
//! where the system lets it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use testkit::bench::cpus::{beside_servers, run_ahead};
use testkit::bench::server::{PATIENCE, Server};

const EVERY: Duration = Duration::from_millis(1);

/// Does something while another client sends PINGs: its result, and the longest that a PING took, in milliseconds.
pub fn longest_stall<T: Send>(server: &Server, work: impl FnOnce() -> T + Send) -> (T, f64) {
    let (result, pings) = pings(server, work);
    (result, pings.into_iter().fold(0.0, f64::max))
}

/// Does something while another client sends PINGs: its result, and the milliseconds that each PING took.
pub fn pings<T: Send>(server: &Server, work: impl FnOnce() -> T + Send) -> (T, Vec<f64>) {
    let done = AtomicBool::new(false);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connect to the server");
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    stream.set_read_timeout(Some(PATIENCE)).expect("set the read time-out");
    beside_servers(|| {
        scope(|scope| {
            let prober = scope.spawn(|| {
                run_ahead();
                let mut pings = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    pings.push(ping(&mut stream).as_secs_f64() * 1e3);
                    sleep(EVERY);
                }
                pings
            });
            let result = work();
            // Work that is left to the server stalls the PING under way, and this one.
            sleep(2 * EVERY);
            done.store(true, Ordering::Relaxed);
            (result, prober.join().expect("the prober ends"))
        })
    })
}

fn ping(stream: &mut TcpStream) -> Duration {
    let mut pong = [0; 7];
    let sent = Instant::now();
    stream.write_all(b"PING\r\n").expect("send PING");
    stream.read_exact(&mut pong).expect("read PONG");
    assert!(&pong == b"+PONG\r\n", "the reply to PING is {:?}", String::from_utf8_lossy(&pong));
    sent.elapsed()
}

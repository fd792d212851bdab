//! SET against SET EX and SADD to an index set, sent in one pipeline.

use crate::Bench;
use crate::contest::{self, Contestant};
use crate::generator::{Load, Nulls, Numbers, send, top};
use crate::report::{Goal, Row};
use crate::requests::{INDEX, RESPONSE_BYTES, message, native_key, native_set, set};
use crate::resp::Template;
use testkit::bench::server::Server;

const PROMPT_BYTES: usize = 100;

/// Number of entries that are replaced over and over.
const OLD: u64 = 20_000;

pub fn run(bench: &mut Bench) {
    let (plain, ours) = (Server::plain().pinned(), Server::with_chatcache().pinned());
    let response = bench.text.prompt(RESPONSE_BYTES);
    let (message, key) = (message(&bench.text, PROMPT_BYTES), native_key());
    let chatcache = Template::new(&[set(&message, &response)]);
    let native = Template::new(&[native_set(&key, &response), vec!["SADD", INDEX, &key]]);
    let options = &bench.options;

    let new = |server, template: &Template| {
        flush(server);
        let load = Load { template: template.clone(), numbers: Numbers::From(0), nulls: Nulls::None };
        top(server, &load, options.time())
    };
    let [rival, new] = contest::run(
        "set, new responses",
        options,
        options.rounds(),
        [
            Contestant::new("SET EX + SADD", "/s", || new(&plain, &native)),
            Contestant::new("SET", "/s", || new(&ours, &chatcache)),
        ],
    );
    let what = "SET of new 1 KB responses".to_owned();
    bench.report.add(Row { what, ours: new, other: Some(rival), goal: Some(Goal::AtLeast(1.0)) });

    let options = &bench.options;
    let old = |template: &Template| Load {
        template: template.clone(),
        numbers: Numbers::Below(OLD),
        nulls: Nulls::None,
    };
    for (server, template) in [(&plain, &native), (&ours, &chatcache)] {
        flush(server);
        send(server, template, 0..OLD);
    }
    let [rival, old] = contest::run(
        "set, over old responses",
        options,
        options.rounds(),
        [
            Contestant::top("SET EX + SADD", &plain, old(&native), options),
            Contestant::top("SET", &ours, old(&chatcache), options),
        ],
    );
    let what = "SET of 1 KB over old responses".to_owned();
    bench.report.add(Row { what, ours: old, other: Some(rival), goal: Some(Goal::AtLeast(0.9)) });
}

fn flush(server: &Server) {
    let flushed: redis::RedisResult<()> = redis::cmd("FLUSHALL").arg("SYNC").query(&mut server.connect());
    flushed.expect("FLUSHALL");
}

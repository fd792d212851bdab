//! The service against a real Redis with the module, which `CHATCACHE_MODULE` names.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::scope;
use std::time::Duration;
use testkit::{Port, Server, eventually};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct World {
    redis: Option<Server>,
    _service: Killed,
    service_port: Port,
}

impl World {
    fn start() -> World {
        let redis = Server::start();
        let service_port = Port::free();
        let service = Command::new(env!("CARGO_BIN_EXE_chat-service"))
            .env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port()))
            .env("PORT", service_port.number.to_string())
            .stdout(Stdio::null())
            .spawn()
            .map(Killed)
            .expect("start the service");
        eventually(|| TcpStream::connect(("127.0.0.1", service_port.number)).is_ok());
        World { redis: Some(redis), _service: service, service_port }
    }

    fn redis(&self) -> &Server {
        self.redis.as_ref().expect("Redis is running")
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.service_port.number)).expect("connect to the service");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set the time-out");
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("send the request");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("read the reply");
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// The source of the response, if there is one.
    fn ask(&self, message: &str) -> Result<String, u16> {
        let question = json!({"user": "ann", "persona": "helper", "message": message});
        match self.send("POST", "/chat", &question) {
            (200, body) => {
                let reply: Value = serde_json::from_str(&body).expect("JSON");
                assert_eq!(reply["answer"], "helper says: 42");
                Ok(reply["source"].as_str().expect("a source").to_owned())
            }
            (status, _) => Err(status),
        }
    }

    /// A field of CHATCACHE.STATS.
    fn stat(&self, field: &str) -> i64 {
        self.redis().raw().stats("")[field]
    }
}

#[test]
fn a_crowd_costs_one_model_call() {
    let world = World::start();
    let sources: Vec<_> = scope(|scope| {
        let callers: Vec<_> = (0..20).map(|_| scope.spawn(|| world.ask("hi").expect("an answer"))).collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller")).collect()
    });
    assert_eq!(sources.iter().filter(|source| *source == "model").count(), 1);
    assert_eq!(world.stat("leases-granted"), 1);
}

#[test]
fn an_error_is_told_and_not_kept() {
    let world = World::start();
    assert_eq!(world.ask("fail"), Err(502));
    assert_eq!(world.ask("fail"), Err(502));
    // Given back both times, and nothing was stored.
    assert_eq!(["leases-granted", "leases", "entries"].map(|field| world.stat(field)), [2, 0, 0]);
}

#[test]
fn answers_go_with_the_prompt_the_deployment_and_the_user() {
    let world = World::start();
    for (method, path) in [("POST", "/personas/helper/prompt"), ("POST", "/deploy"), ("DELETE", "/users/ann")]
    {
        assert_eq!(world.ask("hi").as_deref(), Ok("model"), "before {path}");
        assert_eq!(world.ask("hi").as_deref(), Ok("cache"), "before {path}");
        assert_eq!(world.send(method, path, &Value::Null), (200, "1".to_owned()));
    }
    assert_eq!(world.ask("hi").as_deref(), Ok("model"));
}

#[test]
fn without_redis_the_model_answers() {
    let mut world = World::start();
    assert_eq!(world.ask("hi").as_deref(), Ok("model"));
    world.redis = None;
    assert_eq!(world.ask("hi").as_deref(), Ok("model"));
    assert_eq!(world.send("POST", "/deploy", &Value::Null).0, 503);
}

#[test]
fn an_answer_that_redis_refuses_leaves_no_lease() {
    let world = World::start();
    world.redis().raw().ok("CONFIG SET chatcache.max-response-bytes 1");
    assert_eq!(world.ask("hi").as_deref(), Ok("model"));
    assert_eq!(["leases-granted", "leases"].map(|field| world.stat(field)), [1, 0]);
}

//! A server with the module as one deploys it with containers: the image's own command with the module mounted in,
//! a published port, a volume that outlives a restart, and a replica that finds its master by its name.

use redis::{Connection, RedisResult, Value, cmd};
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

use testkit::{eventually, eventually_some};

const MODULE: &str = "/usr/local/lib/libchatcache.so";

/// The image under test with the module and these options of the server, which the entrypoint takes as its own.
fn image(options: &[&str]) -> ContainerRequest<GenericImage> {
    let image = std::env::var("CHATCACHE_TEST_IMAGE").expect("CHATCACHE_TEST_IMAGE is the image to test");
    let module = std::env::var("CHATCACHE_MODULE").expect("CHATCACHE_MODULE is the module to mount");
    let (name, tag) = image.rsplit_once(':').expect("an image with its tag");
    let module_at = ["--loadmodule", MODULE];
    GenericImage::new(name, tag)
        .with_exposed_port(6379.tcp())
        .with_label("chatcache", "test")
        .with_mount(Mount::bind_mount(module, MODULE))
        .with_cmd(module_at.into_iter().chain(options.iter().copied()))
}

fn ready(image: ContainerRequest<GenericImage>) -> Container<GenericImage> {
    let ready = WaitFor::message_on_stdout("Ready to accept connections");
    image.with_ready_conditions(vec![ready]).start().expect("start a container")
}

/// A connection to where the container's port is published now: a restart may move it.
fn connect(container: &Container<GenericImage>) -> Connection {
    eventually_some(|| {
        let (host, port) = (container.get_host().ok()?, container.get_host_port_ipv4(6379.tcp()).ok()?);
        let mut con = redis::Client::open(format!("redis://{host}:{port}")).ok()?.get_connection().ok()?;
        // A server that loads its data still refuses commands.
        cmd("PING").query::<String>(&mut con).ok()?;
        Some(con)
    })
}

fn set(con: &mut Connection, persona: &str, response: &str) -> RedisResult<Value> {
    cmd("CHATCACHE.SET").arg(&["persona", "ann", persona, "What is a list?", response]).query(con)
}

fn get(con: &mut Connection, persona: &str) -> Option<String> {
    let reply = cmd("CHATCACHE.GET").arg(&["persona", "bob", persona, "What is a list?"]).query(con);
    reply.expect("CHATCACHE.GET")
}

fn invalidate(con: &mut Connection, persona: &str) -> i64 {
    cmd("CHATCACHE.INVALIDATE").arg(persona).query(con).expect("CHATCACHE.INVALIDATE")
}

#[test]
fn responses_and_invalidations_outlive_a_restart_of_the_container() {
    let server = ready(image(&["--appendonly", "yes", "--appendfsync", "always"]));
    let mut con = connect(&server);
    for persona in ["helper", "poet"] {
        set(&mut con, persona, "A sequence of elements.").expect("CHATCACHE.SET");
    }
    assert_eq!(invalidate(&mut con, "poet"), 1);

    server.stop().expect("stop the container");
    server.start().expect("start it again");
    let mut con = connect(&server);
    assert_eq!(get(&mut con, "helper").as_deref(), Some("A sequence of elements."));
    assert_eq!(get(&mut con, "poet"), None);

    // The power cord.
    set(&mut con, "poet", "Lines.").expect("CHATCACHE.SET");
    assert_eq!(invalidate(&mut con, "helper"), 1);
    server.stop_with_timeout(Some(0)).expect("kill the container");
    server.start().expect("start it again");
    let mut con = connect(&server);
    assert_eq!((get(&mut con, "helper"), get(&mut con, "poet").as_deref()), (None, Some("Lines.")));
}

#[test]
fn a_snapshot_is_taken_when_the_container_stops_and_read_when_it_starts() {
    let server = ready(image(&["--chatcache.invalidate-sync-limit", "0", "--save", "3600 1"]));
    let mut con = connect(&server);
    for persona in ["helper", "poet"] {
        set(&mut con, persona, "A sequence of elements.").expect("CHATCACHE.SET");
    }
    // It is perhaps a tombstone when the snapshot is taken.
    assert_eq!(invalidate(&mut con, "poet"), 1);
    server.stop().expect("stop the container");
    server.start().expect("start it again");
    let mut con = connect(&server);
    assert_eq!(get(&mut con, "helper").as_deref(), Some("A sequence of elements."));
    assert_eq!(get(&mut con, "poet"), None);
}

#[test]
fn a_replica_in_another_container_has_what_its_master_has_and_takes_its_place() {
    // Names and networks are the whole machine's: so this run has its own.
    let unique = format!("chatcache-{}-{}", std::process::id(), rand::random::<u32>());
    let master = ready(image(&[]).with_network(&unique).with_container_name(&unique));
    let mut con = connect(&master);
    set(&mut con, "helper", "before the replica").expect("CHATCACHE.SET");

    let replica = ready(image(&["--replicaof", &unique, "6379"]).with_network(&unique));
    let mut copy = connect(&replica);
    eventually(|| get(&mut copy, "helper").is_some());
    set(&mut con, "poet", "after it").expect("CHATCACHE.SET");
    assert_eq!(invalidate(&mut con, "helper"), 1);
    let copies: i64 = cmd("WAIT").arg(1).arg(10_000).query(&mut con).expect("WAIT");
    assert_eq!(copies, 1);
    assert_eq!((get(&mut copy, "helper"), get(&mut copy, "poet").as_deref()), (None, Some("after it")));
    let refused = set(&mut copy, "helper", "to a replica").expect_err("a replica is read-only");
    assert_eq!(refused.code(), Some("READONLY"));

    master.rm().expect("kill the master");
    cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut copy).expect("REPLICAOF");
    set(&mut copy, "helper", "of the new master").expect("CHATCACHE.SET");
    assert_eq!(get(&mut copy, "helper").as_deref(), Some("of the new master"));
    assert_eq!(invalidate(&mut copy, "poet"), 1);
}

#[test]
fn a_bad_setting_of_the_module_stops_the_container_and_its_log_says_why() {
    let ended = WaitFor::exit(ExitWaitStrategy::new().with_exit_code(1));
    let container = image(&["ttl-msg", "never"]).with_ready_conditions(vec![ended]).start();
    let log = container.expect("start a container").stdout_to_vec().expect("the container's log");
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("ttl-msg"), "{log}");
}

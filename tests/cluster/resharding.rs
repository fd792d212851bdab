//! Slots that move while a service runs.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use redis::Value;
use testkit::{
    Cluster, ClusterClient, NOTHING_AT_ONCE, Stop, args, count, dbsize, eventually_within, fill, personas,
    reclaimed, skipped_without_atomic_slot_migration, slot_of, stat, text,
};

/// Number of slots that move: the first master's first ones.
const SLOTS: u16 = 48;

/// Number of entries of a persona before the move and, roughly, during it.
const RESPONSES: usize = 300;

/// Time limit for a reshard.
const RESHARD: Duration = Duration::from_secs(60);

/// The entries that a service has stored for a persona, and the number of the next: each is used once.
struct Owner {
    persona: String,
    responses: BTreeMap<usize, String>,
    next: usize,
    invalidations: usize,
    hits: usize,
}

impl Owner {
    fn new(persona: String) -> Owner {
        Owner { persona, responses: BTreeMap::new(), next: 0, invalidations: 0, hits: 0 }
    }

    fn request(&self, name: &str, question: usize) -> Vec<Vec<u8>> {
        args![name, "response", "ann", self.persona, format!("q{question}")].into()
    }

    fn store(&mut self, client: &mut ClusterClient, question: usize) {
        let response = format!("{} a{}", self.persona, self.next);
        self.next += 1;
        let mut command = self.request("CHATCACHE.SET", question);
        command.push(response.clone().into_bytes());
        assert_eq!(client.ask(&self.persona, &command), Value::Okay);
        self.responses.insert(question, response);
    }

    fn get(&mut self, client: &mut ClusterClient, question: usize) -> Option<String> {
        match client.ask(&self.persona, &self.request("CHATCACHE.GET", question)) {
            Value::Nil => None,
            response => Some(text(&response)),
        }
    }

    /// Runs one command of a service. A response that it gets is the one that it stored last.
    fn step(&mut self, client: &mut ClusterClient, n: usize) {
        let question = n * 7 % RESPONSES;
        match n % 10 {
            0..4 => self.store(client, question),
            4..8 => {
                // A miss is no failure while a slot moves: half of its entries are elsewhere.
                if let Some(response) = self.get(client, question) {
                    assert_eq!(
                        Some(&response),
                        self.responses.get(&question),
                        "undead, or older than it should be"
                    );
                    self.hits += 1;
                }
            }
            8 => {
                client.ask(&self.persona, &self.request("CHATCACHE.DEL", question));
                self.responses.remove(&question);
            }
            _ if n % 400 == 399 => {
                client.ask(&self.persona, &args!["CHATCACHE.INVALIDATE", self.persona]);
                self.responses.clear();
                self.invalidations += 1;
            }
            _ => {
                client.ask(&self.persona, &args!["CHATCACHE.STATS", self.persona]);
            }
        }
    }

    fn check(&mut self, client: &mut ClusterClient) {
        for question in 0..RESPONSES {
            let response = self.get(client, question);
            assert_eq!(response.as_ref(), self.responses.get(&question), "{} q{question}", self.persona);
        }
    }
}

/// A service of three personas whose slots move and one whose slot does not, running while `reshard` does.
fn a_service_through(cluster: &Cluster, reshard: impl FnOnce()) {
    let mut con = cluster.node(0).connect();
    let mut names = (0..).map(|n| format!("p{n}"));
    let mut owners: Vec<Owner> = Vec::new();
    while owners.len() < 3 {
        let name = names.find(|name| slot_of(&mut con, name.as_bytes()) < SLOTS).expect("a name");
        owners.push(Owner::new(name));
    }
    owners.push(Owner::new(cluster.persona_of(0, "stays")));
    // A large persona in a slot that moves is being reclaimed all the while.
    let invalidated = names.find(|name| slot_of(&mut con, name.as_bytes()) < SLOTS).expect("a name");
    fill(&mut con, "persona", "", &invalidated, 30_000);
    let (stop, ready) = (AtomicBool::new(false), AtomicUsize::new(0));
    let running = owners.len();
    thread::scope(|scope| {
        let (stop, ready) = (&stop, &ready);
        let services: Vec<_> = owners
            .iter_mut()
            .map(|owner| {
                let mut client = cluster.client();
                scope.spawn(move || {
                    for question in 0..RESPONSES {
                        owner.store(&mut client, question);
                    }
                    ready.fetch_add(1, Ordering::Relaxed);
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        owner.step(&mut client, n);
                    }
                    owner.check(&mut client);
                })
            })
            .collect();
        let stopping = Stop(stop);
        eventually_within(RESHARD, || {
            ready.load(Ordering::Relaxed) == running || services.iter().any(|service| service.is_finished())
        });
        assert_eq!(count(&mut con, &args!["CHATCACHE.INVALIDATE", invalidated]), 30_000);
        reshard();
        drop(stopping);
        for service in services {
            service.join().expect("a service that found all as it left it");
        }
    });
    // The index of each node has the personas that it serves, and no others.
    let homes = [1, 1, 1, 0];
    for node in 0..2 {
        reclaimed(cluster.node(node));
        let mut con = cluster.node(node).connect();
        let here =
            owners.iter().zip(homes).filter(|(owner, home)| *home == node && !owner.responses.is_empty());
        let wanted: BTreeMap<String, usize> =
            here.map(|(owner, _)| (owner.persona.clone(), owner.responses.len())).collect();
        let told = personas(&mut con)
            .into_iter()
            .map(|(name, (entries, _))| (name, entries.parse().expect("a number")));
        assert_eq!(told.collect::<BTreeMap<String, usize>>(), wanted, "node {node}");
        let entries: usize = wanted.values().sum();
        assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (entries as i64, entries as i64));
    }
    assert!(owners.iter().all(|owner| owner.hits > 0 && owner.next > RESPONSES), "the service hardly ran");
}

#[test]
fn a_service_runs_through_a_reshard() {
    let cluster = Cluster::start_with(2, 0, &[NOTHING_AT_ONCE]);
    a_service_through(&cluster, || {
        let output = Command::new("redis-cli")
            .args(["--cluster", "reshard", &format!("127.0.0.1:{}", cluster.node(0).port())])
            .args(["--cluster-from", &cluster.id(0), "--cluster-to", &cluster.id(1)])
            .args(["--cluster-slots", &SLOTS.to_string(), "--cluster-yes"])
            .output()
            .expect("run redis-cli");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !said.contains("exists"), "{said}");
    });
}

/// Valkey 9 moves whole slots by itself.
#[test]
fn a_service_runs_through_an_atomic_slot_migration() {
    if skipped_without_atomic_slot_migration() {
        return;
    }
    let cluster = Cluster::start_with(2, 0, &[NOTHING_AT_ONCE]);
    a_service_through(&cluster, || cluster.migrate_slots(0..SLOTS, 0, 1));
}

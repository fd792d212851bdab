//! Redis Cluster: where a persona lives, commands for all nodes, slots that move, replicas and failovers.

mod support;

#[path = "cluster/everywhere.rs"]
mod everywhere;
#[path = "cluster/failing.rs"]
mod failing;
#[path = "failover/load.rs"]
mod load;
#[path = "cluster/moving.rs"]
mod moving;
#[path = "cluster/resharding.rs"]
mod resharding;
#[path = "cluster/slots.rs"]
mod slots;
#[path = "reclaim/words.rs"]
mod words;

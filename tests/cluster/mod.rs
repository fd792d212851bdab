//! Redis Cluster: where a persona lives, commands for all nodes, slots that move, replicas and failovers.

mod all_nodes;
mod atomic_slot_migration;
mod master_failures;
mod resharding;
mod slot_migration;
mod slots;

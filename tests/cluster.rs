//! Redis Cluster: where a persona lives, what slots that move do to it, and failovers.

mod support;

#[path = "cluster/moving.rs"]
mod moving;
#[path = "reclaim/words.rs"]
mod words;

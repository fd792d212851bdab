//! A master and its replicas: what travels, what a replica says, and what a link or a promotion does to a
//! reclaim that is under way.

mod support;

#[path = "replication/disturbed.rs"]
mod disturbed;
#[path = "replication/promotion.rs"]
mod promotion;
#[path = "replication/replica.rs"]
mod replica;
#[path = "replication/stream.rs"]
mod stream;
#[path = "replication/sync.rs"]
mod sync;
#[path = "reclaim/words.rs"]
mod words;

//! What each command does, as the application that types it sees it.

mod support;

#[path = "commands/bytes.rs"]
mod bytes;
#[path = "commands/drops.rs"]
mod drops;
#[path = "commands/large.rs"]
mod large;
#[path = "commands/lists.rs"]
mod lists;
#[path = "commands/reads.rs"]
mod reads;
#[path = "commands/store.rs"]
mod store;
#[path = "commands/transactions.rs"]
mod transactions;
#[path = "commands/wire.rs"]
mod wire;
#[path = "commands/words.rs"]
mod words;

/// All tiers.
const TIERS: [&str; 4] = ["msg", "persona", "session", "response"];

//! Each command as an application sees it.

mod bytes;
mod invalidate;
mod large_persona;
mod lists;
mod reads;
mod store;
mod transactions;
mod wire;

/// All tiers.
const TIERS: [&str; 4] = ["msg", "persona", "session", "response"];

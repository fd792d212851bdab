//! The commands: each parses its arguments, acts through the rooms below, and replies.
//!
//! - `get`: GET
//! - `set`: SET
//! - `del`: DEL
//! - `fetch`: FETCH and RELEASE
//! - `append`: APPEND and COMMIT
//! - `invalidate`: INVALIDATE and SOFTINVALIDATE
//! - `forget`: FORGET
//! - `flush`: FLUSH
//! - `key`: KEY
//! - `inspect`: INSPECT
//! - `personas`: PERSONAS
//! - `stats`: STATS
//! - `help`: HELP
//! - `arguments`: the arguments that several commands take
//! - `fields`: the fields of replies that are maps

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod append;
mod arguments;
mod del;
mod fetch;
mod fields;
mod flush;
mod forget;
mod get;
mod help;
mod inspect;
mod invalidate;
mod key;
mod personas;
mod set;
mod stats;

pub use append::{Append, Commit};
pub use del::Del;
pub use fetch::{Fetch, Release};
pub use flush::Flush;
pub use forget::Forget;
pub use get::Get;
pub use help::Help;
pub use inspect::Inspect;
pub use invalidate::{Invalidate, SoftInvalidate};
pub use key::Key;
pub use personas::Personas;
pub use set::Set;
pub use stats::Stats;

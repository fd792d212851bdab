//! Requests: the arguments of a client, checked, and all that derives from them.
//!
//! Bottom up: `limits`, `scope` and `grammar` are tables; `error` words what is refused; `option_parser` reads options by a
//! grammar into the structs of `options`; `parts`, `fingerprint` and `key_name` tell requests apart; `args` has the
//! request itself.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod args;
pub mod error;
pub mod fingerprint;
pub mod grammar;
pub mod key_name;
mod limits;
mod option_parser;
pub mod options;
mod parts;
mod scope;

pub use args::{Request, RequestArgs, check_persona, check_user, digest, parse_tier};
pub use limits::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES};
pub use parts::{Fields, Parts, SHORT, in_one_piece};
pub use scope::{Accepts, Scope};

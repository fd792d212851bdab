//! What operators and clients can learn of the module and its answers by the server's own means.

mod command_info;
mod events;
mod key_rights;
mod keys;
mod operators;

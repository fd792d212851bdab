//! What operators and clients can learn of the module and its answers by the server's own means.

mod support;

#[path = "introspection/access.rs"]
mod access;
#[path = "introspection/commands.rs"]
mod commands;
#[path = "introspection/events.rs"]
mod events;
#[path = "introspection/keys.rs"]
mod keys;
#[path = "introspection/operators.rs"]
mod operators;
#[path = "commands/words.rs"]
mod words;

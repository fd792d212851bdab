//! Every refusal: its text, and that it changed nothing and was told to nobody.

mod support;

#[path = "refusals/arguments.rs"]
mod arguments;
#[path = "refusals/nasty.rs"]
mod nasty;
#[path = "refusals/options.rs"]
mod options;
#[path = "refusals/server_state.rs"]
mod server_state;
#[path = "refusals/sizes.rs"]
mod sizes;
#[path = "refusals/witness.rs"]
mod witness;
#[path = "commands/words.rs"]
mod words;

//! Every refusal: its text, and that it changed nothing and was told to nobody.

mod arguments;
mod hostile_bytes;
mod options;
mod server_state;
mod sizes;
mod witness;

//! The module and its entries as the server's own commands show them.

mod command_info;
mod events;
mod key_rights;
mod keys;
mod operators;

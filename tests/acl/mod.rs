//! ACL across personas: whoever may not read a persona gets nothing of it, by whatever way, and whoever may not write
//! it changes nothing of it.

mod all_keys;
mod categories;
mod read_rights;
mod recommended;
mod replayed;
mod users;
mod waits;
mod write_rights;

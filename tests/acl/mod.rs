//! ACL across personas: whoever may not read a persona gets nothing of it, by whatever way, and whoever may not write
//! it changes nothing of it.

mod support;

#[path = "acl/all_keys.rs"]
mod all_keys;
#[path = "acl/categories.rs"]
mod categories;
#[path = "flight/desk.rs"]
mod desk;
#[path = "acl/people.rs"]
mod people;
#[path = "acl/reads.rs"]
mod reads;
#[path = "acl/replayed.rs"]
mod replayed;
#[path = "acl/waits.rs"]
mod waits;
#[path = "commands/words.rs"]
mod words;
#[path = "acl/writes.rs"]
mod writes;

//! A master and its replicas: what travels, what a replica says, and what a link or a promotion does to a
//! reclaim that is under way.

mod async_load;
mod disturbed;
mod promotion;
mod replica;
mod stream;
mod sync;

//! A master and its replicas: the stream, the replies of a replica, and the effect of a lost link or a promotion on a
//! reclaim that is under way.

mod disturbed;
mod promotion;
mod replica;
mod stream;
mod sync;

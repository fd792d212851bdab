mod lists;
mod memory;
mod model;
mod stories;
mod support;

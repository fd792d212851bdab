//! The module's allocator is the server's, so that the module's memory counts in `used_memory` and
//! `maxmemory`.
//!
//! redis-module's own `RedisAlloc` ignores large alignments (56 of 64 boxes of `align(128)` were misaligned
//! on a libc-malloc server) and copies on every `realloc`. This one allocates more for a large alignment,
//! keeps the true start just before the block that it returns, and reallocates in place.
//!
//! Without a server (unit tests, fuzz targets) the table is empty and the system's allocator serves. No
//! process changes its allocator while it holds blocks: the table is filled before the module allocates
//! anything.

use redis_module::raw;
use std::alloc::{GlobalAlloc, Layout, System};
use std::os::raw::c_void;
use std::ptr;

/// The alignment of the servers' malloc, in bytes. C asks for 16, but the jemalloc of Redis is built with a
/// quantum of 8 (seen on Redis 7.4.1 and 8.2.3: `MEMORY MALLOC-STATS`), and a hash table's groups need 16.
pub(super) const NATURAL: usize = 8;

const _: () = assert!(NATURAL >= size_of::<*mut u8>());

/// The server's allocator.
pub struct ServerAlloc;

// SAFETY: each block comes from the server's malloc, with at least the size asked for. For alignments up to
// `NATURAL` that malloc aligns it. For larger ones `alloc` returns an aligned address inside a larger block,
// at least a pointer after its start and with the start written just before it, where `dealloc` and `realloc`
// read it. The table never changes between two calls, so a block goes back to the allocator that it came
// from. No call unwinds.
unsafe impl GlobalAlloc for ServerAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the server fills the table once, at load, before it calls back on any thread.
        let Some(alloc) = (unsafe { raw::RedisModule_Alloc }) else {
            // SAFETY: the caller keeps the contract of `alloc`, which is the same.
            return unsafe { System.alloc(layout) };
        };
        if layout.align() <= NATURAL {
            // SAFETY: the server's malloc takes any size.
            return unsafe { alloc(layout.size()) }.cast();
        }
        let Some(size) = layout.size().checked_add(layout.align()) else { return ptr::null_mut() };
        // SAFETY: the server's malloc takes any size.
        let start: *mut u8 = unsafe { alloc(size) }.cast();
        if start.is_null() {
            return start;
        }
        // SAFETY: the offset is at most the alignment, by which the block is larger than the size asked for.
        let block = unsafe { start.add(layout.align() - start.addr() % layout.align()) };
        // SAFETY: the start is aligned to `NATURAL`, so the next larger multiple of the alignment is at least
        // a pointer away, and the place before it is aligned and inside the block.
        unsafe { block.cast::<*mut u8>().sub(1).write(start) };
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the server fills the table once, at load, before it calls back on any thread.
        let Some(free) = (unsafe { raw::RedisModule_Free }) else {
            // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
            return unsafe { System.dealloc(block, layout) };
        };
        let start = match layout.align() <= NATURAL {
            true => block,
            // SAFETY: `alloc` wrote the start there for this alignment.
            false => unsafe { block.cast::<*mut u8>().sub(1).read() },
        };
        // SAFETY: `start` came from the server's malloc, and the caller frees the block once.
        unsafe { free(start.cast::<c_void>()) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the server fills the table once, at load, before it calls back on any thread.
        let Some(realloc) = (unsafe { raw::RedisModule_Realloc }) else {
            // SAFETY: the caller keeps the contract of `realloc`, which is the same.
            return unsafe { System.realloc(block, layout, size) };
        };
        if layout.align() <= NATURAL {
            // SAFETY: the block came from the server's malloc, as it is.
            return unsafe { realloc(block.cast::<c_void>(), size) }.cast();
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return ptr::null_mut() };
        // SAFETY: the caller asks for a size that is not zero.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least that long, and the new one is apart from the old one.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
            // SAFETY: the block has this layout, by the contract of `realloc`, and is not used after this.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

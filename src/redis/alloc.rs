//! The module's allocator is the server's, so that what we hold counts in `used_memory` and `maxmemory`.
//!
//! redis-module's own `RedisAlloc` ignores large alignments (56 of 64 boxes of `align(128)` were misaligned on a
//! libc-malloc server) and copies on every `realloc`. This one over-allocates for them, keeping the block's true
//! start just before what it hands out, and reallocates in place.
//!
//! Without a server (unit tests, fuzz targets) the table is empty and the system's allocator serves. A process
//! never changes over with blocks still held: the table is filled before the module allocates anything.

use redis_module::raw;
use std::alloc::{GlobalAlloc, Layout, System};
use std::os::raw::c_void;
use std::ptr;

/// What the servers' malloc aligns to. Not 16, as C has it: the jemalloc that Redis brings along is built with a
/// quantum of 8 (seen on Redis 7.4.1 and 8.2.3: `MEMORY MALLOC-STATS`), and a hash table's groups need 16.
pub(super) const NATURAL: usize = 8;

const _: () = assert!(NATURAL >= size_of::<*mut u8>());

/// The server's allocator.
pub struct ServerAlloc;

// SAFETY: every block comes from the server's malloc with at least the size asked for. Up to `NATURAL` that
// malloc aligns; beyond, `alloc` moves forward inside a larger block to an aligned address that is at least one
// pointer after its start, and `dealloc` and `realloc` read the start back from there.
unsafe impl GlobalAlloc for ServerAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe {
            let Some(alloc) = raw::RedisModule_Alloc else { return System.alloc(layout) };
            if layout.align() <= NATURAL {
                return alloc(layout.size()).cast();
            }
            let Some(size) = layout.size().checked_add(layout.align()) else { return ptr::null_mut() };
            let start: *mut u8 = alloc(size).cast();
            if start.is_null() {
                return start;
            }
            // The start is aligned to NATURAL, so the next aligned address after it is at least a pointer away.
            let block = start.add(layout.align() - start.addr() % layout.align());
            block.cast::<*mut u8>().sub(1).write(start);
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe {
            let Some(free) = raw::RedisModule_Free else { return System.dealloc(block, layout) };
            let start = match layout.align() <= NATURAL {
                true => block,
                false => block.cast::<*mut u8>().sub(1).read(),
            };
            free(start.cast::<c_void>());
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe {
            let Some(realloc) = raw::RedisModule_Realloc else { return System.realloc(block, layout, size) };
            if layout.align() <= NATURAL {
                return realloc(block.cast::<c_void>(), size).cast();
            }
            let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return ptr::null_mut() };
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

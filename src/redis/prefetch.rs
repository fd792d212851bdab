//! A hint to the processor. It lives here because only this room has `unsafe`.

use std::os::raw::c_void;

/// The size of a cache line, in bytes.
const LINE: usize = 64;

/// The most lines that one hint asks for: the processor goes on by itself where bytes are read in a row.
const MOST_LINES: usize = 8;

/// Starts to load `bytes` bytes at `address`, or the first 512 of them, into the processor's caches, and returns at once.
pub fn prefetch(address: *const c_void, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = address.cast::<i8>();
        let offset = address.addr() % LINE;
        for line in 0..(offset + bytes).div_ceil(LINE).min(MOST_LINES) {
            // SAFETY: the instruction faults at no address, and every x86_64 has it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line * LINE)) };
        }
    }
    // Stable Rust has no such hint for other processors.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, bytes);
}

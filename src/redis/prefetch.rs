//! A hint to the processor. It is in this room as `unsafe` is in no other.

use std::os::raw::c_void;

/// Begins to bring what is there into the processor's caches, two lines of it, and does not wait for them.
pub fn prefetch(address: *const c_void) {
    // SAFETY: a hint may be about any address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = address.cast::<i8>();
        _mm_prefetch::<_MM_HINT_T0>(address);
        _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(64));
    }
    // Elsewhere stable Rust has no such hint.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

//! A hint to the processor. It lives here because only this room has `unsafe`.

/// Starts to load two cache lines at `address` into the processor's caches, and returns at once.
pub fn prefetch(address: *const std::os::raw::c_void) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = address.cast::<i8>();
        // SAFETY: the instruction faults at no address, and every x86_64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        // SAFETY: the same.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(64)) };
    }
    // Stable Rust has no such hint for other processors.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

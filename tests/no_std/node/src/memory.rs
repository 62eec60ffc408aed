//! An allocator that only ever hands out: a fixed piece of memory, from the front.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr::null_mut,
    sync::atomic::{AtomicUsize, Ordering},
};

/// All there is.
pub const SIZE: usize = 12 * 1024 * 1024;

#[repr(align(64))]
struct Memory {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: a byte is handed out once, by an atomic exchange.
unsafe impl Sync for Memory {}

#[global_allocator]
static MEMORY: Memory = Memory { bytes: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };

/// Bytes handed out so far, what alignment wasted included.
pub fn used() -> usize {
    MEMORY.used.load(Ordering::Relaxed)
}

// SAFETY: what is handed out lies inside `bytes`, is aligned, and is never handed out again.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let mut at = self.used.load(Ordering::Relaxed);
        loop {
            let start = (base as usize + at).next_multiple_of(layout.align()) - base as usize;
            let Some(end) = start.checked_add(layout.size()).filter(|end| *end <= SIZE) else {
                return null_mut();
            };
            match self.used.compare_exchange_weak(at, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: `start` is inside.
                Ok(_) => return unsafe { base.add(start) },
                Err(now) => at = now,
            }
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

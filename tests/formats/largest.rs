//! An allocator that remembers the largest request of each thread.
//!
//! A hostile header must not make a loader ask for more memory than the file justifies; only the
//! allocator can tell, because memory that is asked for and never touched costs nothing visible.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // A thread that is ending has no cell any more, and nobody asks it.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are the ones that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// What `work` returns, and the bytes of its largest single request on this thread.
pub(crate) fn largest_request<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let out = work();
    (out, LARGEST.get())
}

#[test]
fn a_large_request_is_noticed() {
    let (kept, bytes) = largest_request(|| vec![1u8; 1 << 20]);
    assert_eq!((kept.len(), bytes), (1 << 20, 1 << 20));
}

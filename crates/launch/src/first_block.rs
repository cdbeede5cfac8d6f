//! An allocator for the static programs of a release: a process's first memory is one block of its own, the rest another
//! allocator's.
//!
//! mimalloc 3.3 writes to 130 pages before and at its first allocation, which a launch waits for: a page fault takes 0.3 to
//! 1.5 µs. A launch that stays in the block never starts mimalloc.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A launch takes about a third of it before it starts Codex, and a quarter as its child's stack. Only pages that are used
/// cost memory.
const SIZE: usize = 256 << 10;

const PAGE: usize = 4096;

#[repr(align(4096))]
struct Block(UnsafeCell<[u8; SIZE]>);

/// Takes from the front of its block. What is freed last can be used again; all else stays until the process ends.
pub struct FirstBlock<Rest> {
    block: Block,
    /// Bytes at the block's front.
    used: AtomicUsize,
    rest: Rest,
}

#[expect(unsafe_code, reason = "an allocator shares its memory")]
// SAFETY: `used` gives each byte of the block to one allocation at a time.
unsafe impl<Rest: Sync> Sync for FirstBlock<Rest> {}

impl<Rest> FirstBlock<Rest> {
    pub const fn new(rest: Rest) -> FirstBlock<Rest> {
        FirstBlock { block: Block(UnsafeCell::new([0; SIZE])), used: AtomicUsize::new(0), rest }
    }

    fn base(&self) -> *mut u8 {
        self.block.0.get().cast()
    }

    /// Null where the block has no room.
    fn take(&self, layout: Layout) -> *mut u8 {
        if layout.align() > PAGE {
            return ptr::null_mut();
        }
        let room = |used: usize| {
            let begin = used.next_multiple_of(layout.align());
            Some((begin, begin.checked_add(layout.size()).filter(|end| *end <= SIZE)?))
        };
        let change = |used| room(used).map(|(_, end)| end);
        let before = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        match before.ok().and_then(room) {
            Some((begin, _)) => self.base().wrapping_add(begin),
            None => ptr::null_mut(),
        }
    }

    /// Where in the block; None for the other allocator's memory.
    fn offset(&self, pointer: *mut u8) -> Option<usize> {
        Some(pointer.addr().wrapping_sub(self.base().addr())).filter(|offset| *offset < SIZE)
    }

    /// Ends an allocation elsewhere, if it is the last in the block and there is room.
    fn resize(&self, begin: usize, from: usize, to: usize) -> bool {
        let end = begin.checked_add(to).filter(|end| *end <= SIZE);
        end.is_some_and(|end| {
            self.used.compare_exchange(begin + from, end, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }
}

#[expect(unsafe_code, reason = "the interface of allocators")]
// SAFETY: `take` gives memory of this size and alignment that no other allocation has until it is given back, which only
// `dealloc` and `realloc` do; the rest is the other allocator's answer for its own memory.
unsafe impl<Rest: GlobalAlloc> GlobalAlloc for FirstBlock<Rest> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = self.take(layout);
        // SAFETY: as the caller promises.
        if taken.is_null() { unsafe { self.rest.alloc(layout) } } else { taken }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let taken = self.take(layout);
        // SAFETY: as the caller promises; the block's memory may have been used before.
        unsafe {
            if taken.is_null() {
                return self.rest.alloc_zeroed(layout);
            }
            taken.write_bytes(0, layout.size());
        }
        taken
    }

    // Each of a thousand callers would have a copy of its own.
    #[inline(never)]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match self.offset(pointer) {
            Some(begin) => _ = self.resize(begin, layout.size(), 0),
            // SAFETY: as the caller promises.
            None => unsafe { self.rest.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(begin) = self.offset(pointer) else {
            // SAFETY: as the caller promises.
            return unsafe { self.rest.realloc(pointer, layout, size) };
        };
        if self.resize(begin, layout.size(), size) || size <= layout.size() {
            return pointer;
        }
        // SAFETY: the caller promises a size that is valid for the alignment, and `pointer` is of `layout`.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(pointer, new, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    type Tested = FirstBlock<System>;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    fn allocator() -> Box<Tested> {
        Box::new(FirstBlock::new(System))
    }

    /// An allocation whose bytes are known.
    struct Filled {
        pointer: *mut u8,
        layout: Layout,
        byte: u8,
    }

    #[expect(unsafe_code, reason = "an allocator's interface is unsafe")]
    impl Filled {
        fn new(allocator: &Tested, layout: Layout, byte: u8) -> Filled {
            // SAFETY: no test asks for no bytes.
            let pointer = unsafe { allocator.alloc(layout) };
            assert!(!pointer.is_null() && pointer.addr().is_multiple_of(layout.align()));
            // SAFETY: these bytes are of this allocation.
            unsafe { pointer.write_bytes(byte, layout.size()) };
            Filled { pointer, layout, byte }
        }

        fn check(&self, size: usize) {
            // SAFETY: `size` bytes were written, here or before a change of size.
            let bytes = unsafe { std::slice::from_raw_parts(self.pointer, size) };
            assert!(bytes.iter().all(|byte| *byte == self.byte));
        }

        fn resize(&mut self, allocator: &Tested, size: usize) {
            let kept = self.layout.size().min(size);
            // SAFETY: the pointer is of this layout.
            self.pointer = unsafe { allocator.realloc(self.pointer, self.layout, size) };
            self.check(kept);
            self.layout = layout(size, self.layout.align());
            // SAFETY: these bytes are of this allocation.
            unsafe { self.pointer.write_bytes(self.byte, size) };
        }

        fn free(self, allocator: &Tested) {
            self.check(self.layout.size());
            // SAFETY: the pointer is of this layout.
            unsafe { allocator.dealloc(self.pointer, self.layout) };
        }
    }

    #[test]
    fn no_allocation_shares_a_byte_with_another() {
        let allocator = allocator();
        let mut number = 1_u64;
        let mut next = |below: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (number >> 33) as usize % below
        };
        let mut all: Vec<Filled> = Vec::new();
        for step in 0..5_000 {
            match next(4) {
                0 | 1 => {
                    let wanted = layout(1 + next(600), 1 << next(8));
                    all.push(Filled::new(&allocator, wanted, step as u8));
                }
                2 if !all.is_empty() => {
                    let at = all.len() - 1 - next(all.len().min(3));
                    all[at].resize(&allocator, 1 + next(2000));
                }
                _ if !all.is_empty() => {
                    let at = next(all.len());
                    all.swap_remove(at).free(&allocator);
                }
                _ => {}
            }
        }
        let in_block = all.iter().filter(|one| allocator.offset(one.pointer).is_some()).count();
        assert!(in_block > 0 && in_block < all.len(), "{in_block} of {}", all.len());
        all.into_iter().for_each(|one| one.free(&allocator));
    }

    #[test]
    fn what_is_freed_last_is_used_again_and_grows_where_it_is() {
        let allocator = allocator();
        let first = Filled::new(&allocator, layout(100, 8), 1);
        let mut last = Filled::new(&allocator, layout(100, 8), 2);
        let place = last.pointer;
        last.resize(&allocator, 5000);
        assert_eq!(last.pointer, place);
        last.free(&allocator);
        // SAFETY: the size is not zero, and as many bytes are read.
        #[expect(unsafe_code, reason = "an allocator's interface is unsafe")]
        let (again, bytes) = unsafe {
            let again = allocator.alloc_zeroed(layout(5000, 8));
            (again, std::slice::from_raw_parts(again, 5000))
        };
        assert_eq!(again, place);
        assert!(bytes.iter().all(|byte| *byte == 0));
        first.free(&allocator);
    }

    #[test]
    fn what_has_no_room_is_the_other_allocators() {
        let allocator = allocator();
        let full = Filled::new(&allocator, layout(SIZE, 1), 1);
        assert_eq!(allocator.offset(full.pointer), Some(0));
        for wanted in [layout(1, 1), layout(SIZE + 1, 1), layout(8, 2 * PAGE)] {
            let other = Filled::new(&allocator, wanted, 2);
            assert_eq!(allocator.offset(other.pointer), None);
            other.free(&allocator);
        }
        full.free(&allocator);
    }

    #[test]
    fn threads_take_different_bytes() {
        let allocator = allocator();
        std::thread::scope(|scope| {
            for byte in 0..4 {
                let allocator = &*allocator;
                scope.spawn(move || {
                    let all: Vec<Filled> =
                        (0..500).map(|size| Filled::new(allocator, layout(size % 90 + 1, 4), byte)).collect();
                    all.into_iter().for_each(|one| one.free(allocator));
                });
            }
        });
    }
}

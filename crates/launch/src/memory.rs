//! Large pages for a process that reads a large session at once: with pages of 4 KiB, a third of its time goes to memory.

use std::ffi::OsString;

/// Makes glibc (2.35 and later) use large pages, grow its heap in steps of 16 MiB, and keep freed memory. A process with
/// musl calls [`use_large_pages`].
pub const LARGE_PAGES: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=16777216");

/// An allocation of these bytes is mimalloc's: codex-traced takes smaller ones from a block of its own first.
#[cfg(target_env = "musl")]
const BEYOND_FIRST_BLOCK: usize = 1 << 20;

/// How the process uses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// In large pages: for work that is done at once.
    Large,
    /// As any process: for one that stays.
    Usual,
}

impl Memory {
    /// What a new process finds in its environment. A value that the user has set wins.
    pub fn variables(self) -> Vec<(&'static str, OsString)> {
        let (name, value) = LARGE_PAGES;
        match self {
            Memory::Large if std::env::var_os(name).is_none() => vec![(name, value.into())],
            Memory::Large | Memory::Usual => Vec::new(),
        }
    }
}

/// What glibc does by itself: asks for large pages where [`LARGE_PAGES`] is in the environment. Call it first of all.
///
/// mimalloc 3 takes its memory from one mapping of 1 GiB and asks for large pages there, unless it was built without
/// (`no_thp`). A launcher does not want them: it needs few, and to clear a large one can take milliseconds. (Where the
/// kernel's policy is `always`, it gives them unasked.)
#[cfg(target_env = "musl")]
pub fn use_large_pages() {
    let (name, value) = LARGE_PAGES;
    if std::env::var_os(name).is_some_and(|found| found == value)
        && let allocated = std::hint::black_box(Vec::<u8>::with_capacity(BEYOND_FIRST_BLOCK))
        && let Some((begin, length)) = mapping_of(allocated.as_ptr().addr())
    {
        #[expect(unsafe_code, reason = "madvise; nix has it behind a feature and is as unsafe")]
        // SAFETY: the advice changes no byte of the mapping, which the allocator keeps until the end.
        unsafe {
            nix::libc::madvise(begin as *mut nix::libc::c_void, length, nix::libc::MADV_HUGEPAGE);
        }
    }
}

#[cfg(not(target_env = "musl"))]
pub fn use_large_pages() {}

/// Begin and length of the mapping that holds this address.
#[cfg(target_env = "musl")]
fn mapping_of(address: usize) -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (begin, end) = line.split_once(' ')?.0.split_once('-')?;
        let [begin, end] = [begin, end].map(|text| usize::from_str_radix(text, 16).ok());
        let (begin, end) = (begin?, end?);
        (begin..end).contains(&address).then_some((begin, end - begin))
    })
}

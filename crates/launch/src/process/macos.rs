//! Processes on macOS, from libproc and kqueue. Never run: the project has no such machine.

use super::Facts;
use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use std::mem::{self, MaybeUninit};
use std::os::fd::OwnedFd;

/// The kernel finds no zombie by this call (XNU 11417): a zombie is gone.
pub(super) fn facts(id: u32) -> Option<Facts> {
    let info = bsd_info(id)?;
    let born = info.pbi_start_tvsec.saturating_mul(1_000_000).saturating_add(info.pbi_start_tvusec);
    Some(Facts { parent: info.pbi_ppid, born, is_zombie: info.pbi_status == libc::SZOMB })
}

// As scripts/macos-abi.c has it from Apple's headers.
const _: () = {
    assert!(mem::size_of::<libc::proc_bsdinfo>() == 136);
    assert!(mem::offset_of!(libc::proc_bsdinfo, pbi_status) == 4);
    assert!(mem::offset_of!(libc::proc_bsdinfo, pbi_ppid) == 16);
    assert!(mem::offset_of!(libc::proc_bsdinfo, pbi_start_tvsec) == 120);
    assert!(mem::offset_of!(libc::proc_bsdinfo, pbi_start_tvusec) == 128);
    assert!(libc::PROC_PIDTBSDINFO == 3 && libc::SZOMB == 5);
    assert!(mem::size_of::<libc::siginfo_t>() == 104 && mem::offset_of!(libc::siginfo_t, si_pid) == 12);
};

fn bsd_info(id: u32) -> Option<libc::proc_bsdinfo> {
    let id = libc::c_int::try_from(id).ok()?;
    let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = libc::c_int::try_from(mem::size_of::<libc::proc_bsdinfo>()).ok()?;
    #[expect(unsafe_code, reason = "libproc")]
    // SAFETY: the kernel writes at most `size` bytes to the structure, which is that large. It holds numbers only, for which
    // every pattern of bits is one.
    unsafe {
        let written = libc::proc_pidinfo(id, libc::PROC_PIDTBSDINFO, 0, info.as_mut_ptr().cast(), size);
        (written == size).then(|| info.assume_init())
    }
}

/// A kqueue with one event: the process ends. A fork does not inherit it.
pub(super) fn ending(id: u32) -> Option<OwnedFd> {
    let queue = Kqueue::new().ok()?;
    let id = usize::try_from(id).ok()?;
    let end = KEvent::new(id, EventFilter::EVFILT_PROC, EvFlags::EV_ADD, FilterFlag::NOTE_EXIT, 0, 0);
    // ESRCH for a process that is gone.
    queue.kevent(&[end], &mut [], None).ok()?;
    Some(queue.into())
}

/// macOS has one space of process numbers.
pub(super) fn own_namespace() -> Option<String> {
    None
}

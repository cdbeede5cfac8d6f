//! Processes on macOS, from `libproc`. Linked and compared with Apple's headers, never run: the project has no such machine.

use super::{ProcessInfo, Processes, ThreadOf, is_codex, process_arguments};
use codex_session::thread::ThreadId;
use nix::libc::{self, c_int, c_void};
use std::ffi::OsStr;
use std::mem::{self, MaybeUninit};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::{fs, io};

#[derive(Clone, Copy, Debug)]
pub(in crate::claim) struct LocalProcesses;

/// `proc_fileinfo` and `vnode_fdinfowithpath` of `<sys/proc_info.h>`, which libc lacks.
#[repr(C)]
struct OpenFile {
    open_flags: u32,
    status: u32,
    offset: libc::off_t,
    kind: i32,
    guard_flags: u32,
    vnode: libc::vnode_info_path,
}

/// `PROC_PIDFDVNODEPATHINFO` of `<sys/proc_info.h>`.
const OPEN_FILE: c_int = 2;

/// `FWRITE` of `<sys/fcntl.h>`: the kernel's own flag, not `O_WRONLY`.
const FOR_WRITING: u32 = 2;

/// `ARG_MAX`: bytes of arguments and environment.
const MOST_ARGUMENTS: usize = 1 << 20;

// As scripts/macos-abi.c has it from Apple's headers.
const _: () = {
    assert!(mem::size_of::<OpenFile>() == 1200);
    assert!(mem::offset_of!(OpenFile, open_flags) == 0 && mem::offset_of!(OpenFile, vnode) == 24);
    assert!(OPEN_FILE == 2 && FOR_WRITING == 2 && MOST_ARGUMENTS == 1_048_576);
    assert!(mem::offset_of!(libc::vnode_info_path, vip_path) == 152);
    assert!(mem::size_of::<libc::proc_fdinfo>() == 8 && mem::offset_of!(libc::proc_fdinfo, proc_fdtype) == 4);
    assert!(libc::PROC_PIDLISTFDS == 1 && libc::PROX_FDTYPE_VNODE == 1);
    assert!(libc::CTL_KERN == 1 && libc::KERN_PROCARGS2 == 49);
};

impl Processes for LocalProcesses {
    fn known(&self, id: u32) -> Option<ProcessInfo> {
        let id = c_int::try_from(id).ok()?;
        let info: libc::proc_bsdinfo = filled(|buffer, size| {
            #[expect(unsafe_code, reason = "libproc")]
            // SAFETY: the kernel writes at most `size` bytes to the buffer, which is that large.
            unsafe {
                libc::proc_pidinfo(id, libc::PROC_PIDTBSDINFO, 0, buffer, size)
            }
        })?;
        let program = program_of(id)?;
        let file = fs::metadata(&program).ok().map(|file| (file.dev(), file.ino()));
        let is_server = first_argument(id).is_some_and(|word| word == b"app-server");
        Some(ProcessInfo { parent: info.pbi_ppid, file, is_codex: is_codex(&program), is_server })
    }

    fn children(&self, id: u32) -> Vec<u32> {
        let Ok(id) = c_int::try_from(id) else { return Vec::new() };
        let ids: Vec<c_int> = listed(|buffer, size| {
            #[expect(unsafe_code, reason = "libproc")]
            // SAFETY: the kernel writes at most `size` bytes to the buffer; a null one only asks for the size.
            let count = unsafe { libc::proc_listchildpids(id, buffer, size) };
            bytes_of::<c_int>(count)
        });
        ids.into_iter().filter_map(|id| u32::try_from(id).ok()).filter(|id| *id > 0).collect()
    }

    fn all(&self) -> Vec<u32> {
        let ids: Vec<c_int> = listed(|buffer, size| {
            #[expect(unsafe_code, reason = "libproc")]
            // SAFETY: as above.
            let count = unsafe { libc::proc_listallpids(buffer, size) };
            bytes_of::<c_int>(count)
        });
        ids.into_iter().filter_map(|id| u32::try_from(id).ok()).filter(|id| *id > 0).collect()
    }

    fn written(&self, id: u32, thread_of: ThreadOf) -> io::Result<Vec<ThreadId>> {
        let id = c_int::try_from(id).map_err(io::Error::other)?;
        let open: Vec<libc::proc_fdinfo> = listed(|buffer, size| {
            #[expect(unsafe_code, reason = "libproc")]
            // SAFETY: as above.
            unsafe {
                libc::proc_pidinfo(id, libc::PROC_PIDLISTFDS, 0, buffer, size)
            }
        });
        if open.is_empty() {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::EPERM) { Err(error) } else { Ok(Vec::new()) };
        }
        let files =
            open.into_iter().filter(|file| file.proc_fdtype == libc::PROX_FDTYPE_VNODE.cast_unsigned());
        Ok(files.filter_map(|file| thread_of(&written(id, file.proc_fd)?)).collect())
    }
}

fn written(id: c_int, descriptor: c_int) -> Option<PathBuf> {
    let file: OpenFile = filled(|buffer, size| {
        #[expect(unsafe_code, reason = "libproc")]
        // SAFETY: the kernel writes at most `size` bytes to the buffer, which is that large.
        unsafe {
            libc::proc_pidfdinfo(id, descriptor, OPEN_FILE, buffer, size)
        }
    })?;
    let path = file.vnode.vip_path.as_flattened();
    let bytes: Vec<u8> = path.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    (file.open_flags & FOR_WRITING != 0).then(|| PathBuf::from(OsStr::from_bytes(&bytes)))
}

fn program_of(id: c_int) -> Option<PathBuf> {
    let mut path = vec![0_u8; 4096];
    #[expect(unsafe_code, reason = "libproc")]
    // SAFETY: the kernel writes at most the given size, PROC_PIDPATHINFO_MAXSIZE, which the buffer has.
    let length = unsafe { libc::proc_pidpath(id, path.as_mut_ptr().cast(), 4096) };
    path.truncate(usize::try_from(length).ok().filter(|length| *length > 0)?);
    Some(PathBuf::from(OsStr::from_bytes(&path)))
}

/// In a smaller area than arguments and environment take, XNU (11417) puts their end.
fn first_argument(id: c_int) -> Option<Vec<u8>> {
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, id];
    let mut area = vec![0_u8; MOST_ARGUMENTS];
    let mut size = area.len();
    #[expect(unsafe_code, reason = "sysctl")]
    // SAFETY: the name has three numbers, and the kernel writes at most `size` bytes, which the buffer has.
    let answer = unsafe {
        libc::sysctl(name.as_mut_ptr(), 3, area.as_mut_ptr().cast(), &raw mut size, std::ptr::null_mut(), 0)
    };
    if answer != 0 {
        return None;
    }
    area.truncate(size);
    process_arguments::second(&area).map(<[u8]>::to_vec)
}

/// A structure that the kernel fills; None when it fills less than all of it.
fn filled<T>(fill: impl FnOnce(*mut c_void, c_int) -> c_int) -> Option<T> {
    let mut structure = MaybeUninit::<T>::zeroed();
    let size = mem::size_of::<T>();
    let written = fill(structure.as_mut_ptr().cast(), c_int::try_from(size).ok()?);
    #[expect(unsafe_code, reason = "libproc fills C structures")]
    // SAFETY: the kernel has filled all of it with numbers, for which every pattern of bits is one.
    (usize::try_from(written) == Ok(size)).then(|| unsafe { structure.assume_init() })
}

/// A list that the kernel fills. It may grow between the two calls, so there is room for some more.
fn listed<T: Clone>(mut fill: impl FnMut(*mut c_void, c_int) -> c_int) -> Vec<T> {
    let needed = usize::try_from(fill(std::ptr::null_mut(), 0)).unwrap_or(0);
    let room = needed / mem::size_of::<T>() + 32;
    let mut list = Vec::<T>::with_capacity(room);
    let written = fill(list.as_mut_ptr().cast(), c_int::try_from(room * mem::size_of::<T>()).unwrap_or(0));
    let count = usize::try_from(written).unwrap_or(0) / mem::size_of::<T>();
    #[expect(unsafe_code, reason = "libproc fills C arrays")]
    // SAFETY: the kernel has filled so many elements with numbers, and never more than there is room for.
    unsafe {
        list.set_len(count.min(room));
    }
    list
}

/// Some of these calls count elements, others bytes.
fn bytes_of<T>(count: c_int) -> c_int {
    count.saturating_mul(c_int::try_from(mem::size_of::<T>()).unwrap_or(c_int::MAX))
}

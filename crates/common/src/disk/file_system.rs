//! Whether a path is on this machine's own disk, or on one that other machines write to as well.
//!
//! Where other machines write too, this kernel's locks do not show their locks, and SQLite's write-ahead log
//! must not be used.

use std::path::Path;

/// 9p, to the host of a virtual machine.
#[cfg(any(target_os = "linux", test))]
const NINE_P: u32 = 0x0102_1997;

/// Linux's number of the file system of an existing file.
#[cfg(target_os = "linux")]
fn number_of(path: &Path) -> Option<u32> {
    let found = nix::sys::statfs::statfs(path).ok()?;
    // The type's width and sign differ from one platform to the next; all of these numbers have 32 bits.
    u32::try_from(i128::from(found.filesystem_type().0) & i128::from(u32::MAX)).ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Local,
    /// Other machines may write to it: this kernel knows neither their locks nor, by inotify, their writes.
    Network,
}

impl FileSystem {
    /// Of an existing file. An unknown file system counts as local, as almost all are.
    #[cfg(target_os = "linux")]
    pub fn from_path(path: &Path) -> FileSystem {
        number_of(path).map_or(FileSystem::Local, FileSystem::from_number)
    }

    #[cfg(not(target_os = "linux"))]
    pub fn from_path(path: &Path) -> FileSystem {
        let found = nix::sys::statfs::statfs(path);
        found.map_or(FileSystem::Local, |found| FileSystem::from_name(found.filesystem_type_name()))
    }

    /// By Linux's numbers for them (`statfs(2)` lists most).
    #[cfg(any(target_os = "linux", test))]
    fn from_number(kind: u32) -> FileSystem {
        match kind {
            0x6969 // nfs
            | 0xff53_4d42 | 0xfe53_4d42 | 0x517b // cifs, smb3, smb
            | 0x5346_414f | 0x6b41_4653 // afs, and the kernel's own
            | NINE_P
            | 0x7375_7245 | 0x564c // coda, ncp
            | 0x00c3_6400 | 0x0bd0_0bd0 | 0x4750_4653 | 0x0116_1970 | 0x7461_636f // ceph, lustre, gpfs, gfs2, ocfs2
            | 0x786f_4256 // the shared folders of VirtualBox
            // fuse: sshfs and many others, and local ones, to which no harm is done.
            | 0x6573_5546 => FileSystem::Network,
            _ => FileSystem::Local,
        }
    }

    /// By the names of macOS and the BSDs.
    #[cfg(any(not(target_os = "linux"), test))]
    fn from_name(name: &str) -> FileSystem {
        match name {
            "nfs" | "smbfs" | "afpfs" | "webdav" | "macfuse" | "osxfuse" => FileSystem::Network,
            _ => FileSystem::Local,
        }
    }
}

/// Whether the file is on a disk of the machine that this virtual machine runs on: WSL shows Windows' disks by 9p.
pub fn is_of_host(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        number_of(path) == Some(NINE_P)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_machines_are_known_by_number_and_name() {
        // Of NFS, SMB, 9p and FUSE; of ext4, btrfs, xfs, tmpfs and overlayfs.
        for (kind, expected) in [
            (0x6969, FileSystem::Network),
            (0xff53_4d42, FileSystem::Network),
            (NINE_P, FileSystem::Network),
            (0x6573_5546, FileSystem::Network),
            (0xef53, FileSystem::Local),
            (0x9123_683e, FileSystem::Local),
            (0x5846_5342, FileSystem::Local),
            (0x0102_1994, FileSystem::Local),
            (0x794c_7630, FileSystem::Local),
        ] {
            assert_eq!(FileSystem::from_number(kind), expected, "{kind:x}");
        }
        for (name, expected) in
            [("nfs", FileSystem::Network), ("smbfs", FileSystem::Network), ("apfs", FileSystem::Local)]
        {
            assert_eq!(FileSystem::from_name(name), expected, "{name}");
        }
    }

    #[test]
    fn a_temporary_folder_is_local() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(FileSystem::from_path(folder.path()), FileSystem::Local);
        assert_eq!(FileSystem::from_path(&folder.path().join("missing")), FileSystem::Local);
    }
}

//! Lists of the kernel below `/proc`, such as the list of locks.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More than a page, which is what the kernel gives at a time.
const ROOM: usize = 64 << 10;

/// How often a list of several pages is read. That one entry is missed every time takes as many coincidences.
const PASSES: usize = 3;

/// Reads the lines of a list, and some of them several times.
///
/// The kernel gives the list in pages, and finds each page by counting entries. When an entry goes away between two pages,
/// it leaves out another one. So this function reads a list of several pages again.
pub fn read(path: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    if read_pages(path, &mut lines)? > 1 {
        for _ in 1..PASSES {
            read_pages(path, &mut lines)?;
        }
    }
    Ok(String::from_utf8_lossy(&lines).into_owned())
}

/// Appends the list; returns the number of pages. `std::fs::read` begins with 32 bytes, so that the kernel would count
/// its way to almost every entry.
fn read_pages(path: &Path, lines: &mut Vec<u8>) -> io::Result<usize> {
    let (mut list, mut room, mut pages) = (File::open(path)?, vec![0; ROOM], 0);
    loop {
        match list.read(&mut room) {
            Ok(0) => return Ok(pages),
            Ok(count) => lines.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        pages += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_one_page_is_read_once_and_a_longer_one_again() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        for (bytes, times) in [(100, 1), (ROOM, 1), (ROOM + 100, PASSES)] {
            std::fs::write(&list, "a line\n".repeat(bytes / 7)).unwrap();
            assert_eq!(read(&list).unwrap().lines().count(), bytes / 7 * times, "{bytes}");
        }
        assert!(read(&folder.path().join("none")).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_lock_is_missed_while_others_come_and_go() {
        use std::os::unix::fs::MetadataExt;
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let make = |name: usize| File::create(folder.path().join(name.to_string())).unwrap();
        let stays = make(0);
        stays.lock().unwrap();
        // With these the list has several pages.
        let others: Vec<File> = (100..250).map(make).collect();
        others.iter().for_each(|file| file.lock().unwrap());
        let entry = format!(":{} 0 EOF", stays.metadata().unwrap().ino());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let files: Vec<File> = (1..30).map(make).collect();
                while !is_over.load(Ordering::Relaxed) {
                    files.iter().for_each(|file| file.lock().unwrap());
                    files.iter().for_each(|file| file.unlock().unwrap());
                }
            });
            for _ in 0..200 {
                let list = read(Path::new("/proc/locks")).unwrap();
                if !list.contains(&entry) {
                    is_over.store(true, Ordering::Relaxed);
                    panic!("{list}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

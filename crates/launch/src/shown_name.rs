//! The name under which `ps`, and senders of signals by name, find a process.

use std::ffi::CStr;
use std::fs;
use std::ops::Range;

/// Gives this process a name, and overwrites its arguments, where other processes read them. Call it only in a fork that
/// reads its arguments no more. Outside Linux, and without `/proc`, the arguments stay.
pub(super) fn show_as(name: &CStr) {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_name(name);
    let stat = fs::read("/proc/self/stat").unwrap_or_default();
    let Some(arguments) = arguments(&String::from_utf8_lossy(&stat)) else { return };
    let shown = name.count_bytes().min(arguments.len() - 1);
    let start = std::ptr::with_exposed_provenance_mut(arguments.start);
    #[expect(unsafe_code, reason = "the arguments of this process, where other processes see them")]
    // SAFETY: the kernel put the arguments into this writable memory and names its bounds; nothing reads it any more.
    unsafe {
        std::ptr::write_bytes(start, 0, arguments.len());
        std::ptr::copy_nonoverlapping(name.as_ptr().cast::<u8>(), start, shown);
    }
}

/// Where the arguments are in memory, by `/proc/self/stat`: its fields 48 and 49, which are 0 where they are hidden.
fn arguments(stat: &str) -> Option<Range<usize>> {
    // The program's name, field 2, may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut bounds = fields.split(' ').skip(48 - 3).map(str::parse);
    let (start, end) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    (start != 0 && start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that ran `cat /proc/self/stat`; Linux 6.1.
    const STAT: &str = "5 (a b) c) R 14822 14819 12606 0 -1 4194304 77 0 0 0 0 0 0 0 20 0 1 0 7529897 3133440 \
        412 18446744073709551615 94485821231104 94485821250985 140736054035456 0 0 0 0 0 0 0 0 0 \
        17 0 0 0 0 0 0 94485821266992 94485821268608 94486485614592 140736054040870 \
        140736054040890 7 0";

    #[test]
    fn the_kernel_names_the_bounds_of_the_arguments() {
        assert_eq!(arguments(STAT), Some(140_736_054_040_870..140_736_054_040_890));
        assert_eq!(arguments(&STAT.replace("140736054040870 140736054040890", "0 0")), None);
        assert_eq!(arguments(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_bounds_of_this_process_are_as_long_as_its_arguments() {
        let stat = fs::read("/proc/self/stat").unwrap();
        let bounds = arguments(&String::from_utf8_lossy(&stat)).unwrap();
        assert_eq!(bounds.len(), fs::read("/proc/self/cmdline").unwrap().len());
    }
}

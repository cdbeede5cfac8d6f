// The structures and numbers of macOS that the program uses, as Apple's headers have them.
// .ci/run compiles it for both processors; it is never run. Assertions in Rust have the numbers that the program names itself (libc has the others):
// crates/launch/src/process/macos.rs, src/claim/processes/macos.rs, crates/common/src/disk/vnode_alarm/kqueue.rs.

#include <fcntl.h>
#include <libproc.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <sys/event.h>
#include <sys/fcntl.h>
#include <sys/ioctl.h>
#include <sys/proc.h>
#include <sys/proc_info.h>
#include <sys/sysctl.h>
#include <termios.h>

#define SAME(what, number) _Static_assert((what) == (number), #what " is not " #number)

// libproc: a process.
SAME(sizeof(struct proc_bsdinfo), 136);
SAME(offsetof(struct proc_bsdinfo, pbi_status), 4);
SAME(offsetof(struct proc_bsdinfo, pbi_ppid), 16);
SAME(offsetof(struct proc_bsdinfo, pbi_start_tvsec), 120);
SAME(offsetof(struct proc_bsdinfo, pbi_start_tvusec), 128);
SAME(PROC_PIDTBSDINFO, 3);
SAME(SZOMB, 5);
SAME(PROC_PIDPATHINFO_MAXSIZE, 4096);

// libproc: its open files.
SAME(sizeof(struct proc_fdinfo), 8);
SAME(offsetof(struct proc_fdinfo, proc_fdtype), 4);
SAME(sizeof(struct proc_fileinfo), 24);
SAME(offsetof(struct proc_fileinfo, fi_openflags), 0);
SAME(sizeof(struct vnode_info), 152);
SAME(sizeof(struct vnode_info_path), 1176);
SAME(offsetof(struct vnode_info_path, vip_path), 152);
SAME(sizeof(struct vnode_fdinfowithpath), 1200);
SAME(offsetof(struct vnode_fdinfowithpath, pvip), 24);
SAME(PROC_PIDLISTFDS, 1);
SAME(PROC_PIDFDVNODEPATHINFO, 2);
SAME(PROX_FDTYPE_VNODE, 1);
SAME(FWRITE, 2);

// sysctl: its arguments.
SAME(CTL_KERN, 1);
SAME(KERN_PROCARGS2, 49);
SAME(ARG_MAX, 1048576);

// kqueue.
SAME(sizeof(struct kevent), 32);
SAME(offsetof(struct kevent, filter), 8);
SAME(offsetof(struct kevent, fflags), 12);
SAME(EVFILT_PROC, -5);
SAME(EVFILT_VNODE, -4);
SAME(NOTE_EXIT, 0x80000000u);
SAME(NOTE_DELETE, 0x1);
SAME(NOTE_WRITE, 0x2);
SAME(NOTE_EXTEND, 0x4);
SAME(NOTE_RENAME, 0x20);
SAME(EV_ADD, 0x1);
SAME(EV_CLEAR, 0x20);
SAME(O_EVTONLY, 0x8000);

// Signals and terminals.
SAME(sizeof(siginfo_t), 104);
SAME(offsetof(siginfo_t, si_pid), 12);
SAME(sizeof(sigset_t), 4);
SAME(SIGCHLD, 20);
SAME(SIGWINCH, 28);
SAME(SIGINFO, 29);
SAME(sizeof(struct termios), 72);
SAME(sizeof(struct winsize), 8);
SAME(TIOCGWINSZ, 0x40087468);

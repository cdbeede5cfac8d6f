//! Copies bytes between two descriptors that never block, without looking at them.

use nix::errno::Errno;
use nix::unistd::{read, write};
use std::ops::Range;
use std::os::fd::AsFd;

/// One read of up to this size, then one write: the fastest of ten measured variants.
const CHUNK: usize = 64 * 1024;

/// One direction. It reads nothing while bytes wait to be written.
pub(super) struct Flow {
    chunk: Box<[u8]>,
    waiting: Range<usize>,
}

/// State of a descriptor after a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Open,
    /// No process has its other end.
    HungUp,
    /// End of input: also a terminal that hung up, and one whose reader is not raw.
    Empty,
}

impl Flow {
    pub(super) fn new() -> Flow {
        Flow { chunk: vec![0; CHUNK].into(), waiting: 0..0 }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn take_from(&mut self, source: impl AsFd) -> Side {
        match read(source, &mut self.chunk) {
            Ok(0) => Side::Empty,
            Ok(count) => {
                self.waiting = 0..count;
                Side::Open
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Side::Open,
            Err(_) => Side::HungUp,
        }
    }

    pub(super) fn give_to(&mut self, sink: impl AsFd) -> Side {
        match write(sink, &self.chunk[self.waiting.clone()]) {
            Ok(count) => {
                self.waiting.start += count;
                Side::Open
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Side::Open,
            Err(_) => {
                self.forget();
                Side::HungUp
            }
        }
    }

    pub(super) fn forget(&mut self) {
        self.waiting = 0..0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_a_full_sink_does_not_take_waits() {
        let (mut source, from) = UnixStream::pair().unwrap();
        let (to, mut sink) = UnixStream::pair().unwrap();
        fcntl(&to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut flow = Flow::new();
        let sent: Vec<u8> = (0..=255).cycle().take(16 * CHUNK).collect();
        let mut rest = &sent[..];
        let mut taken = Vec::new();
        while taken.len() < sent.len() {
            if !flow.is_waiting() && !rest.is_empty() {
                let count = rest.len().min(CHUNK / 4);
                source.write_all(&rest[..count]).unwrap();
                rest = &rest[count..];
                assert_eq!(flow.take_from(&from), Side::Open);
            }
            let before = flow.waiting.len();
            assert_eq!(flow.give_to(&to), Side::Open);
            if flow.is_waiting() || rest.is_empty() || before == 0 {
                let mut chunk = vec![0; CHUNK];
                let count = sink.read(&mut chunk).unwrap();
                taken.extend_from_slice(&chunk[..count]);
            }
        }
        assert!(taken == sent);
    }

    #[test]
    fn an_end_that_is_gone_is_reported() {
        let (source, from) = UnixStream::pair().unwrap();
        let mut flow = Flow::new();
        drop(source);
        assert_eq!(flow.take_from(&from), Side::Empty);
        flow.waiting = 0..1;
        assert_eq!((flow.give_to(&from), flow.is_waiting()), (Side::HungUp, false));
    }
}

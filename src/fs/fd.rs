//! An open descriptor that knows which tree it belongs to, and whose close is checked.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::fence;
use crate::fault::{Failure, Side};

/// An open descriptor. Dropping it closes it too, but says nothing of errors; std's `File` knows
/// only that way (rust-lang/rust#98338), and Lustre, NFS and quotas report lost writes at close.
#[derive(Debug)]
pub struct Fd {
    fd: OwnedFd,
    side: Side,
    /// Opened with O_PATH: names an inode, whatever its type, without opening it.
    path_only: bool,
}

impl Fd {
    pub(super) fn new(fd: OwnedFd, side: Side) -> Self {
        Self { fd, side, path_only: false }
    }

    pub(super) fn path_only(fd: OwnedFd, side: Side) -> Self {
        Self { fd, side, path_only: true }
    }

    /// The descriptor alone.
    pub(super) fn into_owned(self) -> OwnedFd {
        self.fd
    }

    /// Which tree it belongs to.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The error `errno` of a call on this descriptor.
    pub fn failure(&self, operation: &'static str, errno: Errno) -> Failure {
        Failure { side: self.side, operation, errno: errno as i32 }
    }

    /// Calls that do not take an O_PATH descriptor reach its inode by this name, which the kernel
    /// resolves to the inode itself, a symbolic link included (proc(5), "magic links").
    pub(super) fn magic_path(&self) -> Option<String> {
        self.path_only.then(|| self.proc_path())
    }

    /// Where /proc tells its path.
    pub(super) fn proc_path(&self) -> String {
        fence::note(self.side);
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    /// Closes it. An error means that written data may be lost; the descriptor is gone in any case,
    /// so close is never called again (close(2)).
    pub fn close(self) -> Result<(), Failure> {
        let side = self.side;
        match nix::unistd::close(self.fd) {
            Ok(()) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Failure { side, operation: "close", errno: errno as i32 }),
        }
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        fence::note(self.side);
        self.fd.as_fd()
    }
}

/// Makes a call, unless this worker's item was given to others (`fence`). Calls again while a signal
/// interrupts. Signals are blocked in all threads but one, so this is for file systems that give EINTR of
/// their own.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let tries_max = 1000;
    for _ in 0..tries_max {
        fence::check()?;
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
    Err(Errno::EINTR)
}

/// rustix's error as nix's.
pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

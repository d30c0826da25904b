//! System calls that neither nix nor rustix has.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use rustix::ioctl::{self, Opcode, Setter};

use super::fd::errno;

/// struct file_clone_range of linux/fs.h.
#[repr(C)]
struct FileCloneRange {
    source: i64,
    source_offset: u64,
    length: u64,
    target_offset: u64,
}

const FICLONERANGE: Opcode = ioctl::opcode::write::<FileCloneRange>(0x94, 13);

/// Lets the target share a range with the source, at the same place (ioctl_ficlonerange(2)). A length
/// of 0 means up to the end of the source.
pub(super) fn clone_range(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    offset: u64,
    length: u64,
) -> Result<(), Errno> {
    let range =
        FileCloneRange { source: i64::from(source.as_raw_fd()), source_offset: offset, length, target_offset: offset };
    // SAFETY: the request takes a pointer to this structure and only reads it; its layout is that of
    // linux/fs.h, and the descriptor in it is open as long as `source` is borrowed.
    unsafe { ioctl::ioctl(target, Setter::<FICLONERANGE, FileCloneRange>::new(range)) }.map_err(errno)
}

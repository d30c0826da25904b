//! System calls that neither nix nor rustix has.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use rustix::ioctl::{self, Getter, Opcode, Setter};

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

/// struct fsxattr of linux/fs.h.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct FsXattr {
    pub(super) flags: u32,
    extent_size: u32,
    extents: u32,
    pub(super) project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// FS_XFLAG_PROJINHERIT.
pub(super) const PROJECT_INHERIT: u32 = 0x200;

const FS_IOC_FSGETXATTR: Opcode = ioctl::opcode::read::<FsXattr>(b'X', 31);
const FS_IOC_FSSETXATTR: Opcode = ioctl::opcode::write::<FsXattr>(b'X', 32);

/// Flags and project of an open file or directory (ioctl_xfs_fsgetxattr(2)).
pub(super) fn fs_xattr(fd: BorrowedFd<'_>) -> Result<FsXattr, Errno> {
    // SAFETY: the request fills a structure of this layout.
    unsafe { ioctl::ioctl(fd, Getter::<FS_IOC_FSGETXATTR, FsXattr>::new()) }.map_err(errno)
}

/// Sets them.
pub(super) fn set_fs_xattr(fd: BorrowedFd<'_>, value: FsXattr) -> Result<(), Errno> {
    // SAFETY: the request takes a pointer to a structure of this layout and only reads it.
    unsafe { ioctl::ioctl(fd, Setter::<FS_IOC_FSSETXATTR, FsXattr>::new(value)) }.map_err(errno)
}

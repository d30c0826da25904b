//! System calls that neither nix nor rustix has.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use rustix::ioctl::{self, Getter, Opcode, Setter};

use super::fd::errno;
use crate::preflight::facts::Quota;

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

/// Ends the process now: whatever `exit(3)` would run first may wait for what hangs.
pub fn leave(code: u8) -> ! {
    // SAFETY: _exit(2) takes a number, touches no memory of ours, and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Gives a copy of mounts, and those in it, these attributes, and keeps from it what is mounted elsewhere later
/// (mount_setattr(2), Linux 5.12).
pub(super) fn set_mount_attributes(mounts: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    let set = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the call reads an empty name and a structure of the size that it is told, both of which outlive it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mounts.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const set,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(answer).map(drop)
}

/// Q_GETQUOTA for a user, as QCMD of sys/quota.h puts it together.
const GET_USER_QUOTA: libc::c_uint = 0x0080_0007 << 8;

/// What the quota of a user leaves on the file system of a directory (quotactl_fd, Linux 5.14). Nothing where it has no limit.
pub(super) fn quota_of_user(directory: BorrowedFd<'_>, uid: u32) -> Result<Quota, Errno> {
    // SAFETY: a structure of numbers, for which zeros are good.
    let mut block: libc::dqblk = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills a structure of this layout, which outlives it.
    let answer =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, directory.as_raw_fd(), GET_USER_QUOTA, uid, &raw mut block) };
    Errno::result(answer)?;
    let left = |limit: u64, used: u64| (limit > 0).then(|| limit.saturating_sub(used));
    // Limits are counted in blocks of 1 KiB, what is used in bytes.
    let bytes = left(block.dqb_bhardlimit.saturating_mul(1_024), block.dqb_curspace);
    Ok(Quota { bytes, inodes: left(block.dqb_ihardlimit, block.dqb_curinodes) })
}

/// Sets them.
pub(super) fn set_fs_xattr(fd: BorrowedFd<'_>, value: FsXattr) -> Result<(), Errno> {
    // SAFETY: the request takes a pointer to a structure of this layout and only reads it.
    unsafe { ioctl::ioctl(fd, Setter::<FS_IOC_FSSETXATTR, FsXattr>::new(value)) }.map_err(errno)
}

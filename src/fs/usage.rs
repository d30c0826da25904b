//! How much a file system holds.

use std::os::fd::AsFd;

use super::fd::{Fd, errno, uninterrupted};
use super::{attributes, open, sys};
use crate::fault::Failure;
use crate::preflight::facts::{Inodes, Quota, Room as Whole, Tried};

/// What is used of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, as they are allocated.
    pub bytes: u64,
    /// Inodes; `None` where the file system does not count them, as btrfs.
    pub inodes: Option<u64>,
}

/// What a file system still takes from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes; with those that are kept for root, if we are.
    pub bytes: u64,
    /// Inodes; `None` where the file system does not count them.
    pub inodes: Option<u64>,
    /// Nothing at all.
    pub is_read_only: bool,
}

/// What the file system of this directory still takes.
pub fn room(directory: &Fd) -> Result<Room, Failure> {
    let stat = statvfs(directory)?;
    let blocks = if nix::unistd::geteuid().is_root() { stat.f_bfree } else { stat.f_bavail };
    Ok(Room {
        bytes: blocks.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_ffree),
        is_read_only: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

fn statvfs(directory: &Fd) -> Result<rustix::fs::StatVfs, Failure> {
    uninterrupted(|| rustix::fs::fstatvfs(directory.as_fd()).map_err(errno))
        .map_err(|errno| directory.failure("fstatvfs", errno))
}

/// What is used of the file system of which this directory is the root: `None` if it is not the root, so
/// that the figures would be those of others too.
pub fn of_root(directory: &Fd) -> Result<Option<Usage>, Failure> {
    let device = |fd: &Fd| attributes::of_fd(fd).map(|found| found.device);
    if device(directory)? == device(&open::parent_directory(directory)?)? {
        return Ok(None);
    }
    let stat = statvfs(directory)?;
    let bytes = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
    let inodes = (stat.f_files > 0).then(|| stat.f_files.saturating_sub(stat.f_ffree));
    Ok(Some(Usage { bytes, inodes }))
}

/// All that the file system of this directory tells of its room.
pub fn volume(directory: &Fd) -> Result<Whole, Failure> {
    let stat = statvfs(directory)?;
    let is_root = nix::unistd::geteuid().is_root();
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let free = if is_root { stat.f_bfree } else { stat.f_bavail };
    let inodes_free = if is_root { stat.f_ffree } else { stat.f_favail };
    Ok(Whole {
        total_bytes: bytes(stat.f_blocks),
        used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        free_bytes: bytes(free),
        reserved_bytes: bytes(stat.f_bfree.saturating_sub(free)),
        inodes: (stat.f_files > 0)
            .then(|| Inodes { used: stat.f_files.saturating_sub(stat.f_ffree), free: inodes_free }),
        is_read_only: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        name_bytes_max: stat.f_namemax,
    })
}

/// What our own quota still leaves; `None`: root has none.
pub fn quota(directory: &Fd) -> Tried<Option<Quota>> {
    let us = nix::unistd::geteuid();
    if us.is_root() {
        return Ok(None);
    }
    match uninterrupted(|| sys::quota_of_user(directory.as_fd(), us.as_raw())) {
        Ok(quota) => Ok(Some(quota)),
        Err(nix::errno::Errno::ESRCH) => Ok(Some(Quota::default())),
        Err(errno) => Err(format!("{} ({errno:?})", errno.desc())),
    }
}

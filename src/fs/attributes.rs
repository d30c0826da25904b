//! Looking at an inode's attributes, and setting them.

use std::ffi::CStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use rustix::fs::{CWD, FileType, Statx, StatxFlags, StatxTimestamp};

use super::fd::{Fd, errno, uninterrupted};
use crate::fault::Failure;
use crate::tree::decide::Times;
use crate::tree::{Attributes, Identity, Kind, Time};

const MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// The attributes of the inode under `name`; a link is not followed, an automount not triggered.
pub fn of_name(directory: &Fd, name: &CStr) -> Result<Attributes, Failure> {
    look(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
}

/// The attributes of an open inode.
pub fn of_fd(fd: &Fd) -> Result<Attributes, Failure> {
    look(fd, c"", rustix::fs::AtFlags::EMPTY_PATH)
}

fn look(fd: &Fd, name: &CStr, flags: rustix::fs::AtFlags) -> Result<Attributes, Failure> {
    let flags = flags | rustix::fs::AtFlags::NO_AUTOMOUNT;
    let stat = uninterrupted(|| rustix::fs::statx(fd.as_fd(), name, flags, MASK).map_err(errno))
        .map_err(|errno| fd.failure("statx", errno))?;
    if !StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BASIC_STATS) {
        return Err(fd.failure("statx", Errno::ENODATA));
    }
    Ok(attributes(&stat))
}

/// The size in which a file is best written: a block, on Lustre a stripe. At least 1.
pub fn block_bytes(fd: &Fd) -> Result<u64, Failure> {
    let stat =
        uninterrupted(|| rustix::fs::fstat(fd.as_fd()).map_err(errno)).map_err(|errno| fd.failure("fstat", errno))?;
    Ok(u64::try_from(stat.st_blksize).unwrap_or(1).max(1))
}

/// The mount through which a directory was reached (Linux 5.8).
pub fn mount_id(fd: &Fd) -> Result<u64, Failure> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    let stat = uninterrupted(|| rustix::fs::statx(fd.as_fd(), c"", flags, StatxFlags::MNT_ID).map_err(errno))
        .map_err(|errno| fd.failure("statx", errno))?;
    if !StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID) {
        return Err(fd.failure("statx", Errno::ENODATA));
    }
    Ok(stat.stx_mnt_id)
}

/// The type of an open inode, for which no server is asked.
pub fn kind_of(fd: &Fd) -> Result<Kind, Failure> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH | rustix::fs::AtFlags::STATX_DONT_SYNC;
    let stat = uninterrupted(|| rustix::fs::statx(fd.as_fd(), c"", flags, StatxFlags::TYPE).map_err(errno))
        .map_err(|errno| fd.failure("statx", errno))?;
    Ok(kind(FileType::from_raw_mode(u32::from(stat.stx_mode))))
}

/// The device number of an open inode, and the block that its file system likes to be given.
pub fn device_and_block(fd: &Fd) -> Result<(u64, u32), Failure> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    let stat = uninterrupted(|| rustix::fs::statx(fd.as_fd(), c"", flags, StatxFlags::TYPE).map_err(errno))
        .map_err(|errno| fd.failure("statx", errno))?;
    Ok((rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_blksize))
}

fn attributes(stat: &Statx) -> Attributes {
    let has_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let mode = u32::from(stat.stx_mode);
    Attributes {
        kind: kind(FileType::from_raw_mode(mode)),
        identity: Identity { inode: stat.stx_ino, birth: has_birth.then(|| time(&stat.stx_btime)) },
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        links: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mode: mode & 0o7777,
        size: stat.stx_size,
        allocated: stat.stx_blocks.saturating_mul(512),
        rdev: rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        atime: time(&stat.stx_atime),
        mtime: time(&stat.stx_mtime),
        ctime: time(&stat.stx_ctime),
    }
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Unknown => Kind::Unknown,
    }
}

/// Nanoseconds of a second or more have been seen from broken servers: they are cut to a second.
fn time(stamp: &StatxTimestamp) -> Time {
    Time { seconds: stamp.tv_sec, nanoseconds: stamp.tv_nsec.min(999_999_999) }
}

/// Sets owner and group; `None` leaves one as it is. Clears set-id bits and file capabilities
/// (chown(2)), so it comes before both. The ids 2^32-1 mean "leave" to the kernel and are refused.
pub fn set_owner(fd: &Fd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Failure> {
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Err(fd.failure("fchown", Errno::EINVAL));
    }
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    let call = || match fd.magic_path() {
        None => fchown(fd.as_fd(), uid, gid),
        Some(_) => fchownat(fd.as_fd(), c"", uid, gid, AtFlags::AT_EMPTY_PATH),
    };
    uninterrupted(call).map_err(|errno| fd.failure("fchown", errno))
}

/// Sets the permissions: the low 12 bits.
pub fn set_mode(fd: &Fd, mode: u32) -> Result<(), Failure> {
    let mode = Mode::from_bits_truncate(mode);
    let call = || match fd.magic_path() {
        None => fchmod(fd.as_fd(), mode),
        Some(path) => fchmodat(CWD, path.as_str(), mode, FchmodatFlags::FollowSymlink),
    };
    uninterrupted(call).map_err(|errno| fd.failure("fchmod", errno))
}

/// Sets both times.
pub fn set_times(fd: &Fd, times: Times) -> Result<(), Failure> {
    let (atime, mtime) = (time_spec(times.atime), time_spec(times.mtime));
    let call = || match fd.magic_path() {
        None => futimens(fd.as_fd(), &atime, &mtime),
        Some(path) => utimensat(CWD, path.as_str(), &atime, &mtime, UtimensatFlags::FollowSymlink),
    };
    uninterrupted(call).map_err(|errno| fd.failure("utimensat", errno))
}

fn time_spec(time: Time) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanoseconds))
}

/// Sets both times to now.
pub fn touch(fd: &Fd) -> Result<(), Failure> {
    uninterrupted(|| futimens(fd.as_fd(), &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW))
        .map_err(|errno| fd.failure("utimensat", errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;

    #[test]
    fn nanoseconds_of_a_second_and_more_are_cut_to_a_second() {
        let root = rustix::fs::statx(CWD, c"/", rustix::fs::AtFlags::empty(), MASK).unwrap();
        let stamp = |nanoseconds| {
            let mut stamp = root.stx_mtime;
            (stamp.tv_sec, stamp.tv_nsec) = (-5, nanoseconds);
            stamp
        };
        assert_eq!(time(&stamp(999_999_999)), Time { seconds: -5, nanoseconds: 999_999_999 });
        for broken in [1_000_000_000, u32::MAX] {
            assert_eq!(time(&stamp(broken)), Time { seconds: -5, nanoseconds: 999_999_999 });
        }
    }

    #[test]
    fn the_ids_that_mean_leave_it_are_refused() {
        let file = Fd::new(tempfile::tempfile().unwrap().into(), Side::Target);
        for (uid, gid) in [(Some(u32::MAX), None), (None, Some(u32::MAX)), (Some(0), Some(u32::MAX))] {
            let refused = set_owner(&file, uid, gid).unwrap_err();
            assert_eq!(refused.errno, Errno::EINVAL as i32);
        }
    }
}

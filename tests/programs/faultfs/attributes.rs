//! Attributes as the kernel is told them, and what a poorer file system makes of times and devices.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use rustix::fs::{Stat, Timespec, UTIME_NOW, UTIME_OMIT};

/// What the file system can not hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Times are multiples of so many seconds; 0, they have nanoseconds.
    pub time_seconds: i64,
    /// Device numbers are cut to 16 bits, without an error.
    pub short_devices: bool,
}

impl Limits {
    fn time(self, seconds: i64, nanoseconds: i64) -> (i64, u32) {
        if self.time_seconds > 0 {
            (seconds - seconds.rem_euclid(self.time_seconds), 0)
        } else {
            (seconds, u32::try_from(nanoseconds).unwrap_or(0))
        }
    }

    fn system_time(self, seconds: i64, nanoseconds: i64) -> SystemTime {
        let (seconds, nanoseconds) = self.time(seconds, nanoseconds);
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
        time + Duration::from_nanos(nanoseconds.into())
    }

    /// A time that is to be set.
    pub fn to_set(self, time: Option<TimeOrNow>) -> Timespec {
        let (tv_sec, tv_nsec) = match time {
            None => (0, UTIME_OMIT),
            Some(TimeOrNow::Now) if self.time_seconds == 0 => (0, UTIME_NOW),
            Some(TimeOrNow::Now) => self.parts(SystemTime::now()),
            Some(TimeOrNow::SpecificTime(time)) => self.parts(time),
        };
        Timespec { tv_sec, tv_nsec }
    }

    fn parts(self, time: SystemTime) -> (i64, i64) {
        let (seconds, nanoseconds) = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
            // fuser takes the nanoseconds of a time before 1970 from it in place of adding them.
            Err(error) => {
                let before = error.duration();
                (-i64::try_from(before.as_secs()).unwrap_or(i64::MAX), before.subsec_nanos())
            }
        };
        let (seconds, nanoseconds) = self.time(seconds, nanoseconds.into());
        (seconds, nanoseconds.into())
    }

    /// The number that a device gets; FUSE has 12 bits for the major and 20 for the minor.
    pub fn device(self, encoded: u32) -> u64 {
        let major = (encoded >> 8) & 0xfff;
        let minor = (encoded & 0xff) | ((encoded >> 12) & 0xf_ff00);
        if self.short_devices {
            let cut = (major << 8) | minor;
            return rustix::fs::makedev((cut >> 8) & 0xff, cut & 0xff);
        }
        rustix::fs::makedev(major, minor)
    }

    /// What the kernel is told. The root's number is left: the kernel knows it by another.
    pub fn attributes(self, stat: &Stat) -> FileAttr {
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let time = |seconds, nanoseconds: u64| self.system_time(seconds, nanoseconds.cast_signed());
        FileAttr {
            ino: INodeNo(stat.st_ino),
            size: stat.st_size.cast_unsigned(),
            blocks: stat.st_blocks.cast_unsigned(),
            atime: time(stat.st_atime, stat.st_atime_nsec),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            crtime: UNIX_EPOCH,
            kind: file_type(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
            perm: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
            nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12),
            blksize: u32::try_from(stat.st_blksize).unwrap_or(4096),
            flags: 0,
        }
    }
}

/// Types, as FUSE names them.
pub fn file_type(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        rustix::fs::FileType::RegularFile | rustix::fs::FileType::Unknown => FileType::RegularFile,
    }
}

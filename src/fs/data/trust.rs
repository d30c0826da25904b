//! Whose word on holes is taken.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use nix::sys::statfs::fstatfs;

use crate::fs::{Fd, attributes};
use crate::tree::Attributes;

/// File systems of the kernel that ask their own cache too when they are asked for holes: ext4, xfs,
/// btrfs and tmpfs.
const KNOWN: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];

/// Elsewhere a file must have been left alone for so long: others have told holes where data were not
/// yet on disk (openzfs/zfs#15526).
const RECENT: Duration = Duration::from_secs(60);

/// Whether it is one of them.
pub(super) fn is_known(file: &Fd) -> bool {
    fs_type(file).is_some_and(|found| KNOWN.contains(&found))
}

#[allow(clippy::cast_sign_loss)] // A magic number, kept in a signed type by libc.
fn fs_type(file: &Fd) -> Option<u64> {
    fstatfs(file.as_fd()).ok().map(|stat| stat.filesystem_type().0 as u64 & 0xffff_ffff)
}

/// Whether a file was changed not long ago, or in the future by our clock.
pub(super) fn is_recent(was: &Attributes, now: SystemTime) -> bool {
    let last = was.mtime.seconds.max(was.ctime.seconds);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    last > seconds(now).saturating_sub(seconds(RECENT))
}

/// Whether what a file system tells of a file's holes is believed.
pub(super) fn holes(file: &Fd) -> bool {
    is_known(file) || attributes::of_fd(file).is_ok_and(|was| !is_recent(&was, SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Identity, Kind, Time};

    fn changed(mtime: i64, ctime: i64) -> Attributes {
        let time = |seconds| Time { seconds, nanoseconds: 0 };
        let identity = Identity { inode: 1, birth: None };
        let (mtime, ctime, atime) = (time(mtime), time(ctime), time(0));
        let (kind, links, mode) = (Kind::File, 1, 0o644);
        Attributes {
            kind,
            identity,
            device: 1,
            links,
            uid: 0,
            gid: 0,
            mode,
            size: 1,
            allocated: 0,
            rdev: 0,
            atime,
            mtime,
            ctime,
        }
    }

    #[test]
    fn a_file_is_recent_for_a_minute_after_any_change_and_by_a_clock_ahead() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (mtime, ctime) in [(995, 0), (0, 995), (941, 941), (5_000, 0)] {
            assert!(is_recent(&changed(mtime, ctime), now), "{mtime} {ctime}");
        }
        assert!(!is_recent(&changed(940, 100), now));
    }
}

//! What a failed system call means: for the entry, for the target, for the run. Pure.

use std::time::Duration;

use nix::errno::Errno;

use crate::fault::{Failure, Fault, Side};
use crate::tree::TreePath;

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It may pass, and so the entry is tried again, from the root of its tree: never the call itself, as a
    /// second fsync(2) on one descriptor says nothing of what the first one lost.
    ///
    /// - EINTR, EAGAIN, ETIMEDOUT: errno(3); a server that is restarted.
    /// - ESTALE: open_by_handle_at(2), nfs(5): what a path resolved to is gone, and resolving it again helps.
    /// - ENOTCONN, ESHUTDOWN: Lustre, after the server has evicted the client, until that has reconnected.
    /// - EIO: Lustre again, and a disk that reads a block the second time. Once more only: most last.
    Passing,
    /// ENOSPC of the target: write(2), fallocate(2), open(2), mkdir(2), symlink(2), link(2), rename(2). Not of an
    /// extended attribute, which ext4 and tmpfs refuse for want of room in the inode (setxattr(2)).
    TargetFull,
    /// EROFS of the target: mounted read-only, or remounted so after an error (ext4(5), errors=remount-ro).
    TargetReadOnly,
    /// EDQUOT of the target (quotactl(2)): the owner, the group or the project has no room.
    OverQuota,
    /// EMFILE, ENFILE: descriptors (open(2)); ENOMEM: the kernel's memory. Others give them back.
    Exhausted,
    /// Anything else is the entry's own.
    Entry,
}

/// Tries at what may pass.
const TRIES_MAX: u8 = 4;

/// Tries at what gives EIO.
const TRIES_OF_EIO: u8 = 2;

/// What a failed call means.
pub fn meaning(failure: Failure) -> Meaning {
    let is_target = failure.side == Side::Target;
    let is_attribute = failure.operation.contains("xattr");
    match Errno::from_raw(failure.errno) {
        Errno::EINTR | Errno::EAGAIN | Errno::ETIMEDOUT | Errno::ESTALE => Meaning::Passing,
        Errno::ENOTCONN | Errno::ESHUTDOWN | Errno::EIO => Meaning::Passing,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => Meaning::Exhausted,
        Errno::ENOSPC if is_target && !is_attribute => Meaning::TargetFull,
        Errno::EROFS if is_target => Meaning::TargetReadOnly,
        Errno::EDQUOT if is_target => Meaning::OverQuota,
        _ => Meaning::Entry,
    }
}

/// How often an entry is tried at which a call fails so.
pub fn tries_max(failure: Failure) -> u8 {
    match meaning(failure) {
        Meaning::Passing if failure.errno == Errno::EIO as i32 => TRIES_OF_EIO,
        // Those of the target as long as nothing confirms them.
        Meaning::Passing | Meaning::Exhausted | Meaning::TargetFull | Meaning::TargetReadOnly => TRIES_MAX,
        Meaning::OverQuota | Meaning::Entry => 1,
    }
}

/// Whether many of these say that a server, or a root, is gone.
pub fn is_of_a_server(failure: Failure) -> bool {
    let errno = Errno::from_raw(failure.errno);
    matches!(errno, Errno::EIO | Errno::ESTALE | Errno::ENOTCONN | Errno::ESHUTDOWN)
}

/// So long an item waits after so many failed tries: 50 ms, 200 ms, 800 ms.
pub fn back_off(tries: u8) -> Duration {
    let first = Duration::from_millis(50);
    first * 4u32.pow(u32::from(tries.clamp(1, TRIES_MAX) - 1))
}

/// What is said of a file whose owner has no room.
pub const OVER_QUOTA: &str = "over quota: parked until there is room, then: pmirror retry RUN --errno EDQUOT";

const NO_DESCRIPTORS: &str = "no descriptors left, try after try: raise ulimit -n, or use fewer --threads";

const NO_MEMORY: &str = "no memory left, try after try: lower --max-memory, or use fewer --threads";

/// The fault of an entry at which a call failed, with what people can do about it.
pub fn fault(path: TreePath, failure: Failure) -> Fault {
    let note = match (meaning(failure), Errno::from_raw(failure.errno)) {
        (Meaning::OverQuota, _) => OVER_QUOTA,
        (Meaning::Exhausted, Errno::ENOMEM) => NO_MEMORY,
        (Meaning::Exhausted, _) => NO_DESCRIPTORS,
        _ => "",
    };
    Fault { note, ..Fault::of(path, failure) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(side: Side, operation: &'static str, errno: Errno) -> Failure {
        Failure { side, operation, errno: errno as i32 }
    }

    #[test]
    fn what_a_failed_call_means() {
        use Meaning::{Entry, Exhausted, OverQuota, Passing, TargetFull, TargetReadOnly};
        use Side::{Source, Target};
        let table = [
            (Source, "openat", Errno::EINTR, Passing, 4),
            (Source, "getdents64", Errno::EAGAIN, Passing, 4),
            (Source, "statx", Errno::ESTALE, Passing, 4),
            (Target, "renameat", Errno::ETIMEDOUT, Passing, 4),
            (Target, "openat", Errno::ENOTCONN, Passing, 4),
            (Target, "openat", Errno::ESHUTDOWN, Passing, 4),
            (Source, "pread", Errno::EIO, Passing, 2),
            (Target, "fdatasync", Errno::EIO, Passing, 2),
            (Target, "pwrite", Errno::ENOSPC, TargetFull, 4),
            (Target, "mkdirat", Errno::ENOSPC, TargetFull, 4),
            (Target, "fsetxattr", Errno::ENOSPC, Entry, 1),
            (Source, "pread", Errno::ENOSPC, Entry, 1),
            (Target, "openat", Errno::EROFS, TargetReadOnly, 4),
            (Source, "openat", Errno::EROFS, Entry, 1),
            (Target, "pwrite", Errno::EDQUOT, OverQuota, 1),
            (Source, "pread", Errno::EDQUOT, Entry, 1),
            (Source, "openat", Errno::EMFILE, Exhausted, 4),
            (Target, "openat", Errno::ENFILE, Exhausted, 4),
            (Source, "openat", Errno::ENOMEM, Exhausted, 4),
            (Source, "openat", Errno::EACCES, Entry, 1),
            (Source, "statx", Errno::ENOENT, Entry, 1),
            (Target, "linkat", Errno::EPERM, Entry, 1),
            // A late worker's: others have its item.
            (Target, "openat", Errno::ECANCELED, Entry, 1),
        ];
        for (side, operation, errno, means, tries) in table {
            let failure = failure(side, operation, errno);
            assert_eq!((meaning(failure), tries_max(failure)), (means, tries), "{failure:?}");
        }
    }

    #[test]
    fn all_waits_of_an_entry_together_are_short() {
        let all: Duration = (1..TRIES_MAX).map(back_off).sum();
        assert_eq!([1, 2, 3].map(|tries| back_off(tries).as_millis()), [50, 200, 800]);
        assert!(all < Duration::from_secs(5));
        assert_eq!(back_off(u8::MAX), back_off(TRIES_MAX));
    }

    #[test]
    fn a_fault_names_the_remedy() {
        let note = |errno| fault(TreePath::root(), failure(Side::Target, "openat", errno)).note;
        assert!(note(Errno::EMFILE).contains("ulimit -n") && note(Errno::ENOMEM).contains("--max-memory"));
        assert!(note(Errno::EDQUOT).contains("pmirror retry") && note(Errno::EACCES).is_empty());
    }
}

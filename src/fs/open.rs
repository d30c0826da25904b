//! Opening: directories below a root by path, entries of a directory by name.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};
use rustix::fs::CWD;

use super::fd::{Fd, uninterrupted};
use super::{attributes, operator};
use crate::fault::{Failure, Side};
use crate::tree::{Kind, TreePath};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// Reading a file: whoever holds a lease on it is asked for it, and not waited for.
const READ: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

const WRITE: OFlag =
    OFlag::O_RDWR.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

const CREATE: OFlag =
    OFlag::O_RDWR.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Looking which directory it is, and where.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The directory `path` below `root`, resolved without following a link or leaving the root: with
/// openat2(2) where the kernel has it, else name by name. A path of any length is opened in pieces.
pub fn directory_below(root: &Fd, path: &TreePath) -> Result<Fd, Failure> {
    in_pieces(root, path, Mounts::Crossed)
}

/// The same, but EXDEV when another file system, or another part of the same, is mounted on the way.
pub fn directory_on_mount(root: &Fd, path: &TreePath) -> Result<Fd, Failure> {
    in_pieces(root, path, Mounts::Refused)
}

/// Whether a path may lead into another mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mounts {
    Crossed,
    Refused,
}

fn in_pieces(root: &Fd, path: &TreePath, mounts: Mounts) -> Result<Fd, Failure> {
    let mut directory = None;
    for piece in path.pieces() {
        let start = directory.as_ref().unwrap_or(root);
        directory = Some(one_piece(start, piece, mounts)?);
    }
    match directory {
        Some(directory) => Ok(directory),
        None => child_directory(root, c"."),
    }
}

/// Kernels before 5.6 and some seccomp profiles have no openat2.
static OPENAT2_IS_MISSING: AtomicBool = AtomicBool::new(false);

fn one_piece(start: &Fd, piece: &[u8], mounts: Mounts) -> Result<Fd, Failure> {
    if OPENAT2_IS_MISSING.load(Ordering::Relaxed) {
        return name_by_name(start, piece, mounts);
    }
    let mut resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if mounts == Mounts::Refused {
        resolve |= ResolveFlag::RESOLVE_NO_XDEV;
    }
    let call = |flags| {
        let how = OpenHow::new().flags(flags).resolve(resolve);
        // EAGAIN: a rename elsewhere made the kernel unsure that we stayed beneath; try again.
        let tries_max = 64;
        for _ in 0..tries_max {
            match uninterrupted(|| openat2(start.as_fd(), piece, how)) {
                Err(Errno::EAGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::EAGAIN)
    };
    match without_access_time(DIRECTORY, call) {
        Ok(fd) => Ok(Fd::new(fd, start.side())),
        Err(Errno::ENOSYS | Errno::EPERM) => {
            OPENAT2_IS_MISSING.store(true, Ordering::Relaxed);
            name_by_name(start, piece, mounts)
        }
        Err(errno) => Err(start.failure("openat2", errno)),
    }
}

fn name_by_name(start: &Fd, piece: &[u8], mounts: Mounts) -> Result<Fd, Failure> {
    let mut directory: Option<Fd> = None;
    for name in piece.split(|&byte| byte == b'/') {
        let parent = directory.as_ref().unwrap_or(start);
        let child = opened(parent, name, DIRECTORY)?;
        if mounts == Mounts::Refused && is_mount_point(parent, &child)? {
            return Err(parent.failure("openat", Errno::EXDEV));
        }
        directory = Some(child);
    }
    directory.ok_or_else(|| start.failure("openat", Errno::ENOENT))
}

/// Kernels that do not tell mounts (before 5.8) tell devices: bind mounts of one file system look alike.
pub(super) fn is_mount_point(parent: &Fd, child: &Fd) -> Result<bool, Failure> {
    match (attributes::mount_id(parent), attributes::mount_id(child)) {
        (Ok(outer), Ok(inner)) => Ok(outer != inner),
        _ => Ok(attributes::of_fd(parent)?.device != attributes::of_fd(child)?.device),
    }
}

fn opened<P: nix::NixPath + ?Sized>(parent: &Fd, name: &P, flags: OFlag) -> Result<Fd, Failure> {
    let call = |flags| uninterrupted(|| openat(parent.as_fd(), name, flags, Mode::empty()));
    without_access_time(flags, call)
        .map(|fd| Fd::new(fd, parent.side()))
        .map_err(|errno| parent.failure("openat", errno))
}

/// Opens so that reading leaves access times alone, where we may: O_NOATIME is for owners and root
/// (open(2)).
fn without_access_time<T>(flags: OFlag, mut call: impl FnMut(OFlag) -> Result<T, Errno>) -> Result<T, Errno> {
    match call(flags | OFlag::O_NOATIME) {
        Err(Errno::EPERM) => call(flags),
        result => result,
    }
}

/// A directory by its name in an open one. ENOTDIR where a symbolic link is.
pub fn child_directory(parent: &Fd, name: &CStr) -> Result<Fd, Failure> {
    opened(parent, name, DIRECTORY)
}

/// A regular file for reading. The caller looks at what he got: it may be anything but a link, and then it
/// was only named.
/// Somebody may hold a lease on it: asking has told him to give it up, and the kernel takes it from
/// him in time (fcntl(2), F_SETLEASE). We never wait inside open.
pub fn file_for_reading(parent: &Fd, name: &CStr) -> Result<Fd, Failure> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match regular_file(parent, name, READ) {
            Err(failure) if failure.errno == Errno::EAGAIN as i32 && started.elapsed() < LEASE_TIME_MAX => {
                std::thread::sleep(pause);
                pause = (2 * pause).min(Duration::from_millis(500));
            }
            result => return result,
        }
    }
}

/// More than the kernel leaves to the holder of a lease: 45 s, /proc/sys/fs/lease-break-time.
const LEASE_TIME_MAX: Duration = Duration::from_secs(60);

/// Creates a regular file, 0600: EEXIST when the name is taken, by a link too.
pub fn new_file(parent: &Fd, name: &CStr) -> Result<Fd, Failure> {
    uninterrupted(|| openat(parent.as_fd(), name, CREATE, Mode::from_bits_truncate(0o600)))
        .map(|fd| Fd::new(fd, parent.side()))
        .map_err(|errno| parent.failure("openat", errno))
}

/// A file of ours that exists, to write more of it. The caller looks at what he got.
pub fn file_for_writing(parent: &Fd, name: &CStr) -> Result<Fd, Failure> {
    regular_file(parent, name, WRITE)
}

/// Opens what has the name if it is a regular file; names it only if it is anything else. A FIFO or a device may
/// have been put in the file's place: to open one wakes who waits at its other end, starts a watchdog, winds a tape.
fn regular_file(parent: &Fd, name: &CStr, flags: OFlag) -> Result<Fd, Failure> {
    let named = entry(parent, name)?;
    match attributes::kind_of(&named)? {
        Kind::File => reopened(parent, name, &named, flags),
        Kind::Symlink => Err(parent.failure("openat", Errno::ELOOP)),
        _ => Ok(named),
    }
}

/// Opens the very inode that a descriptor names: by way of /proc, as openat(2) takes no empty path. Where there is
/// no /proc, by its name once more.
fn reopened(parent: &Fd, name: &CStr, named: &Fd, flags: OFlag) -> Result<Fd, Failure> {
    let path = named.proc_path();
    // The last part of that path is a link.
    let call = |flags: OFlag| uninterrupted(|| openat(CWD, path.as_str(), flags - OFlag::O_NOFOLLOW, Mode::empty()));
    match without_access_time(flags, call) {
        Ok(fd) => Ok(Fd::new(fd, parent.side())),
        Err(Errno::ENOENT) if !operator::has_proc() => opened(parent, name, flags),
        Err(errno) => Err(parent.failure("openat", errno)),
    }
}

/// Names the inode under `name`, of whatever type, without opening it.
pub fn entry(parent: &Fd, name: &CStr) -> Result<Fd, Failure> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    uninterrupted(|| openat(parent.as_fd(), name, flags, Mode::empty()))
        .map(|fd| Fd::path_only(fd, parent.side()))
        .map_err(|errno| parent.failure("openat", errno))
}

/// A root as the operator named it: here, and only here, links are followed, as the operator may
/// well keep `/backup` as a link to the file system.
pub fn operand(side: Side, path: &CStr) -> Result<Fd, Failure> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let call = |flags| uninterrupted(|| openat(CWD, path, flags, Mode::empty()));
    without_access_time(flags, call).map(|fd| Fd::new(fd, side)).map_err(|errno| Failure {
        side,
        operation: "open",
        errno: errno as i32,
    })
}

/// What holds no names: each look for one in it fails with ENOTDIR.
pub fn nothing(side: Side) -> Result<Fd, Failure> {
    uninterrupted(|| openat(CWD, c"/dev/null", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()))
        .map(|fd| Fd::path_only(fd, side))
        .map_err(|errno| Failure { side, operation: "open", errno: errno as i32 })
}

/// Whether we could open a file for reading, without opening it.
pub fn may_read(parent: &Fd, name: &CStr) -> Result<(), Failure> {
    may(parent, name, AccessFlags::R_OK)
}

/// The same for writing.
pub fn may_write(parent: &Fd, name: &CStr) -> Result<(), Failure> {
    may(parent, name, AccessFlags::W_OK)
}

/// Whether we could make and remove names in a directory.
pub fn may_change_names(directory: &Fd) -> Result<(), Failure> {
    may(directory, c".", AccessFlags::W_OK | AccessFlags::X_OK)
}

fn may(parent: &Fd, name: &CStr, access: AccessFlags) -> Result<(), Failure> {
    let flags = AtFlags::AT_EACCESS | AtFlags::AT_SYMLINK_NOFOLLOW;
    uninterrupted(|| faccessat(parent.as_fd(), name, access, flags)).map_err(|errno| parent.failure("openat", errno))
}

/// The directory that holds an open one, to look which it is. It need not be one that we may read.
pub fn parent_directory(directory: &Fd) -> Result<Fd, Failure> {
    uninterrupted(|| openat(directory.as_fd(), c"..", LOOK, Mode::empty()))
        .map(|fd| Fd::path_only(fd, directory.side()))
        .map_err(|errno| directory.failure("openat", errno))
}

/// A directory as the operator named it, to look where it is, likewise.
pub fn place(side: Side, path: &CStr) -> Result<Fd, Failure> {
    uninterrupted(|| openat(CWD, path, LOOK, Mode::empty()))
        .map(|fd| Fd::path_only(fd, side))
        .map_err(|errno| Failure { side, operation: "open", errno: errno as i32 })
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_fifo_in_the_place_of_a_file_is_named_and_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&directory.path().join("fifo"), Mode::S_IRWXU).unwrap();
        let path = CString::new(directory.path().as_os_str().as_bytes()).unwrap();
        let root = operand(Side::Source, &path).unwrap();
        for open in [file_for_reading, file_for_writing] {
            let named = open(&root, c"fifo").unwrap();
            assert_eq!(attributes::of_fd(&named).unwrap().kind, Kind::Fifo);
            // fifo(7): ENXIO as long as nobody has it open for reading.
            let writer = openat(root.as_fd(), c"fifo", OFlag::O_WRONLY | OFlag::O_NONBLOCK, Mode::empty());
            assert_eq!(writer.err(), Some(Errno::ENXIO));
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = CString::new(directory.path().as_os_str().as_bytes()).unwrap();
        let root = operand(Side::Source, &path).unwrap();
        nix::unistd::symlinkat(c"/dev/null", root.as_fd(), c"link").unwrap();
        for open in [file_for_reading, file_for_writing] {
            assert_eq!(open(&root, c"link").err().map(|failure| failure.errno), Some(Errno::ELOOP as i32));
        }
    }
}

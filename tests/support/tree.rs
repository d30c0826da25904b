//! Builds trees: every type of entry, every attribute, names of any bytes, paths of any length.
//!
//! A path is walked by descriptor, one name at a time, so that it may be longer than PATH_MAX.

use super::acl;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory below which entries are made.
pub struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

/// One entry of a tree; its methods set attributes and can be chained.
pub struct Entry {
    parent: OwnedFd,
    name: Vec<u8>,
}

impl Tree {
    /// The tree whose root is the existing directory `path`.
    pub fn at(path: impl AsRef<Path>) -> Tree {
        let path = path.as_ref().to_path_buf();
        let root = rustix::fs::openat(CWD, &path, HANDLE, Mode::empty());
        let root = root.unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
        Tree { root, path }
    }

    /// The root itself.
    pub fn root(&self) -> Entry {
        Entry { parent: self.root.try_clone().unwrap(), name: b".".to_vec() }
    }

    /// The path of an entry, for programs that take one.
    pub fn path(&self, path: impl AsRef<[u8]>) -> PathBuf {
        self.path.join(OsStr::from_bytes(path.as_ref()))
    }

    /// An entry that exists or is about to; missing directories above it are made.
    pub fn entry(&self, path: impl AsRef<[u8]>) -> Entry {
        let mut names: Vec<&[u8]> = path.as_ref().split(|byte| *byte == b'/').collect();
        let name = names.pop().unwrap_or_default().to_vec();
        let root = self.root.try_clone().unwrap();
        let parent = names.into_iter().fold(root, made_directory);
        Entry { parent, name }
    }

    /// A regular file with this content.
    pub fn file(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
        let entry = self.entry(path);
        let mut file = entry.create();
        file.write_all(content.as_ref()).unwrap();
        entry
    }

    /// A file of `size` bytes that holds only these pieces; the rest are holes.
    pub fn sparse(&self, path: impl AsRef<[u8]>, size: u64, pieces: &[(u64, &[u8])]) -> Entry {
        let entry = self.entry(path);
        let file = entry.create();
        file.set_len(size).unwrap();
        for (offset, bytes) in pieces {
            file.write_all_at(bytes, *offset).unwrap();
        }
        entry
    }

    /// An empty directory, or the one that is there.
    pub fn dir(&self, path: impl AsRef<[u8]>) -> Entry {
        let entry = self.entry(path);
        made_directory(entry.parent.try_clone().unwrap(), &entry.name);
        entry
    }

    /// `depth` directories called `name`, each in the one before; the deepest is the new tree.
    pub fn chain(&self, name: &str, depth: u32) -> Tree {
        let root = self.root.try_clone().unwrap();
        let root = (0..depth).fold(root, |parent, _| made_directory(parent, name.as_bytes()));
        let path = self.path.join("(a deep chain)");
        Tree { root, path }
    }

    /// A symbolic link.
    pub fn symlink(&self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        let entry = self.entry(path);
        let made = rustix::fs::symlinkat(target.as_ref(), &entry.parent, &entry.name[..]);
        entry.checked("symlink", made)
    }

    /// One more name for an existing entry.
    pub fn hard_link(&self, old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Entry {
        let (old, new) = (self.entry(old), self.entry(new));
        let made = rustix::fs::linkat(&old.parent, &old.name[..], &new.parent, &new.name[..], AtFlags::empty());
        new.checked("link", made)
    }

    /// A FIFO.
    pub fn fifo(&self, path: impl AsRef<[u8]>) -> Entry {
        self.node(path, FileType::Fifo, 0)
    }

    /// The name of a socket that nobody listens on.
    pub fn socket(&self, path: impl AsRef<[u8]>) -> Entry {
        self.node(path, FileType::Socket, 0)
    }

    /// A character device.
    pub fn char_device(&self, path: impl AsRef<[u8]>, major: u32, minor: u32) -> Entry {
        let device = rustix::fs::makedev(major, minor);
        self.node(path, FileType::CharacterDevice, device)
    }

    /// A block device.
    pub fn block_device(&self, path: impl AsRef<[u8]>, major: u32, minor: u32) -> Entry {
        let device = rustix::fs::makedev(major, minor);
        self.node(path, FileType::BlockDevice, device)
    }

    fn node(&self, path: impl AsRef<[u8]>, kind: FileType, device: u64) -> Entry {
        let entry = self.entry(path);
        let mode = Mode::from_raw_mode(0o644);
        let made = rustix::fs::mknodat(&entry.parent, &entry.name[..], kind, mode, device);
        entry.checked("mknod", made)
    }
}

/// The directory `name` of `parent`, made if it is missing.
fn made_directory(parent: OwnedFd, name: &[u8]) -> OwnedFd {
    let open = || rustix::fs::openat(&parent, name, HANDLE, Mode::empty());
    if let Ok(directory) = open() {
        return directory;
    }
    let made = rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755));
    made.unwrap_or_else(|error| panic!("mkdir {}: {error}", super::escaped(name)));
    open().unwrap()
}

impl Entry {
    fn checked(self, operation: &str, result: rustix::io::Result<()>) -> Entry {
        result.unwrap_or_else(|error| panic!("{operation} {}: {error}", self.label()));
        self
    }

    fn done(&self, operation: &str, result: rustix::io::Result<()>) -> &Entry {
        result.unwrap_or_else(|error| panic!("{operation} {}: {error}", self.label()));
        self
    }

    fn label(&self) -> String {
        super::escaped(&self.name)
    }

    /// A path for calls that want one: by way of the descriptor of the parent.
    fn proc_path(&self) -> PathBuf {
        let parent = format!("/proc/self/fd/{}", self.parent.as_raw_fd());
        Path::new(&parent).join(OsStr::from_bytes(&self.name))
    }

    fn open(&self, flags: OFlags) -> File {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        match rustix::fs::openat(&self.parent, &self.name[..], flags, mode) {
            Ok(file) => File::from(file),
            Err(error) => panic!("open {}: {error}", self.label()),
        }
    }

    fn create(&self) -> File {
        self.open(OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY)
    }

    /// New content, in place.
    pub fn content(&self, content: impl AsRef<[u8]>) -> &Entry {
        self.create().write_all(content.as_ref()).unwrap();
        self
    }

    /// The twelve bits of the mode.
    pub fn mode(&self, mode: u32) -> &Entry {
        let bits = Mode::from_raw_mode(mode);
        let done = rustix::fs::chmodat(&self.parent, &self.name[..], bits, AtFlags::empty());
        self.done("chmod", done)
    }

    /// Owner and group; clears setuid, setgid and capabilities, so set it first.
    pub fn owner(&self, user: u32, group: u32) -> &Entry {
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        let link = AtFlags::SYMLINK_NOFOLLOW;
        let done = rustix::fs::chownat(&self.parent, &self.name[..], user, group, link);
        self.done("chown", done)
    }

    /// The time of the last modification.
    pub fn mtime(&self, seconds: i64, nanoseconds: u32) -> &Entry {
        self.times(omitted(), timespec(seconds, nanoseconds))
    }

    /// The time of the last access.
    pub fn atime(&self, seconds: i64, nanoseconds: u32) -> &Entry {
        self.times(timespec(seconds, nanoseconds), omitted())
    }

    fn times(&self, last_access: Timespec, last_modification: Timespec) -> &Entry {
        let times = Timestamps { last_access, last_modification };
        let link = AtFlags::SYMLINK_NOFOLLOW;
        let done = rustix::fs::utimensat(&self.parent, &self.name[..], &times, link);
        self.done("utimens", done)
    }

    /// A new ctime, everything else as it was.
    pub fn touch_ctime(&self) -> &Entry {
        let link = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&self.parent, &self.name[..], link).unwrap();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => self.owner(stat.st_uid, stat.st_gid),
            _ => self.mode(stat.st_mode & 0o7777),
        }
    }

    /// An extended attribute.
    pub fn xattr(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &Entry {
        let (path, flags) = (self.proc_path(), XattrFlags::empty());
        let done = rustix::fs::lsetxattr(path, name.as_ref(), value.as_ref(), flags);
        self.done("setxattr", done)
    }

    /// Takes an extended attribute away.
    pub fn remove_xattr(&self, name: &str) -> &Entry {
        let done = rustix::fs::lremovexattr(self.proc_path(), name);
        self.done("removexattr", done)
    }

    /// An access ACL, in the words of [`acl::encode`]; sets the mode's group bits too.
    pub fn acl(&self, text: &str) -> &Entry {
        self.xattr(acl::ACCESS, acl::encode(text))
    }

    /// A default ACL.
    pub fn default_acl(&self, text: &str) -> &Entry {
        self.xattr(acl::DEFAULT, acl::encode(text))
    }

    /// A file capability.
    pub fn capability(&self) -> &Entry {
        self.xattr(acl::CAPABILITY, acl::cap_net_raw())
    }

    /// Removes a name that is not a directory.
    pub fn unlink(&self) {
        let done = rustix::fs::unlinkat(&self.parent, &self.name[..], AtFlags::empty());
        self.done("unlink", done);
    }

    /// A new name for the entry, in the same directory.
    pub fn rename(&self, name: impl AsRef<[u8]>) {
        let done = rustix::fs::renameat(&self.parent, &self.name[..], &self.parent, name.as_ref());
        self.done("rename", done);
    }

    /// Swaps the entry with another, whatever they are, in one step; false if one is missing.
    pub fn exchange(&self, other: &Entry) -> bool {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let (here, there) = (&self.name[..], &other.name[..]);
        rustix::fs::renameat_with(&self.parent, here, &other.parent, there, flags).is_ok()
    }

    /// Makes the file immutable until the guard is dropped.
    pub fn immutable(&self) -> Immutable {
        let file = self.open(OFlags::RDONLY);
        let flags = rustix::fs::ioctl_getflags(&file).unwrap();
        let set = rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE);
        set.expect("the file system of the tests must have immutable files");
        Immutable { file, flags }
    }
}

/// A file that cannot be changed; changeable again when this is dropped.
pub struct Immutable {
    file: File,
    flags: IFlags,
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = rustix::fs::ioctl_setflags(&self.file, self.flags);
    }
}

fn timespec(seconds: i64, nanoseconds: u32) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() }
}

fn omitted() -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }
}

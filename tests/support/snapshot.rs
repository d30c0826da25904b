//! All that can be seen of a tree, read by descriptor, without a trace left in it.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use xxhash_rust::xxh3::Xxh3;

const QUIET: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOATIME);

/// One entry as it was when the snapshot was taken.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The statx of the entry itself, no link followed.
    pub stat: Statx,
    /// A hash of the content of a regular file.
    pub digest: u128,
    /// Where a symbolic link points.
    pub link: Vec<u8>,
    /// Every extended attribute, of all name spaces.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A tree: what was seen under each path below its root; the root is the empty path.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub entries: BTreeMap<Vec<u8>, Seen>,
}

/// One thing that can be told of an entry: its name and how it reads.
pub type Aspect = (&'static str, fn(&Seen) -> String);

/// What a mirror must have in common with its source.
pub const MIRRORED: &[Aspect] = &[
    ("type", |seen| seen.kind().to_string()),
    ("size", |seen| seen.size().to_string()),
    ("content", |seen| format!("{:032x}", seen.digest)),
    ("mode", |seen| format!("{:04o}", seen.mode())),
    ("owner", |seen| seen.stat.stx_uid.to_string()),
    ("group", |seen| seen.stat.stx_gid.to_string()),
    ("mtime", |seen| time(seen.stat.stx_mtime)),
    ("link", |seen| super::escaped(&seen.link)),
    ("device", Seen::device),
    ("xattrs", Seen::xattrs_as_text),
];

/// What an entry that nobody wrote to keeps.
pub const UNCHANGED: &[Aspect] = &[
    ("inode", |seen| seen.stat.stx_ino.to_string()),
    ("links", |seen| seen.stat.stx_nlink.to_string()),
    ("ctime", |seen| time(seen.stat.stx_ctime)),
];

/// The access time. That of a symbolic link moves when it is read; no flag prevents it.
pub const ATIME: Aspect = ("atime", |seen| match seen.kind() {
    "symlink" => "-".to_string(),
    _ => time(seen.stat.stx_atime),
});

fn time(stamp: StatxTimestamp) -> String {
    format!("{}.{:09}", stamp.tv_sec, stamp.tv_nsec)
}

impl Seen {
    /// The type, in the words of the summary.
    pub fn kind(&self) -> &'static str {
        kind(&self.stat)
    }

    /// The twelve bits of the mode.
    pub fn mode(&self) -> u16 {
        self.stat.stx_mode & 0o7777
    }

    /// Seconds and nanoseconds of the last modification.
    pub fn mtime(&self) -> (i64, u32) {
        (self.stat.stx_mtime.tv_sec, self.stat.stx_mtime.tv_nsec)
    }

    /// The inode and when it was born: these stay when only metadata are repaired.
    pub fn identity(&self) -> (u64, i64, u32) {
        let birth = self.stat.stx_btime;
        (self.stat.stx_ino, birth.tv_sec, birth.tv_nsec)
    }

    /// Bytes on the disk.
    pub fn allocated(&self) -> u64 {
        self.stat.stx_blocks * 512
    }

    /// Bytes that a copy of the content has; 0 for all but files.
    pub fn content_bytes(&self) -> u64 {
        if self.kind() == "file" { self.stat.stx_size } else { 0 }
    }

    /// The size, where it is the user's and not the file system's business.
    fn size(&self) -> u64 {
        if self.kind() == "directory" {
            return 0;
        }
        self.stat.stx_size
    }

    fn device(&self) -> String {
        if !self.kind().ends_with("_device") {
            return "none".to_string();
        }
        format!("{}:{}", self.stat.stx_rdev_major, self.stat.stx_rdev_minor)
    }

    fn xattrs_as_text(&self) -> String {
        let lines = self.xattrs.iter().map(|(name, value)| xattr_as_text(name, value));
        lines.collect::<Vec<_>>().join(" ")
    }
}

/// `name=hex(length)`; a long value is cut and its hash stands for the rest.
fn xattr_as_text(name: &[u8], value: &[u8]) -> String {
    let hex: String = value.iter().take(80).map(|byte| format!("{byte:02x}")).collect();
    let rest = match value.len() {
        ..=80 => String::new(),
        _ => format!("...{:x}", xxhash_rust::xxh3::xxh3_64(value)),
    };
    format!("{}={hex}{rest}({})", super::escaped(name), value.len())
}

impl Snapshot {
    /// Looks at everything below `root`; a root that does not exist has no entries.
    pub fn take(root: impl AsRef<Path>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        walk(root.as_ref(), |place, stat| {
            let seen = place.look(stat);
            snapshot.entries.insert(place.path.clone(), seen);
        });
        snapshot
    }

    /// Only the paths: quick, for content and attributes are not read.
    pub fn paths(root: impl AsRef<Path>) -> BTreeSet<Vec<u8>> {
        let mut paths = BTreeSet::new();
        walk(root.as_ref(), |place, _| paths.extend([place.path.clone()]));
        paths
    }

    /// The entry at `path`, which must exist.
    pub fn at(&self, path: impl AsRef<[u8]>) -> &Seen {
        let path = path.as_ref();
        let seen = self.entries.get(path);
        seen.unwrap_or_else(|| panic!("no entry {:?}", super::escaped(path)))
    }

    /// Whether there is such an entry.
    pub fn has(&self, path: impl AsRef<[u8]>) -> bool {
        self.entries.contains_key(path.as_ref())
    }

    /// How many entries there are of a type, the root not counted.
    pub fn count(&self, kind: &str) -> u64 {
        let below_root = self.entries.iter().filter(|(path, _)| !path.is_empty());
        below_root.filter(|(_, seen)| seen.kind() == kind).count() as u64
    }

    /// All but the root itself.
    pub fn without_root(mut self) -> Snapshot {
        self.entries.remove(&b""[..]);
        self
    }

    /// Only the entry `path` and what lies below it.
    pub fn below(&self, path: &str) -> Snapshot {
        let prefix = format!("{path}/").into_bytes();
        let inside = |name: &[u8]| path.is_empty() || name == path.as_bytes() || name.starts_with(&prefix);
        let entries = self.entries.iter().filter(|(name, _)| inside(name));
        Snapshot { entries: entries.map(|(name, seen)| (name.clone(), seen.clone())).collect() }
    }
}

/// Shows `visit` the root and everything below it, by descriptor and without recursion.
fn walk(root: &Path, mut visit: impl FnMut(&Place, Statx)) {
    let parent = root.parent().expect("a root has a parent");
    let name = root.file_name().expect("a root has a name").as_bytes().to_vec();
    let parent = rustix::fs::openat(CWD, parent, QUIET | OFlags::DIRECTORY, Mode::empty());
    let Ok(parent) = parent else { return };
    let mut waiting = vec![Place { parent: Rc::new(parent), name, path: Vec::new() }];
    while let Some(place) = waiting.pop() {
        let Some(stat) = place.stat() else { continue };
        if kind(&stat) == "directory" {
            waiting.extend(place.children());
        }
        visit(&place, stat);
    }
}

/// The type, in the words of the summary.
fn kind(stat: &Statx) -> &'static str {
    match u32::from(stat.stx_mode) & 0o170_000 {
        0o100_000 => "file",
        0o040_000 => "directory",
        0o120_000 => "symlink",
        0o010_000 => "fifo",
        0o140_000 => "socket",
        0o020_000 => "character_device",
        0o060_000 => "block_device",
        _ => "unknown",
    }
}

/// An entry that waits to be looked at.
struct Place {
    parent: Rc<OwnedFd>,
    name: Vec<u8>,
    path: Vec<u8>,
}

impl Place {
    /// Nothing for what is not there (any more).
    fn stat(&self) -> Option<Statx> {
        let flags = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        match rustix::fs::statx(&*self.parent, &self.name[..], link_itself(), flags) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => panic!("stat {}: {error}", super::escaped(&self.path)),
        }
    }

    fn look(&self, stat: Statx) -> Seen {
        let xattrs = self.xattrs();
        let mut seen = Seen { stat, digest: 0, link: Vec::new(), xattrs };
        match seen.kind() {
            "file" => seen.digest = self.digest(),
            "symlink" => seen.link = self.link(),
            _ => (),
        }
        seen
    }

    fn open(&self, flags: OFlags) -> OwnedFd {
        let file = rustix::fs::openat(&*self.parent, &self.name[..], QUIET | flags, Mode::empty());
        file.unwrap_or_else(|error| panic!("open {}: {error}", super::escaped(&self.path)))
    }

    fn digest(&self) -> u128 {
        let mut file = File::from(self.open(OFlags::RDONLY));
        let (mut hash, mut buffer) = (Xxh3::new(), vec![0; 64 * 1024]);
        loop {
            match file.read(&mut buffer).expect("read a file of the tree") {
                0 => return hash.digest128(),
                length => hash.update(&buffer[..length]),
            }
        }
    }

    fn link(&self) -> Vec<u8> {
        let target = rustix::fs::readlinkat(&*self.parent, &self.name[..], Vec::new());
        target.expect("read a link of the tree").into_bytes()
    }

    fn children(&self) -> Vec<Place> {
        let directory = Rc::new(self.open(OFlags::RDONLY | OFlags::DIRECTORY));
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut listing = RawDir::new(&*directory, buffer.spare_capacity_mut());
        let mut children = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry.expect("list a directory of the tree");
            let name = entry.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                children.push(Place { parent: Rc::clone(&directory), path: joined(&self.path, &name), name });
            }
        }
        children
    }

    /// By way of /proc, for no call reads the attributes of a link or a device by descriptor.
    fn xattrs(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let parent = PathBuf::from(format!("/proc/self/fd/{}", self.parent.as_raw_fd()));
        let path = parent.join(OsStr::from_bytes(&self.name));
        let mut list = vec![0; 64 * 1024];
        let length = match rustix::fs::llistxattr(&path, &mut list[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return BTreeMap::new(),
            Ok(length) => length,
            Err(error) => panic!("listxattr {}: {error}", super::escaped(&self.path)),
        };
        let names = list[..length].split(|byte| *byte == 0);
        let names = names.filter(|name| !name.is_empty());
        names.map(|name| (name.to_vec(), xattr(&path, name))).collect()
    }
}

fn xattr(path: &Path, name: &[u8]) -> Vec<u8> {
    let mut value = vec![0; 64 * 1024];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]);
    value.truncate(length.expect("read an attribute of the tree"));
    value
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn link_itself() -> AtFlags {
    AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT
}

//! The two roots: opened once, told apart by identity, never by name.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use bincode::{Decode, Encode};
use nix::errno::Errno;
use nix::sys::statfs::fstatfs;

use super::cage::Cage;
use super::mounts::Mounts;
use super::{Fd, attributes, list, names, open, operator, private, remedy};
use crate::fault::{Error, Failure, Side};
use crate::tree::path::escaped;
use crate::tree::{Attributes, Identity};

/// The two roots of a run, open.
#[derive(Debug)]
pub struct Trees {
    /// The root that is read.
    pub source: Fd,
    /// The root that is written.
    pub target: Fd,
    /// Device and inode of the source root.
    pub source_key: (u64, u64),
    /// Device and inode of the target root.
    pub target_key: (u64, u64),
    /// The absolute path of the source root, which a view of it does not tell.
    pub source_path: Vec<u8>,
    /// What is mounted in the one and in the other.
    pub mounts: [Mounts; 2],
    /// `--sandbox`: what holds us off the source and all else.
    pub belts: Belts,
}

impl Trees {
    /// The source root with what is mounted in it now: a view lacks what was mounted since it was made, and what
    /// that hides would look like absent.
    pub fn source_as_it_is(&self) -> &Fd {
        self.belts.unviewed.as_ref().unwrap_or(&self.source)
    }
}

/// What the kernel was asked to keep us from, as far as it can.
#[derive(Debug, Default)]
pub struct Belts {
    /// The mounts of which `Trees::source` is the first.
    pub mounts: Option<OwnedFd>,
    /// The source root without the view.
    pub unviewed: Option<Fd>,
    /// What workers may open.
    pub cage: Option<Cage>,
}

/// What a rank sees of a root. Device numbers are left out: they differ between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct View {
    /// statfs(2)'s number of the file system type.
    pub fs_type: u64,
    /// Inode and birth of the root.
    pub identity: Identity,
    /// A hash of the names in it, up to the bound: two mounts of one type may agree in the rest.
    pub names_hash: u64,
}

/// A root that has been opened and looked at.
#[derive(Debug)]
pub struct Root {
    /// The directory.
    pub fd: Fd,
    /// What it was when it was opened.
    pub attributes: Attributes,
    /// What this rank sees.
    pub view: View,
}

impl Root {
    /// Opens a root as the operator named it. Names are looked at in the source only: those of a target
    /// change under us, and there a nonce tells more.
    pub fn open(side: Side, path: &CStr) -> Result<Self, Error> {
        Self::open_as(side, path, side == Side::Source)
    }

    /// Opens a root in which nothing may be written, so that its names must tell it from others.
    pub fn open_to_look(side: Side, path: &CStr) -> Result<Self, Error> {
        Self::open_as(side, path, true)
    }

    /// An open directory as a root.
    pub fn of_fd(fd: Fd) -> Result<Self, Failure> {
        let attributes = attributes::of_fd(&fd)?;
        let view = view(&fd, &attributes, true)?;
        Ok(Self { fd, attributes, view })
    }

    fn open_as(side: Side, path: &CStr, by_names: bool) -> Result<Self, Error> {
        let refused = |failure: Failure| Error::Refused(refusal(side, path, failure));
        let fd = open::operand(side, path).map_err(refused)?;
        let attributes = attributes::of_fd(&fd).map_err(refused)?;
        let view = view(&fd, &attributes, by_names).map_err(refused)?;
        Ok(Self { fd, attributes, view })
    }

    /// A DST that a dry run does not make: the directory that would hold it, and no inode.
    pub fn not_made(path: &CStr) -> Result<Self, Error> {
        let (parent, _) = parent_of_target(path)?;
        open::may_change_names(&parent).map_err(|failure| not_makeable(path, failure, "can not be made"))?;
        let refused = |failure: Failure| Error::Refused(refusal(Side::Target, path, failure));
        let view = view(&parent, &attributes::of_fd(&parent).map_err(refused)?, false).map_err(refused)?;
        let fd = open::nothing(Side::Target).map_err(refused)?;
        let found = attributes::of_fd(&fd).map_err(refused)?;
        let attributes = Attributes { device: 0, identity: Identity { inode: 0, birth: None }, ..found };
        Ok(Self { fd, attributes, view })
    }

    /// Device and inode.
    pub fn key(&self) -> (u64, u64) {
        (self.attributes.device, self.attributes.identity.inode)
    }
}

/// Opens a root once more: it must still be found by its name, and be the same directory.
pub fn still(side: Side, path: &CStr, key: (u64, u64)) -> Result<Root, Error> {
    let root = Root::open_to_look(side, path)?;
    let another = || {
        Error::Refused(format!(
            "{} {} is another directory than it was; mount the right one",
            name_of(side),
            shown(path)
        ))
    };
    if root.key() == key { Ok(root) } else { Err(another()) }
}

/// What the operator calls a root.
pub fn name_of(side: Side) -> &'static str {
    if side == Side::Source { "SRC" } else { "DST" }
}

/// Its path, for people.
pub fn shown(path: &CStr) -> String {
    escaped(path.to_bytes())
}

fn refusal(side: Side, path: &CStr, failure: Failure) -> String {
    let name = name_of(side);
    let path = escaped(path.to_bytes());
    match Errno::from_raw(failure.errno) {
        Errno::ENOENT => format!("{name} {path} does not exist; is its file system mounted here?"),
        Errno::ENOTDIR => format!("{name} {path} is no directory; pmirror mirrors directories"),
        errno => format!("{name} {path} can not be opened: {}", remedy::told(errno)),
    }
}

const VIEW_NAMES_MAX: usize = 64;

/// The names decide only where inode and birth leave a doubt, so few are enough.
fn view(fd: &Fd, attributes: &Attributes, by_names: bool) -> Result<View, Failure> {
    let mut first: Vec<Vec<u8>> = Vec::new();
    if by_names {
        let lister = open::child_directory(fd, c".")?;
        list::first(&lister, VIEW_NAMES_MAX, |name| first.push(name.to_bytes().to_vec()))?;
        first.sort_unstable();
    }
    let names_hash = xxhash_rust::xxh3::xxh3_64(&first.join(&0));
    let identity = attributes.identity;
    Ok(View { fs_type: fs_type(fd)?, identity, names_hash })
}

/// statfs(2)'s number of the type of the file system that an inode is in.
pub fn fs_type(fd: &Fd) -> Result<u64, Failure> {
    let stat = fstatfs(fd.as_fd()).map_err(|errno| fd.failure("fstatfs", errno))?;
    #[allow(clippy::cast_sign_loss)] // A magic number, kept in a signed type by libc.
    Ok(stat.filesystem_type().0 as u64 & 0xffff_ffff)
}

/// Types of file systems by their numbers (statfs(2) and linux/magic.h); of several names of one, the first is told.
const FS_TYPES: &[(u64, &str)] = &[
    (0x0BD0_0BD0, "lustre"),
    (0xEF53, "ext4"),
    (0xEF53, "ext3"),
    (0xEF53, "ext2"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x6969, "nfs"),
    (0x6969, "nfs4"),
    (0x6573_5546, "fuse"),
    (0x794C_7630, "overlay"),
    (0x2FC1_2FC1, "zfs"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
];

/// The name of a file system type, for people.
pub fn fs_type_name(fs_type: u64) -> String {
    let known = FS_TYPES.iter().find(|(number, _)| *number == fs_type);
    known.map_or_else(|| format!("0x{fs_type:08X}"), |(_, name)| (*name).to_owned())
}

/// The type that people call so, or whose number it is: 0x0BD00BD0.
pub fn fs_type_of(name: &str) -> Option<u64> {
    let known = FS_TYPES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number);
    let number = || u32::from_str_radix(name.strip_prefix("0x")?, 16).ok().map(u64::from);
    known.or_else(number)
}

/// The types that have a name.
pub fn fs_type_names() -> impl Iterator<Item = &'static str> + Clone {
    FS_TYPES.iter().map(|(_, name)| *name)
}

/// Makes DST if only its last name is missing. It stays closed to others until it is settled.
pub fn make_target(path: &CStr) -> Result<(), Error> {
    let (parent, name) = parent_of_target(path)?;
    names::make_directory(&parent, &name).map_err(|failure| not_makeable(path, failure, "can not be made"))
}

/// The directory that is to hold a DST that does not exist, and its name there.
fn parent_of_target(path: &CStr) -> Result<(Fd, CString), Error> {
    let missing =
        || Error::Refused(format!("DST {} does not exist: make it, or name another", escaped(path.to_bytes())));
    let (parent, name) = split(path).ok_or_else(missing)?;
    let opened = open::operand(Side::Target, &parent);
    Ok((opened.map_err(|failure| not_makeable(path, failure, "its parent can not be opened"))?, name))
}

fn not_makeable(path: &CStr, failure: Failure, what: &str) -> Error {
    let (text, errno) = (escaped(path.to_bytes()), Errno::from_raw(failure.errno));
    let remedy = match errno {
        Errno::ENOENT => "make the directories above it (mkdir -p), or mount its file system",
        errno => remedy::of(errno),
    };
    Error::Refused(format!("DST {text} does not exist, and {what}: {} ({errno:?}); {remedy}", errno.desc()))
}

/// Takes a DST that was just made away again: the run is refused after all. Only if it is empty.
pub fn unmake_target(path: &CStr) {
    if let Some((parent, name)) = split(path)
        && let Ok(parent) = open::operand(Side::Target, &parent)
    {
        // An empty directory that stays harms nobody.
        let _ = names::remove_directory(&parent, &name);
    }
}

/// The directory in which DST is to be made.
pub fn target_parent(path: &CStr) -> Option<Fd> {
    open::operand(Side::Target, &split(path)?.0).ok()
}

pub(super) fn split(path: &CStr) -> Option<(CString, CString)> {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/')? + 1;
    let bytes = bytes.get(..end)?;
    let (parent, name) = match bytes.iter().rposition(|&byte| byte == b'/') {
        Some(0) => (&b"/"[..], bytes.get(1..)?),
        Some(slash) => (bytes.get(..slash)?, bytes.get(slash + 1..)?),
        None => (&b"."[..], bytes),
    };
    Some((CString::new(parent).ok()?, CString::new(name).ok()?))
}

/// Whether a directory that is still to be made at `state` would be the DST that is still to be made.
pub fn would_be_target(path: &CStr, state: &Fd, name: &[u8]) -> Result<bool, Error> {
    let (parent, target) = parent_of_target(path)?;
    let key = |fd| attributes::of_fd(fd).map(|found| (found.device, found.identity.inode));
    Ok(target.to_bytes() == name && key(&parent).is_ok_and(|parent| key(state) == Ok(parent)))
}

/// Whether DST exists.
pub fn exists(path: &CStr) -> bool {
    open::operand(Side::Target, path).is_ok_and(|_| true)
        || !matches!(open::operand(Side::Target, path), Err(failure) if failure.errno == Errno::ENOENT as i32)
}

/// Refuses roots that are one directory, or of which one lies in the other. `within` is DST, or the
/// directory in which it is to be made.
pub fn refuse_nested(source: &Root, source_path: &str, target: &Fd, target_path: &str) -> Result<(), Error> {
    let fatal = |failure: Failure| {
        let why = remedy::told(Errno::from_raw(failure.errno));
        Error::Fatal(format!("{} can not be looked at: {}: {why}", name_of(failure.side), failure.operation))
    };
    let target_key = attributes::of_fd(target).map(|found| (found.device, found.identity.inode)).map_err(fatal)?;
    let both = format!("SRC {source_path} and DST {target_path}");
    if target_key == source.key() {
        return Err(Error::Refused(format!("{both} are the same directory: name another for one of them")));
    }
    let (outer, inner) = (inner_path(&source.fd), inner_path(target));
    let both_known = outer.as_ref().zip(inner.as_ref());
    if has_ancestor(target, source.key()).map_err(fatal)? || both_known.is_some_and(|(s, t)| t.lies_in(s)) {
        return Err(Error::Refused(format!(
            "DST {target_path} lies in SRC {source_path}: it would be copied into itself; name one beside SRC"
        )));
    }
    if has_ancestor(&source.fd, target_key).map_err(fatal)? || both_known.is_some_and(|(s, t)| s.lies_in(t)) {
        return Err(Error::Refused(format!(
            "SRC {source_path} lies in DST {target_path}: it would be overwritten; name one beside DST"
        )));
    }
    Ok(())
}

/// Walks up from a directory by `..`: names may lie, as with bind mounts and links, `..` does not.
fn has_ancestor(directory: &Fd, wanted: (u64, u64)) -> Result<bool, Failure> {
    let levels_max = 100_000;
    let mut current = open::parent_directory(directory)?;
    let mut last = None;
    for _ in 0..levels_max {
        let found = attributes::of_fd(&current)?;
        let key = (found.device, found.identity.inode);
        if key == wanted {
            return Ok(true);
        }
        if last == Some(key) {
            return Ok(false);
        }
        last = Some(key);
        current = open::parent_directory(&current)?;
    }
    Ok(false)
}

/// Where a directory lies in its file system, whatever mount shows it: bind mounts hide what `..` would
/// tell.
#[derive(Debug, PartialEq, Eq)]
struct InnerPath {
    device: String,
    path: Vec<u8>,
}

impl InnerPath {
    fn lies_in(&self, other: &InnerPath) -> bool {
        let below = self.path.strip_prefix(other.path.as_slice());
        let is_below = below.is_some_and(|rest| rest.first() == Some(&b'/') || other.path.ends_with(b"/"));
        self.device == other.device && self != other && is_below
    }
}

/// From the mount table (proc(5), mountinfo): the mount's root in its file system, and our path below
/// the mount point. `None` where it can not be told.
fn inner_path(directory: &Fd) -> Option<InnerPath> {
    let path = operator::system_link(&directory.proc_path());
    let mount = attributes::mount_id(directory).ok()?.to_string();
    let table = operator::mount_table();
    let fields: Vec<&str> = table
        .lines()
        .map(|line| line.split(' ').collect())
        .find(|fields: &Vec<&str>| fields.first() == Some(&mount.as_str()))?;
    let (device, root, point) = (fields.get(2)?, unescaped(fields.get(3)?), unescaped(fields.get(4)?));
    let below = path.as_bytes().strip_prefix(point.as_slice())?;
    let below = below.strip_prefix(b"/").unwrap_or(below);
    let mut inner = if root == b"/" { Vec::new() } else { root };
    if !below.is_empty() {
        inner.push(b'/');
        inner.extend_from_slice(below);
    }
    Some(InnerPath { device: (*device).to_owned(), path: inner })
}

/// The mount table writes blanks and backslashes as three octal digits.
pub(super) fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| first == b'\\');
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    bytes
}

/// Whether a directory (the state directory) is a root or lies in one.
pub fn lies_in(directory: &Fd, root: (u64, u64)) -> Result<bool, Failure> {
    let found = attributes::of_fd(directory)?;
    Ok((found.device, found.identity.inode) == root || has_ancestor(directory, root)?)
}

/// Whether a directory is another, or lies in it, whatever mounts show them.
pub fn holds(outer: &Fd, inner: &Fd) -> Result<bool, Failure> {
    let found = attributes::of_fd(outer)?;
    let both = inner_path(outer).zip(inner_path(inner));
    let lies_in_it = both.is_some_and(|(outer, inner)| inner.lies_in(&outer));
    Ok(lies_in_it || lies_in(inner, (found.device, found.identity.inode))?)
}

/// Where a directory that does not exist would be, if the one that is to hold it does.
pub fn would_be(path: &CStr) -> Option<Vec<u8>> {
    let (parent, name) = split(path)?;
    let parent = operator::path_of(&open::operand(Side::Target, &parent).ok()?);
    Some([parent.strip_suffix(b"/").unwrap_or(&parent), name.to_bytes()].join(&b'/'))
}

/// Whether a root holds nothing but our own directory.
pub fn is_empty(root: &Fd) -> Result<bool, Failure> {
    let lister = open::child_directory(root, c".")?;
    let mut others = 0;
    list::first(&lister, 2, |name| others += u32::from(name != private::NAME))?;
    Ok(others == 0)
}

/// A tree that is, or was, the target of a run must be told from an ordinary one before it is read.
pub fn refuse_private_source(source: &Root, path: &str) -> Result<(), Error> {
    match attributes::of_name(&source.fd, private::NAME) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(()),
        Ok(_) => Err(Error::Refused(format!(
            "SRC {path} holds {}, so it is, or was, the target of a run that has not ended, or has a trash. If that run \
             is dead, mirror to SRC once more; a trash goes with pmirror purge-trash; else remove SRC/{0}",
            private::NAME.to_string_lossy()
        ))),
        Err(failure) => Err(Error::Refused(refusal(Side::Source, c".pmirror", failure))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> InnerPath {
        InnerPath { device: "8:1".to_owned(), path: path.as_bytes().to_vec() }
    }

    #[test]
    fn a_directory_lies_in_another_by_whole_names() {
        assert!(at("/a/b").lies_in(&at("/a")));
        assert!(at("/a").lies_in(&at("")));
        assert!(!at("/ab").lies_in(&at("/a")));
        assert!(!at("/a").lies_in(&at("/a")));
        assert!(!InnerPath { device: "8:2".to_owned(), ..at("/a/b") }.lies_in(&at("/a")));
    }

    #[test]
    fn the_mount_tables_octal_escapes_are_undone() {
        assert_eq!(unescaped("/a\\040b\\134c"), b"/a b\\c");
        assert_eq!(unescaped("/plain\\"), b"/plain\\");
    }

    #[test]
    fn a_missing_directory_is_split_into_parent_and_name() {
        let parts = |path: &CStr| split(path).map(|(parent, name)| (parent.into_bytes(), name.into_bytes()));
        assert_eq!(parts(c"/a/b/"), Some((b"/a".to_vec(), b"b".to_vec())));
        assert_eq!(parts(c"/b"), Some((b"/".to_vec(), b"b".to_vec())));
        assert_eq!(parts(c"b"), Some((b".".to_vec(), b"b".to_vec())));
        assert_eq!(parts(c"/"), None);
    }
}

//! A directory of both trees, open, and proven to be the one that was meant.

use std::cell::{Cell, OnceCell};
use std::ffi::CStr;

use nix::errno::Errno;

use super::Context;
use crate::fault::{Failure, Side};
use crate::fs::{Fd, attributes, open, xattr};
use crate::tree::{Attributes, DirectoryItem, Identity, Kind, Parked, TreePath};

/// A directory of both trees.
#[derive(Debug)]
pub struct Pair<'c> {
    context: &'c Context,
    /// The item that names it.
    pub item: DirectoryItem,
    /// The source directory.
    pub source: Fd,
    /// What it was when it was opened.
    pub source_was: Attributes,
    /// The target directory.
    pub target: Fd,
    /// There is one. Where a dry run makes none, `target` is what holds no names.
    pub has_target: bool,
    /// What it was when it was opened.
    pub target_was: Attributes,
    /// New entries inherit an ACL; looked up at the first need.
    default_acl: OnceCell<bool>,
    /// The owner's permissions were widened so that we can work in it.
    widened: Cell<bool>,
}

/// Why a pair can not be worked on.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// The source directory is gone.
    Vanished,
    /// Something else is in its place.
    Changed(Side, &'static str),
    /// A system call failed.
    Failed(Failure),
    /// One tree would be mirrored into itself.
    Nested,
    /// Two attempts of this run died over it.
    SetAside,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Failed(failure)
    }
}

impl<'c> Pair<'c> {
    /// Opens both directories below the roots, and looks whether they are those of the item.
    pub fn open(context: &'c Context, item: DirectoryItem) -> Result<Self, Trouble> {
        Self::open_checked(context, item, true)
    }

    /// Opens both directories whatever their identity: for one name whose own identity is known.
    pub fn open_any(context: &'c Context, path: TreePath) -> Result<Self, Trouble> {
        let source = Identity { inode: 0, birth: None };
        let item = DirectoryItem { path, source, target: None, mount: 0, made: false, parked: Parked::NEVER };
        Self::open_checked(context, item, false)
    }

    fn open_checked(context: &'c Context, item: DirectoryItem, check: bool) -> Result<Self, Trouble> {
        if context.sets_aside(&item.path) {
            return Err(Trouble::SetAside);
        }
        let trees = &context.trees;
        let source = match open::directory_below(&trees.source, &item.path) {
            Ok(source) => source,
            Err(failure) => return Err(source_trouble(failure)),
        };
        let source_was = attributes::of_fd(&source)?;
        if check && source_was.identity != item.source {
            return Err(Trouble::Changed(
                Side::Source,
                "another directory is in its place, or its mount is missing here",
            ));
        }
        let opened = if context.dry_run && item.made { Opened::missing() } else { open_target(context, &item.path) };
        let Opened { target, widened, has_target } = match opened {
            Err(failure) if context.dry_run && !check && is_missing(failure) => Opened::missing(),
            opened => opened,
        }?;
        let target_was = attributes::of_fd(&target)?;
        if has_target && item.target.is_some_and(|expected| expected != target_was.identity) {
            return Err(Trouble::Changed(
                Side::Target,
                "another directory is in its place, or its mount is missing here",
            ));
        }
        let here = (key(&source_was), key(&target_was));
        let is_loop = !item.path.is_root() && (here.0 == trees.source_key || here.1 == trees.target_key);
        if here.0 == here.1 || here.0 == trees.target_key || here.1 == trees.source_key || is_loop {
            return Err(Trouble::Nested);
        }
        let (default_acl, widened) = (OnceCell::new(), Cell::new(widened));
        Ok(Self { context, item, source, source_was, target, has_target, target_was, default_acl, widened })
    }

    /// Project ids are kept.
    pub fn keeps_projects(&self) -> bool {
        self.context.policy.extras.projects
    }

    /// The target takes names that differ only in case for one.
    pub fn folds_case(&self) -> bool {
        self.context.policy.target.folds_case
    }

    /// The path of a name in it.
    pub fn path(&self, name: &CStr) -> TreePath {
        self.item.path.join(name)
    }

    /// Whether new entries inherit an ACL here, which copies must not keep.
    pub fn inherits_acl(&self) -> Result<bool, Failure> {
        if let Some(&known) = self.default_acl.get() {
            return Ok(known);
        }
        let found = self.context.policy.acls && xattr::has_default_acl(&self.target)?;
        Ok(*self.default_acl.get_or_init(|| found))
    }

    /// Before something is made, renamed or removed here: an owner whose own directory is closed to
    /// him opens it until it is settled.
    pub fn prepare_for_change(&self) -> Result<(), Failure> {
        if self.context.dry_run {
            return Ok(());
        }
        let able = &self.context.policy.target;
        let open_enough = self.target_was.mode & 0o700 == 0o700;
        if able.overrides_permissions || open_enough || self.widened.get() || self.target_was.uid != able.uid {
            return Ok(());
        }
        attributes::set_mode(&self.target, self.target_was.mode | 0o700)?;
        self.widened.set(true);
        Ok(())
    }

    /// Takes away what was made here and can not be kept.
    pub fn take_away(&self, name: &CStr) {
        // That it could not be is noted for the next run.
        let _ = self.context.temporaries.take_away(&self.target, name);
    }

    /// Notes a look at what was made here that failed: it may stay.
    pub fn note<T>(&self, look: &Result<T, Failure>) {
        self.context.temporaries.note(look);
    }

    /// The mount of a sub-directory, see `DirectoryItem::mount`.
    pub fn mount_of(&self, name: &CStr, child: &Attributes) -> u64 {
        mount_of(&self.item, &self.source_was, name, child)
    }
}

/// The mount of a sub-directory of `directory`, see `DirectoryItem::mount`.
pub fn mount_of(directory: &DirectoryItem, was: &Attributes, name: &CStr, child: &Attributes) -> u64 {
    if child.device == was.device {
        directory.mount
    } else {
        // 0 is the root's.
        xxhash_rust::xxh3::xxh3_64(directory.path.join(name).as_bytes()) | 1
    }
}

/// What identifies an inode inside this process.
pub fn key(attributes: &Attributes) -> (u64, u64) {
    (attributes.device, attributes.identity.inode)
}

/// Why a source directory could not be opened.
pub fn source_trouble(failure: Failure) -> Trouble {
    match Errno::from_raw(failure.errno) {
        Errno::ENOENT => Trouble::Vanished,
        Errno::ENOTDIR | Errno::ELOOP => Trouble::Changed(Side::Source, "no longer a directory"),
        _ => Trouble::Failed(failure),
    }
}

/// A target directory that was opened.
struct Opened {
    target: Fd,
    has_target: bool,
    widened: bool,
}

impl Opened {
    /// A dry run does not make it.
    fn missing() -> Result<Self, Failure> {
        Ok(Self { target: open::nothing(Side::Target)?, has_target: false, widened: false })
    }
}

/// Nothing has the name, or something that is to give way to a directory.
fn is_missing(failure: Failure) -> bool {
    matches!(Errno::from_raw(failure.errno), Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
}

/// The target directory; an owner whose own directory is closed to him opens it until it is
/// settled, but not in a dry run.
fn open_target(context: &Context, path: &TreePath) -> Result<Opened, Failure> {
    let root = &context.trees.target;
    match open::directory_below(root, path) {
        Err(failure) if failure.errno == Errno::EACCES as i32 && !context.dry_run => {
            widen(context, path)?;
            Ok(Opened { target: open::directory_below(root, path)?, has_target: true, widened: true })
        }
        result => result.map(|target| Opened { target, has_target: true, widened: false }),
    }
}

pub(super) fn widen(context: &Context, path: &TreePath) -> Result<(), Failure> {
    let denied = Failure { side: Side::Target, operation: "openat", errno: Errno::EACCES as i32 };
    let (parent, name) = path.split_last().ok_or(denied)?;
    let name = std::ffi::CString::new(name).map_err(|_| denied)?;
    let parent = open::directory_below(&context.trees.target, &parent)?;
    let directory = open::entry(&parent, &name)?;
    let was = attributes::of_fd(&directory)?;
    if was.kind != Kind::Directory || was.uid != context.policy.target.uid {
        return Err(denied);
    }
    attributes::set_mode(&directory, was.mode | 0o700)
}

/// Whether what is open is the inode that was meant.
pub fn is_still(fd: &Fd, expected: Identity) -> Result<bool, Failure> {
    Ok(attributes::of_fd(fd)?.identity == expected)
}

//! The operations on the backing folder, each by descriptor. What the mount lacks is lacking here:
//! nanoseconds, large device numbers, hard links, extended attributes, or Lustre's ways are added.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};

use fuser::{FileAttr, TimeOrNow};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use crate::attributes::Limits;
use crate::files::{Listed, Open};
use crate::inodes::{Inode, Inodes, SYNTHETIC, Told};
use crate::layout;
use crate::synthetic::{Node, Shape};

/// What the mount is like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ways {
    /// What times and device numbers it holds.
    pub limits: Limits,
    /// No extended attributes, so no ACLs.
    pub no_xattrs: bool,
    /// Extended attributes are accepted and forgotten.
    pub forget_xattrs: bool,
    /// link(2) is refused.
    pub no_links: bool,
    /// Names that differ in the case of ASCII letters are one.
    pub fold_case: bool,
    /// Layouts as on Lustre.
    pub lustre: bool,
    /// Directories that are not in the backing folder.
    pub synthetic: Option<Shape>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What setattr(2) is to set.
#[derive(Debug)]
pub struct Changes {
    /// Permissions.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size.
    pub size: Option<u64>,
    /// Time of the last read.
    pub atime: Option<TimeOrNow>,
    /// Time of the last change.
    pub mtime: Option<TimeOrNow>,
}

/// The backing folder.
#[derive(Debug)]
pub struct Backing {
    /// The inodes that the kernel knows.
    pub inodes: Inodes,
    /// What the mount is like.
    pub ways: Ways,
}

/// A new entry for the kernel: its attributes and its generation.
pub type Entry = (FileAttr, u64);

impl Backing {
    fn entry(&self, told: &Told) -> Entry {
        (self.ways.limits.attributes(&told.stat), told.generation)
    }

    /// The name under which an entry is stored that may be asked for in other letters.
    fn stored<'n>(&self, parent: &Inode, name: &'n OsStr) -> Result<Cow<'n, OsStr>> {
        if !self.ways.fold_case || rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(Cow::Borrowed(name));
        }
        for entry in Dir::new(parent.open(OFlags::RDONLY | OFlags::DIRECTORY)?)? {
            let entry = entry?;
            let other = OsStr::from_bytes(entry.file_name().to_bytes());
            if other.eq_ignore_ascii_case(name) {
                return Ok(Cow::Owned(other.to_owned()));
            }
        }
        Ok(Cow::Borrowed(name))
    }

    /// Opens the parent, and finds the name as it is stored.
    fn place<'n>(&self, parent: u64, name: &'n OsStr) -> Result<(Inode, Cow<'n, OsStr>)> {
        let parent = self.inodes.get(parent)?;
        let name = self.stored(&parent, name)?;
        Ok((parent, name))
    }

    pub fn look_up(&self, parent: u64, name: &OsStr) -> Result<Entry> {
        if let Some(shape) = self.ways.synthetic {
            match shape.find(parent, name) {
                Some(node) => return Ok((shape.attributes(node), 0)),
                None if parent >= SYNTHETIC => return Err(Errno::NOENT),
                None => {}
            }
        }
        let (parent, name) = self.place(parent, name)?;
        Ok(self.entry(&self.inodes.look_up(&parent, &name)?))
    }

    pub fn attributes(&self, number: u64) -> Result<FileAttr> {
        if let Some((shape, node)) = self.synthetic(number) {
            return Ok(shape.attributes(node));
        }
        Ok(self.ways.limits.attributes(&self.inodes.get(number)?.stat()?))
    }

    /// Owner first: it clears set-id bits. Times last: the size moves them.
    pub fn change(&self, number: u64, changes: Changes) -> Result<FileAttr> {
        let inode = self.inodes.get(number)?;
        if changes.uid.is_some() || changes.gid.is_some() {
            let (uid, gid) = (changes.uid.map(Uid::from_raw), changes.gid.map(Gid::from_raw));
            rustix::fs::chownat(&inode, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if let Some(mode) = changes.mode {
            rustix::fs::chmod(inode.path(), Mode::from_raw_mode(mode & 0o7777))?;
        }
        if let Some(size) = changes.size {
            rustix::fs::ftruncate(inode.open(OFlags::WRONLY)?, size)?;
        }
        if changes.atime.is_some() || changes.mtime.is_some() {
            let limits = self.ways.limits;
            let times = Timestamps {
                last_access: limits.to_set(changes.atime),
                last_modification: limits.to_set(changes.mtime),
            };
            rustix::fs::utimensat(&inode, "", &times, AtFlags::EMPTY_PATH)?;
        }
        Ok(self.ways.limits.attributes(&inode.stat()?))
    }

    pub fn symlink_text(&self, number: u64) -> Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self.inodes.get(number)?, "", Vec::new())?.into_bytes())
    }

    /// A new inode belongs to who made it; a set-group-id directory has handed down its group.
    fn give_to(parent: &Inode, inode: &Inode, user: User) -> Result<()> {
        let inherits = parent.stat()?.st_mode & 0o2000 != 0;
        let made = inode.stat()?;
        let gid = if inherits { made.st_gid } else { user.gid };
        if (made.st_uid, made.st_gid) == (user.uid, gid) {
            return Ok(());
        }
        rustix::fs::chownat(inode, "", Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
        if FileType::from_raw_mode(made.st_mode) != FileType::Symlink && made.st_mode & 0o6000 != 0 {
            rustix::fs::chmod(inode.path(), Mode::from_raw_mode(made.st_mode & 0o7777))?;
        }
        Ok(())
    }

    /// What all that make a name have in common; `make` makes it in the open parent.
    fn make(
        &self,
        parent: u64,
        name: &OsStr,
        user: User,
        make: impl FnOnce(&Inode, &OsStr) -> Result<()>,
    ) -> Result<Told> {
        let (parent, name) = self.place(parent, name)?;
        make(&parent, &name)?;
        let mut told = self.inodes.look_up(&parent, &name)?;
        Self::give_to(&parent, &told.inode, user)?;
        told.stat = told.inode.stat()?;
        Ok(told)
    }

    pub fn make_node(&self, parent: u64, name: &OsStr, mode: u32, device: u32, user: User) -> Result<Entry> {
        let device = self.ways.limits.device(device);
        let (kind, permissions) = (FileType::from_raw_mode(mode), Mode::from_raw_mode(mode & 0o7777));
        let told =
            self.make(parent, name, user, |parent, name| rustix::fs::mknodat(parent, name, kind, permissions, device))?;
        if self.ways.lustre && kind == FileType::RegularFile {
            layout::begin(&told.inode)?;
        }
        Ok(self.entry(&told))
    }

    pub fn make_directory(&self, parent: u64, name: &OsStr, mode: u32, user: User) -> Result<Entry> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let told = self.make(parent, name, user, |parent, name| rustix::fs::mkdirat(parent, name, mode))?;
        Ok(self.entry(&told))
    }

    pub fn make_symlink(&self, parent: u64, name: &OsStr, text: &OsStr, user: User) -> Result<Entry> {
        let told = self.make(parent, name, user, |parent, name| rustix::fs::symlinkat(text, parent, name))?;
        Ok(self.entry(&told))
    }

    pub fn link(&self, number: u64, parent: u64, name: &OsStr) -> Result<Entry> {
        if self.ways.no_links {
            return Err(Errno::PERM);
        }
        let inode = self.inodes.get(number)?;
        let (parent, name) = self.place(parent, name)?;
        rustix::fs::linkat(&inode, "", &parent, &*name, AtFlags::EMPTY_PATH)?;
        Ok(self.entry(&self.inodes.look_up(&parent, &name)?))
    }

    pub fn remove(&self, parent: u64, name: &OsStr, flags: AtFlags) -> Result<()> {
        let (parent, name) = self.place(parent, name)?;
        rustix::fs::unlinkat(parent, &*name, flags)
    }

    pub fn rename(&self, from: (u64, &OsStr), to: (u64, &OsStr), flags: RenameFlags) -> Result<()> {
        let to_name = to.1;
        // What a name is taken for must not change until it is renamed.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = self.ways.fold_case.then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
        let (from, old) = self.place(from.0, from.1)?;
        let (to, found) = self.place(to.0, to.1)?;
        // A change of case only is a rename to the new letters.
        let new = if old.eq_ignore_ascii_case(&found) { to_name } else { &*found };
        if self.ways.lustre && !flags.is_empty() {
            let exists = rustix::fs::statat(&to, new, AtFlags::SYMLINK_NOFOLLOW).is_ok();
            return Err(if flags == RenameFlags::NOREPLACE && exists { Errno::EXIST } else { Errno::INVAL });
        }
        rustix::fs::renameat_with(from, &*old, to, new, flags)
    }

    /// Flags of open(2) that the backing folder must not see: positions and caching are the kernel's.
    fn own_flags(flags: i32) -> OFlags {
        let flags = OFlags::from_bits_retain(flags.cast_unsigned());
        flags & (OFlags::RDONLY | OFlags::WRONLY | OFlags::RDWR | OFlags::NOATIME | OFlags::EXCL | OFlags::DIRECTORY)
    }

    pub fn open(&self, number: u64, flags: i32) -> Result<OwnedFd> {
        let inode = self.inodes.get(number)?;
        let flags = Self::own_flags(flags) & !OFlags::EXCL;
        let file = inode.open(flags)?;
        if self.ways.lustre && flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            layout::opened_for_writing(&inode)?;
        }
        Ok(file)
    }

    pub fn create(&self, parent: u64, name: &OsStr, mode: u32, flags: i32, user: User) -> Result<(OwnedFd, Entry)> {
        let (parent, name) = self.place(parent, name)?;
        let flags = Self::own_flags(flags) | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, &*name, flags, Mode::from_raw_mode(mode & 0o7777))?;
        let mut told = self.inodes.of_open(&file, &name)?;
        Self::give_to(&parent, &told.inode, user)?;
        told.stat = told.inode.stat()?;
        Ok((file, self.entry(&told)))
    }

    /// What writing takes away from a program, where the kernel leaves that to us.
    pub fn kill_set_id(&self, number: u64) -> Result<()> {
        let inode = self.inodes.get(number)?;
        let Stat { st_mode, .. } = inode.stat()?;
        let kept = if st_mode & 0o010 != 0 { st_mode & 0o1777 } else { st_mode & 0o3777 };
        rustix::fs::chmod(inode.path(), Mode::from_raw_mode(kept))
    }

    pub fn set_xattr(&self, number: u64, name: &OsStr, value: &[u8], flags: i32) -> Result<()> {
        let inode = self.xattr_inode(number)?;
        if self.ways.forget_xattrs {
            return Ok(());
        }
        if let Some(answer) = self.ways.lustre.then(|| layout::set(&inode, name, value)).flatten() {
            return answer;
        }
        rustix::fs::setxattr(inode.path(), name, value, XattrFlags::from_bits_retain(flags.cast_unsigned()))
    }

    pub fn xattr(&self, number: u64, name: &OsStr) -> Result<Vec<u8>> {
        if self.synthetic(number).is_some() {
            return Err(Errno::NODATA);
        }
        let inode = self.xattr_inode(number)?;
        if let Some(answer) = self.ways.lustre.then(|| layout::get(&inode, name)).flatten() {
            return answer;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::getxattr(inode.path(), name, &mut value[..])?;
        value.truncate(length);
        Ok(value)
    }

    /// The names, each with its NUL.
    pub fn xattr_names(&self, number: u64, user: User) -> Result<Vec<u8>> {
        if self.synthetic(number).is_some() {
            return Ok(Vec::new());
        }
        let inode = self.xattr_inode(number)?;
        let mut list = vec![0; 64 << 10];
        let length = rustix::fs::listxattr(inode.path(), &mut list[..])?;
        list.truncate(length);
        let mut names: Vec<&[u8]> =
            list.split(|&byte| byte == 0).filter(|name| !name.is_empty() && !layout::is_hidden(name)).collect();
        // The kernel leaves it to us to keep these from users.
        names.retain(|name| user.uid == 0 || !name.starts_with(b"trusted."));
        if self.ways.lustre {
            names.extend(layout::listed(&inode, user.uid)?);
        }
        Ok(names.into_iter().flat_map(|name| name.iter().copied().chain([0])).collect())
    }

    pub fn remove_xattr(&self, number: u64, name: &OsStr) -> Result<()> {
        let inode = self.xattr_inode(number)?;
        if let Some(answer) = self.ways.lustre.then(|| layout::remove(name)).flatten() {
            return answer;
        }
        rustix::fs::removexattr(inode.path(), name)
    }

    fn xattr_inode(&self, number: u64) -> Result<Inode> {
        if self.ways.no_xattrs {
            return Err(Errno::OPNOTSUPP);
        }
        self.inodes.get(number)
    }

    /// The name of an inode, for the rules.
    pub fn name(&self, number: u64) -> OsString {
        Node::of(number).map_or_else(|| self.inodes.name(number), Node::name)
    }

    /// The synthetic entry of a number.
    pub fn synthetic(&self, number: u64) -> Option<(Shape, Node)> {
        Some((self.ways.synthetic?, Node::of(number)?))
    }

    /// What a directory shows at `offset`: names from the backing folder, then the synthetic ones. In the
    /// root beside them offsets are counted, as the backing folder's may be any.
    pub fn list(&self, number: u64, open: &Open, offset: u64, mut add: impl FnMut(Listed<'_>) -> bool) -> Result<()> {
        let Some(shape) = self.ways.synthetic else {
            return open.list(offset, add);
        };
        let mut behind = 0;
        let mut full = false;
        open.list(0, |one| {
            behind += 1;
            full = behind > offset && add(Listed { next: behind, ..one });
            full
        })?;
        let mut index = offset.saturating_sub(behind);
        while let Some(node) = shape.child(number, index).filter(|_| !full) {
            index += 1;
            full = add(node.listed(&node.name(), behind + index));
        }
        Ok(())
    }
}

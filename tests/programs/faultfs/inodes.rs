//! The inodes that the kernel knows, by number. A number that goes to another inode while the kernel
//! still knows the old one comes with another generation, so that it never means a wrong inode.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};

use crate::handles::Handle;

/// The number of the root, whatever it has in the backing folder.
pub const ROOT: u64 = 1;

/// From here on numbers are those of synthetic entries, which can not be changed.
pub const SYNTHETIC: u64 = 1 << 61;

const BY_NAME: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An inode of the backing folder, opened with O_PATH for the time of a call.
#[derive(Debug)]
pub struct Inode {
    fd: OwnedFd,
}

impl AsFd for Inode {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Inode {
    /// A path that the kernel resolves to this inode, a symbolic link included (proc(5)).
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    /// Opens it for use.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd> {
        rustix::fs::openat(CWD, self.path(), flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// What it is now.
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::statat(&self.fd, "", AtFlags::EMPTY_PATH)
    }
}

/// What the kernel is told of an inode.
#[derive(Debug)]
pub struct Told {
    /// The inode.
    pub inode: Inode,
    /// Its attributes.
    pub stat: Stat,
    /// What tells it from others that had its number.
    pub generation: u64,
}

#[derive(Debug)]
struct Known {
    handle: Handle,
    name: OsString,
    /// Answers that told the kernel of the number, less what the kernel has forgotten.
    answers: u64,
}

/// The table.
#[derive(Debug)]
pub struct Inodes {
    root: OwnedFd,
    device: u64,
    known: Mutex<HashMap<u64, Known>>,
}

impl Inodes {
    /// A table with nothing but the root.
    pub fn new(backing: &OsStr) -> Result<Self> {
        // Not O_PATH: open_by_handle_at(2) wants a real descriptor of the mount.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, backing, flags, Mode::empty())?;
        let device = rustix::fs::fstat(&root)?.st_dev;
        Ok(Self { root, device, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name under which an inode was last looked up.
    pub fn name(&self, number: u64) -> OsString {
        self.known().get(&number).map(|known| known.name.clone()).unwrap_or_default()
    }

    /// The inode of a number that the kernel was told.
    pub fn get(&self, number: u64) -> Result<Inode> {
        if number >= SYNTHETIC {
            return Err(Errno::ROFS);
        }
        if number == ROOT {
            let fd = rustix::fs::openat(&self.root, ".", BY_NAME, Mode::empty())?;
            return Ok(Inode { fd });
        }
        let handle = self.known().get(&number).map(|known| known.handle.clone()).ok_or(Errno::STALE)?;
        Ok(Inode { fd: handle.open(self.root.as_fd())? })
    }

    /// Looks a name up for the kernel.
    pub fn look_up(&self, parent: &Inode, name: &OsStr) -> Result<Told> {
        self.tell(rustix::fs::openat(parent, name, BY_NAME, Mode::empty())?, name)
    }

    /// Tells the kernel of an inode that is open.
    pub fn of_open(&self, open: &OwnedFd, name: &OsStr) -> Result<Told> {
        let path = format!("/proc/self/fd/{}", open.as_raw_fd());
        self.tell(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?, name)
    }

    fn tell(&self, fd: OwnedFd, name: &OsStr) -> Result<Told> {
        let handle = Handle::of(fd.as_fd())?;
        let inode = Inode { fd };
        let stat = inode.stat()?;
        // Numbers are of one file system only, and some are taken.
        if stat.st_dev != self.device || stat.st_ino == ROOT || stat.st_ino >= SYNTHETIC {
            return Err(Errno::XDEV);
        }
        let generation = handle.generation();
        let mut known = self.known();
        let known = known.entry(stat.st_ino).or_insert_with(|| Known {
            handle: handle.clone(),
            name: OsString::new(),
            answers: 0,
        });
        // The kernel gives back the answers for the number, those for its former inode too.
        known.answers += 1;
        known.handle = handle;
        name.clone_into(&mut known.name);
        Ok(Told { inode, stat, generation })
    }

    /// The kernel forgets so many answers.
    pub fn forget(&self, number: u64, answers: u64) {
        let mut known = self.known();
        if let Some(one) = known.get_mut(&number) {
            one.answers = one.answers.saturating_sub(answers);
            if one.answers == 0 {
                known.remove(&number);
            }
        }
    }
}

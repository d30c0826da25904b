//! `DST/.pmirror/`: the nonce that proves that all ranks see one target, the lock, and the trash (`trash`). Nothing
//! else lies there, and it goes when a run ends that leaves nothing in the trash.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::{Fd, attributes, data, names, open};
use crate::fault::Failure;
use crate::tree::decide::Times;
use crate::tree::{Attributes, Kind, Time};

/// The name in the target's root. Left out of every walk.
pub const NAME: &CStr = c".pmirror";

/// What the names begin with that a preflight makes in it (`fs::trials`).
pub const PREFLIGHT: &[u8] = b"preflight";

/// The directory, open.
#[derive(Debug)]
pub struct Private {
    directory: Fd,
}

impl Private {
    /// Makes it, or opens what an earlier run left. A planted link or another's directory is
    /// refused with EPERM.
    pub fn make(target_root: &Fd, uid: u32) -> Result<Self, Failure> {
        let made = keeping_times(target_root, || names::make_directory(target_root, NAME));
        match made {
            Ok(()) => {}
            Err(failure) if failure.errno == Errno::EEXIST as i32 => {}
            Err(failure) => return Err(failure),
        }
        let directory = open::child_directory(target_root, NAME)?;
        let found = attributes::of_fd(&directory)?;
        if found.uid != uid {
            return Err(directory.failure("mkdirat", Errno::EPERM));
        }
        if found.mode & 0o777 != 0o700 {
            attributes::set_mode(&directory, 0o700)?;
        }
        Ok(Self { directory })
    }

    /// Opens it where it must be ours: ENOENT if it is not there, EPERM if it is another's.
    pub fn open_own(target_root: &Fd, uid: u32) -> Result<Self, Failure> {
        let private = Self::open(target_root)?;
        let found = attributes::of_fd(&private.directory)?;
        if found.uid != uid || found.mode & 0o077 != 0 {
            return Err(private.directory.failure("openat", Errno::EPERM));
        }
        Ok(private)
    }

    /// Opens it on a rank that did not make it.
    pub fn open(target_root: &Fd) -> Result<Self, Failure> {
        open::child_directory(target_root, NAME).map(|directory| Self { directory })
    }

    /// Writes a new file, durably: EEXIST when it is there.
    pub fn create(&self, name: &CStr, content: &[u8]) -> Result<Fd, Failure> {
        self.create_dated(name, |_| content.to_vec())
    }

    /// The same for a content that tells when the file was made, by the target's clock.
    pub fn create_dated(&self, name: &CStr, content: impl FnOnce(Time) -> Vec<u8>) -> Result<Fd, Failure> {
        let file = open::new_file(&self.directory, name)?;
        let made = attributes::of_fd(&file)?.mtime;
        data::append(&file, &content(made))?;
        data::flush(&file)?;
        Ok(file)
    }

    /// Makes its names durable: what was made, renamed and removed in it.
    pub fn flush_names(&self) -> Result<(), Failure> {
        match data::flush(&self.directory) {
            // A file system that has no such call for directories (fsync(2)).
            Err(failure) if failure.errno == Errno::EINVAL as i32 => Ok(()),
            result => result,
        }
    }

    /// Reads a file that we wrote.
    pub fn read(&self, name: &CStr) -> Result<Vec<u8>, Failure> {
        let file = open::file_for_reading(&self.directory, name)?;
        if attributes::of_fd(&file)?.kind != Kind::File {
            return Err(self.directory.failure("openat", Errno::EINVAL));
        }
        data::read_all(&file, 64 << 10)
    }

    /// The attributes of a file in it.
    pub fn attributes(&self, name: &CStr) -> Result<Attributes, Failure> {
        attributes::of_name(&self.directory, name)
    }

    /// Removes a file; that it is gone already is no error.
    pub fn remove(&self, name: &CStr) -> Result<(), Failure> {
        match names::remove(&self.directory, name) {
            Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(()),
            result => result,
        }
    }

    /// Gives a file a further name: EEXIST when that is taken.
    pub fn link(&self, from: &CStr, to: &CStr) -> Result<(), Failure> {
        names::link(&open::entry(&self.directory, from)?, &self.directory, to)
    }

    /// Renames over what is there.
    pub fn rename(&self, from: &CStr, to: &CStr) -> Result<(), Failure> {
        names::rename(&self.directory, from, to)
    }

    /// Removes everything in it but the named file: what dead runs left. Of directories only those of a preflight.
    pub fn clear_except(&self, kept: &CStr) -> Result<(), Failure> {
        let (mut found, mut directories): (Vec<CString>, Vec<CString>) = Default::default();
        let lister = open::child_directory(&self.directory, c".")?;
        let mut untold = None;
        super::list::list(&lister, |name, kind, _| {
            // Some file systems do not tell the type with the name.
            let kind = kind.map_or_else(|| attributes::of_name(&self.directory, name).map(|found| found.kind), Ok);
            match kind {
                Ok(Kind::Directory) if name.to_bytes().starts_with(PREFLIGHT) => directories.push(name.to_owned()),
                Ok(Kind::Directory) => {}
                Ok(_) if name != kept && name != super::trash::NAME => found.push(name.to_owned()),
                Ok(_) => {}
                Err(failure) if failure.errno == Errno::ENOENT as i32 => {}
                Err(failure) => untold = Some(failure),
            }
        })?;
        if let Some(failure) = untold {
            return Err(failure);
        }
        found.iter().try_for_each(|name| self.remove(name))?;
        directories.iter().try_for_each(|name| {
            let below = Self { directory: open::child_directory(&self.directory, name)? };
            below.clear_except(c"")?;
            names::remove_directory(&self.directory, name)
        })
    }

    /// The directory, for `probe` and `trash`.
    pub(super) fn directory(&self) -> &Fd {
        &self.directory
    }

    /// Removes the directory if nothing is left in it.
    pub fn remove_from(self, target_root: &Fd) -> Result<(), Failure> {
        drop(self.directory);
        match keeping_times(target_root, || names::remove_directory(target_root, NAME)) {
            Err(failure)
                if matches!(Errno::from_raw(failure.errno), Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOENT) =>
            {
                Ok(())
            }
            result => result,
        }
    }
}

/// Makes a directory of another name, in which a private one may be: EEXIST when something has it.
pub fn make_apart(parent: &Fd, name: &CStr) -> Result<Fd, Failure> {
    keeping_times(parent, || names::make_directory(parent, name))?;
    open::child_directory(parent, name)
}

/// Removes it when it is empty.
pub fn remove_apart(parent: &Fd, name: &CStr) -> Result<(), Failure> {
    keeping_times(parent, || names::remove_directory(parent, name))
}

/// Our own directory is none of the root's content: its times stay what they were, as far as we may
/// set them.
fn keeping_times(root: &Fd, change: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let was = attributes::of_fd(root)?;
    change()?;
    let _ = attributes::set_times(root, Times { atime: was.atime, mtime: was.mtime });
    Ok(())
}

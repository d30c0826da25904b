//! Layouts of files on Lustre, by the attribute `lustre.lov`. A layout can be set only on a file that
//! mknod made and nobody has opened for writing; later it is taken silently and changes nothing.

use std::ffi::CStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, mknodat};
use rustix::fs::{CWD, XattrFlags};

use super::fd::{Fd, errno, uninterrupted};
use super::{attributes, names, open};
use crate::fault::Failure;
use crate::tree::Kind;

const LAYOUT: &CStr = c"lustre.lov";

/// A layout of more components than fit in it is no layout that we can ask for.
const BYTES_MAX: usize = 64 << 10;

/// The layout of an open file, or that of new files of a directory. `None`: it has none, or its file
/// system knows none.
pub fn read(file: &Fd) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = vec![0u8; 4096];
    loop {
        match uninterrupted(|| rustix::fs::fgetxattr(file.as_fd(), LAYOUT, &mut bytes[..]).map_err(errno)) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(Some(bytes));
            }
            Err(Errno::ERANGE) if bytes.len() < BYTES_MAX => bytes.resize(BYTES_MAX, 0),
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(file.failure("fgetxattr", errno)),
        }
    }
}

/// Sets the layout that new files of a directory get.
pub fn set_default(directory: &Fd, layout: &[u8]) -> Result<(), Failure> {
    let flags = XattrFlags::empty();
    uninterrupted(|| rustix::fs::fsetxattr(directory.as_fd(), LAYOUT, layout, flags).map_err(errno))
        .map_err(|errno| directory.failure("fsetxattr", errno))
}

/// A file that mknod made: it has no layout yet, and must not be opened for writing before it has.
#[derive(Debug)]
pub struct Unopened(Fd);

/// Makes a regular file, 0600, without opening it: EEXIST when the name is taken. What is then found
/// under the name must be what was made: empty, with one name, and of `owner`, if that is known.
pub fn make(parent: &Fd, name: &CStr, owner: Option<u32>) -> Result<Unopened, Failure> {
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    uninterrupted(|| mknodat(parent.as_fd(), name, SFlag::S_IFREG, mode, 0))
        .map_err(|errno| parent.failure("mknodat", errno))?;
    let made = open::entry(parent, name)?;
    let found = attributes::of_fd(&made)?;
    let ours = owner.is_none_or(|owner| found.uid == owner);
    if found.kind != Kind::File || found.links != 1 || found.size != 0 || !ours {
        return Err(parent.failure("mknodat", Errno::ESTALE));
    }
    Ok(Unopened(made))
}

impl Unopened {
    /// Whether it waits for a layout, as on Lustre.
    pub fn waits(&self) -> bool {
        let (path, mut size_only) = (self.0.proc_path(), [0u8; 0]);
        let call = || rustix::fs::getxattr(path.as_str(), LAYOUT, &mut size_only[..]).map_err(errno);
        uninterrupted(call) == Err(Errno::ENODATA)
    }

    /// Asks for a layout.
    pub fn ask(&self, layout: &[u8]) -> Result<(), Failure> {
        let path = self.0.proc_path();
        uninterrupted(|| rustix::fs::setxattr(path.as_str(), LAYOUT, layout, XattrFlags::empty()).map_err(errno))
            .map_err(|errno| self.0.failure("setxattr", errno))
    }

    /// Opens this very inode for writing: it gets the default layout if none was set.
    pub fn open(&self) -> Result<Fd, Failure> {
        let path = self.0.proc_path();
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        uninterrupted(|| openat(CWD, path.as_str(), flags, Mode::empty()))
            .map(|fd| Fd::new(fd, self.0.side()))
            .map_err(|errno| self.0.failure("openat", errno))
    }

    /// Removes its name, if it still has it.
    pub fn take_back(&self, parent: &Fd, name: &CStr) -> Result<(), Failure> {
        if attributes::of_name(parent, name)?.identity == attributes::of_fd(&self.0)?.identity {
            names::remove(parent, name)?;
        }
        Ok(())
    }
}

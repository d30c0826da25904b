//! The path of a file system that the operator named, as it is on this node now.

use std::ffi::CString;

use super::{Fd, attributes, open, operator, roots};
use crate::fault::{Failure, Side};
use crate::tree::TreePath;

/// A directory at which a file system is, or should be.
#[derive(Debug)]
pub struct Place {
    fd: Fd,
}

impl Place {
    /// Opens it; links are followed, as in all that the operator names.
    pub fn open(path: &[u8]) -> Result<Self, Failure> {
        let failure = |errno: nix::errno::Errno| Failure { side: Side::Target, operation: "open", errno: errno as i32 };
        let path = CString::new(path).map_err(|_| failure(nix::errno::Errno::EINVAL))?;
        Ok(Self { fd: open::place(Side::Target, &path)? })
    }

    /// Whether a directory is this one, or lies below it.
    pub fn holds(&self, directory: &Fd) -> Result<bool, Failure> {
        roots::holds(&self.fd, directory)
    }

    /// Whether this one lies below a directory, or is it.
    pub fn lies_in(&self, directory: &Fd) -> Result<bool, Failure> {
        roots::holds(directory, &self.fd)
    }

    /// Whether another place lies below this one, and is another.
    pub fn holds_another(&self, other: &Place) -> Result<bool, Failure> {
        Ok(self.holds(&other.fd)? && !other.holds(&self.fd)?)
    }

    /// Whether something is mounted there: the directory that holds it is in another mount, or there is none.
    pub fn is_mount_point(&self) -> Result<bool, Failure> {
        let parent = open::parent_directory(&self.fd)?;
        let is_top = operator::path_of(&self.fd) == b"/";
        Ok(is_top || open::is_mount_point(&parent, &self.fd)?)
    }

    /// statfs(2)'s number of the file system type.
    pub fn fs_type(&self) -> Result<u64, Failure> {
        roots::fs_type(&self.fd)
    }

    /// Whether a name is there below it; no link is followed.
    pub fn has(&self, path: &TreePath) -> Result<bool, Failure> {
        let found = path.split_last().map_or(Ok(()), |(above, name)| {
            let name = CString::new(name).unwrap_or_default();
            if above.is_root() {
                return attributes::of_name(&self.fd, &name).map(drop);
            }
            attributes::of_name(&open::directory_below(&self.fd, &above)?, &name).map(drop)
        });
        match found {
            Err(failure) if is_absent(failure) => Ok(false),
            found => found.map(|()| true),
        }
    }
}

/// Whether a call failed because there is nothing of the name.
pub fn is_absent(failure: Failure) -> bool {
    use nix::errno::Errno::{ENOENT, ENOTDIR};
    [ENOENT as i32, ENOTDIR as i32].contains(&failure.errno)
}

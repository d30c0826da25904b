//! The root of a tree that the operator wants to be removed as a whole: opened by its name in its parent,
//! and refused if too much would go with it.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::roots::{self, Root};
use super::{Fd, attributes, names, open, operator, remedy};
use crate::fault::{Error, Failure, Side};
use crate::tree::path::escaped;

/// A tree that is to be removed.
#[derive(Debug)]
pub struct TreeRoot {
    /// The directory that holds it.
    parent: Fd,
    /// Its name there.
    name: CString,
    /// The tree's root.
    pub root: Root,
}

impl TreeRoot {
    /// Opens the tree. A symbolic link is none, even if it leads to one.
    pub fn open(path: &CStr) -> Result<Self, Error> {
        let text = escaped(path.to_bytes());
        let refused = |failure: Failure| {
            Error::Refused(match Errno::from_raw(failure.errno) {
                Errno::ENOENT => format!("{text} does not exist; is its file system mounted here?"),
                Errno::ENOTDIR | Errno::ELOOP => format!("{text} is no directory; rm --tree removes directories"),
                errno => format!("{text} can not be opened: {}", remedy::told(errno)),
            })
        };
        let Some((parent, name)) = roots::split(path) else {
            return Err(Error::Refused(format!(
                "{text} is the root of all file systems: it is not removed. Name the directory that is to go"
            )));
        };
        if matches!(name.to_bytes(), b"." | b"..") {
            return Err(Error::Refused(format!("{text} does not say a name: name the directory in its parent")));
        }
        let parent = open::operand(Side::Target, &parent).map_err(refused)?;
        let root = open::child_directory(&parent, &name).and_then(Root::of_fd).map_err(refused)?;
        Ok(Self { parent, name, root })
    }

    /// Refuses what would take more along than was meant.
    pub fn refuse_precious(&self, path: &CStr) -> Result<(), Error> {
        let text = escaped(path.to_bytes());
        let refused = |why: String| Err(Error::Refused(format!("{text} is not removed: {why}")));
        for (place, what) in precious() {
            if roots::lies_in(&place, self.root.key()).unwrap_or(true) {
                return refused(format!("it is, or holds, {what}"));
            }
        }
        let whole = operator::system_link(&self.root.fd.proc_path());
        let is_mount_point = attributes::mount_id(&self.parent).ok() != attributes::mount_id(&self.root.fd).ok();
        if is_mount_point || self.root.attributes.device != attributes::of_fd(&self.parent).map_or(0, |at| at.device) {
            return refused("a file system is mounted there: unmount it, or name what is in it".to_owned());
        }
        match mount_point_in(whole.as_bytes()) {
            Some(point) => refused(format!("a file system is mounted in it, at {}", escaped(&point))),
            None => Ok(()),
        }
    }

    /// Removes the root when nothing is left in it: if it still has its name.
    pub fn remove(&self) -> Result<(), Failure> {
        if attributes::of_name(&self.parent, &self.name)?.identity != self.root.attributes.identity {
            return Err(self.parent.failure("rmdir", Errno::ESTALE));
        }
        names::remove_directory(&self.parent, &self.name)
    }
}

/// Directories that nobody wants to lose by a slip, as far as they can be opened.
fn precious() -> Vec<(Fd, &'static str)> {
    let home = operator::home().and_then(|home| CString::new(home).ok());
    let places = [
        (Some(c"/".to_owned()), "the root directory"),
        (home, "your home directory"),
        (Some(c".".to_owned()), "the working directory"),
    ];
    let opened =
        |(path, what): (Option<CString>, &'static str)| Some((open::operand(Side::Target, &path?).ok()?, what));
    places.into_iter().filter_map(opened).collect()
}

/// The first mount point below a path, from the mount table (proc(5), mountinfo).
fn mount_point_in(path: &[u8]) -> Option<Vec<u8>> {
    let table = operator::mount_table();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(roots::unescaped);
    points.into_iter().find(|point| point.strip_prefix(path).is_some_and(|rest| rest.first() == Some(&b'/')))
}

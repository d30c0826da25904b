//! A view of the source of our own, in which the kernel lets nobody write and follow links.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::fd::{errno, uninterrupted};
use super::{Fd, attributes, open, operator, roots, sys};
use crate::tree::path::escaped;

/// A root seen through mounts that nobody else has.
#[derive(Debug)]
pub struct View {
    /// The root, open.
    pub root: Fd,
    /// The mounts in it go with the first of them.
    pub mounts: OwnedFd,
    /// Links in it lead nowhere (Linux 5.14).
    pub follows_no_links: bool,
}

/// No file is written, no device opened, no program run, no set-id bit heeded.
const ATTRIBUTES: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// Copies the mount of a root with all that is mounted in it: read-only, and without links that are followed. Why it can
/// not be had, in words.
pub fn read_only(root: &Fd) -> Result<View, String> {
    refuse_elusive(root)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let mounts = uninterrupted(|| open_tree(root.as_fd(), c"", flags).map_err(errno)).map_err(why)?;
    let set = |attributes| uninterrupted(|| sys::set_mount_attributes(mounts.as_fd(), attributes));
    let follows_no_links = match set(ATTRIBUTES | libc::MOUNT_ATTR_NOSYMFOLLOW) {
        Err(Errno::EINVAL) => set(ATTRIBUTES).map(|()| false),
        result => result.map(|()| true),
    };
    let follows_no_links = follows_no_links.map_err(why)?;
    // What was copied is a name without a right to list.
    let copy = Fd::path_only(mounts, root.side());
    let opened = open::child_directory(&copy, c".").map_err(|failure| why(Errno::from_raw(failure.errno)))?;
    let key = |fd| attributes::of_fd(fd).map(|found| (found.device, found.identity.inode)).ok();
    if key(&opened).is_none() || key(&opened) != key(root) {
        return Err("its copy is another directory".to_owned());
    }
    Ok(View { root: opened, mounts: copy.into_owned(), follows_no_links })
}

fn why(errno: Errno) -> String {
    match errno {
        Errno::EPERM => "it needs CAP_SYS_ADMIN".to_owned(),
        Errno::ENOSYS => "this kernel has no mount_setattr (Linux 5.12)".to_owned(),
        errno => format!("{} ({errno:?})", errno.desc()),
    }
}

/// What is mounted when somebody comes by is not mounted in a copy, and what may not be bound is left out of it: a
/// directory would look empty that is not.
fn refuse_elusive(root: &Fd) -> Result<(), String> {
    let path = operator::path_of(root);
    if !path.starts_with(b"/") {
        return Err("its path is not known".to_owned());
    }
    match elusive_mount(&operator::mount_table(), &path) {
        Some(point) => Err(format!("what is mounted at {} would be missing in it", escaped(&point))),
        None => Ok(()),
    }
}

/// The first mount that is not in a copy of a directory as it is in the original (proc(5), mountinfo).
fn elusive_mount(table: &str, path: &[u8]) -> Option<Vec<u8>> {
    let mounts: Vec<Mount> = table.lines().filter_map(Mount::of).collect();
    // The last of several at one place hides the others.
    let own = mounts.iter().filter(|mount| lies_in(path, &mount.point)).max_by_key(|mount| mount.point.len());
    let is_elusive = |mount: &&Mount| mount.is_on_demand || mount.is_unbindable;
    let inside = mounts.iter().filter(|mount| lies_in(&mount.point, path)).find(is_elusive);
    inside.or(own.filter(|own| own.is_on_demand)).map(|mount| mount.point.clone())
}

/// A line of the mount table.
struct Mount {
    point: Vec<u8>,
    is_on_demand: bool,
    is_unbindable: bool,
}

impl Mount {
    fn of(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = roots::unescaped(mount.split(' ').nth(4)?);
        let is_on_demand = matches!(file_system.split(' ').next(), Some("autofs" | "nsfs"));
        let is_unbindable = mount.split(' ').skip(6).any(|field| field == "unbindable");
        Some(Self { point, is_on_demand, is_unbindable })
    }
}

fn lies_in(inner: &[u8], outer: &[u8]) -> bool {
    let below = inner.strip_prefix(outer.strip_suffix(b"/").unwrap_or(outer));
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_a_copy_would_lack_is_found_by_whole_names() {
        let table = "36 35 98:0 / /data rw shared:1 - ext4 /dev/a rw\n\
                     37 36 0:40 / /data/home rw - autofs auto rw\n\
                     39 37 0:43 / /data/home/eva rw - nfs server:/eva rw\n\
                     38 36 0:41 / /data/own\\040mount rw unbindable - ext4 /dev/b rw";
        let found = |path: &str| elusive_mount(table, path.as_bytes());
        assert_eq!(found("/data"), Some(b"/data/home".to_vec()));
        assert_eq!(found("/"), Some(b"/data/home".to_vec()));
        assert_eq!(found("/data/home/ada"), Some(b"/data/home".to_vec()), "not mounted yet");
        assert_eq!(found("/data/home/eva/project"), None, "mounted already");
        assert_eq!(found("/data/own mount"), Some(b"/data/own mount".to_vec()));
        assert_eq!(found("/data/own mount/below"), None, "the kernel itself refuses it");
        assert_eq!(found("/data/homes"), None);
        assert_eq!(found("/other"), None);
    }
}

//! Extended attributes and POSIX ACLs: reading those that are kept, and making a target equal.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use nix::errno::Errno;
use rustix::fs::XattrFlags;

use super::fd::{Fd, errno, uninterrupted};
use crate::fault::Failure;

/// The access ACL of a file or directory, in the kernel's form (acl(5), posix_acl_xattr.h).
pub const ACCESS_ACL: &CStr = c"system.posix_acl_access";
/// The ACL that new entries of a directory inherit.
pub const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

/// The kernel keeps no larger list or value (xattr(7)).
const BYTES_MAX: usize = 64 << 10;

/// The attributes of an inode that are kept.
#[derive(Debug, Default)]
pub struct Xattrs {
    /// Names and values, in the order of the names.
    pub kept: BTreeMap<CString, Vec<u8>>,
    /// How many more would be kept if we were allowed to set them.
    pub beyond_rights: u64,
}

impl PartialEq for Xattrs {
    /// What can not be set is not compared.
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

/// Which attributes are kept.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// ACLs.
    pub acls: bool,
    /// The others.
    pub others: bool,
    /// We may set those that only root may set: `trusted.*` and capabilities.
    pub privileged: bool,
}

impl Choice {
    /// Host-bound values, another file system's layout and overlayfs's marks are never copied:
    /// they would be wrong or dangerous on another inode.
    fn keeps(self, name: &CStr) -> bool {
        let name = name.to_bytes();
        if name.starts_with(b"system.posix_acl_") {
            return self.acls;
        }
        let kept = name.starts_with(b"user.") || name.starts_with(b"trusted.") || name == b"security.capability";
        self.others && kept && !NEVER.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// Lustre's own attributes (llite xattr.c), and overlayfs's.
const NEVER: &[&[u8]] = &[
    b"trusted.lov",
    b"trusted.lma",
    b"trusted.lmv",
    b"trusted.link",
    b"trusted.fid",
    b"trusted.hsm",
    b"trusted.som",
    b"trusted.version",
    b"trusted.dmv",
    b"trusted.projid",
    b"trusted.overlay.",
];

/// Those attributes of an inode that are kept. A file system without attributes has none.
pub fn read(fd: &Fd, choice: Choice) -> Result<Xattrs, Failure> {
    let mut xattrs = Xattrs::default();
    if !choice.acls && !choice.others {
        return Ok(xattrs);
    }
    let list = read_list(fd)?;
    let mut rest = list.as_slice();
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = rest.get(name.to_bytes_with_nul().len()..).unwrap_or_default();
        if !choice.keeps(name) {
            continue;
        }
        let for_root = !name.to_bytes().starts_with(b"user.") && !is_acl(name);
        if for_root && !choice.privileged {
            xattrs.beyond_rights += 1;
        } else if let Some(value) = read_value(fd, name)? {
            xattrs.kept.insert(name.to_owned(), value);
        }
    }
    Ok(xattrs)
}

fn read_list(fd: &Fd) -> Result<Vec<u8>, Failure> {
    // Nearly every inode has none or a few: a small buffer first.
    let mut list = vec![0u8; 512];
    loop {
        let call = || match fd.magic_path() {
            None => rustix::fs::flistxattr(fd.as_fd(), &mut list[..]).map_err(errno),
            Some(path) => rustix::fs::listxattr(path, &mut list[..]).map_err(errno),
        };
        match uninterrupted(call) {
            Ok(length) => {
                list.truncate(length);
                return Ok(list);
            }
            Err(Errno::ERANGE) if list.len() < BYTES_MAX => list.resize(BYTES_MAX, 0),
            Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(fd.failure("flistxattr", errno)),
        }
    }
}

/// `None`: removed since it was listed.
fn read_value(fd: &Fd, name: &CStr) -> Result<Option<Vec<u8>>, Failure> {
    let mut value = vec![0u8; 1024];
    loop {
        let call = || match fd.magic_path() {
            None => rustix::fs::fgetxattr(fd.as_fd(), name, &mut value[..]).map_err(errno),
            Some(path) => rustix::fs::getxattr(path, name, &mut value[..]).map_err(errno),
        };
        match uninterrupted(call) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::ERANGE) if value.len() < BYTES_MAX => value.resize(BYTES_MAX, 0),
            Err(Errno::ENODATA) => return Ok(None),
            Err(errno) => return Err(fd.failure("fgetxattr", errno)),
        }
    }
}

pub(super) fn set(fd: &Fd, name: &CStr, value: &[u8]) -> Result<(), Failure> {
    let call = || match fd.magic_path() {
        None => rustix::fs::fsetxattr(fd.as_fd(), name, value, XattrFlags::empty()).map_err(errno),
        Some(path) => rustix::fs::setxattr(path, name, value, XattrFlags::empty()).map_err(errno),
    };
    uninterrupted(call).map_err(|errno| fd.failure("fsetxattr", errno))
}

/// Absent, or a file system without attributes, is what was wanted.
pub(super) fn remove(fd: &Fd, name: &CStr) -> Result<(), Failure> {
    let call = || match fd.magic_path() {
        None => rustix::fs::fremovexattr(fd.as_fd(), name).map_err(errno),
        Some(path) => rustix::fs::removexattr(path, name).map_err(errno),
    };
    match uninterrupted(call) {
        Ok(()) | Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(fd.failure("fremovexattr", errno)),
    }
}

fn is_acl(name: &CStr) -> bool {
    name == ACCESS_ACL || name == DEFAULT_ACL
}

/// Makes the attributes of a target, which are `current`, what is `wanted`, ACLs left aside: they
/// come with the permissions.
pub fn make_equal(fd: &Fd, wanted: &Xattrs, current: &Xattrs) -> Result<(), Failure> {
    for name in current.kept.keys().filter(|name| !is_acl(name) && !wanted.kept.contains_key(*name)) {
        remove(fd, name)?;
    }
    for (name, value) in wanted.kept.iter().filter(|(name, _)| !is_acl(name)) {
        // A capability dies with a change of owner or content, so it is set again in any case.
        if current.kept.get(name) != Some(value) || name.as_c_str() == c"security.capability" {
            set(fd, name, value)?;
        }
    }
    Ok(())
}

/// Whether a file of ours loses an attribute that was set on it without an error.
pub fn is_forgotten(file: &Fd) -> Result<bool, Failure> {
    let (name, value) = (c"user.pmirror", b"probe");
    match set(file, name, value) {
        Ok(()) => {
            let found = read_value(file, name)?;
            remove(file, name)?;
            Ok(found.as_deref() != Some(value))
        }
        // No attributes, or no room: then setting one says so.
        Err(_) => Ok(false),
    }
}

/// Fails unless the attributes that were set are there, ACLs left aside.
pub fn read_back(fd: &Fd, wanted: &Xattrs) -> Result<(), Failure> {
    for (name, value) in wanted.kept.iter().filter(|(name, _)| !is_acl(name)) {
        if read_value(fd, name)?.as_ref() != Some(value) {
            return Err(fd.failure("fsetxattr", Errno::ENODATA));
        }
    }
    Ok(())
}

/// Sets an ACL, or removes what is there.
pub fn set_acl(fd: &Fd, name: &CStr, value: Option<&Vec<u8>>) -> Result<(), Failure> {
    match value {
        Some(value) => set(fd, name, value),
        None => remove(fd, name),
    }
}

/// Whether new entries of this directory would inherit an ACL.
pub fn has_default_acl(directory: &Fd) -> Result<bool, Failure> {
    let list = read_list(directory)?;
    Ok(list.split(|&byte| byte == 0).any(|name| name == DEFAULT_ACL.to_bytes()))
}

/// Whether a file or directory lets more users in than its mode tells. What has no ACLs has none.
pub fn has_access_acl(fd: &Fd) -> bool {
    read_list(fd).is_ok_and(|list| list.split(|&byte| byte == 0).any(|name| name == ACCESS_ACL.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Choice = Choice { acls: true, others: true, privileged: true };

    #[test]
    fn what_belongs_to_a_host_or_a_layout_is_not_kept() {
        for name in [c"trusted.lov", c"lustre.lov", c"security.ima", c"security.selinux", c"trusted.overlay.opaque"] {
            assert!(!ALL.keeps(name), "{name:?}");
        }
        for name in [c"user.a", c"trusted.a", c"security.capability", ACCESS_ACL, DEFAULT_ACL] {
            assert!(ALL.keeps(name), "{name:?}");
        }
        assert!(!Choice { acls: false, ..ALL }.keeps(ACCESS_ACL));
        assert!(!Choice { others: false, ..ALL }.keeps(c"user.a"));
    }
}

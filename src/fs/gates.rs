//! The directories above a root, as far up as they go.

use std::os::fd::AsFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::fd::uninterrupted;
use super::{Fd, attributes, operator, xattr};
use crate::fault::Failure;
use crate::tree::reach::Gate;

/// A path of 4 KiB has no more names.
const LEVELS_MAX: usize = 2_048;

/// The way from the root directory down to an open one, each directory as it is now. Above a mount point it goes on as
/// this node has it mounted.
pub fn on_the_way_to(directory: &Fd) -> Result<Vec<Gate>, Failure> {
    let mount = attributes::mount_id(directory).ok();
    let mut path = operator::path_of(directory);
    let (mut gates, mut last) = (Vec::new(), None);
    let mut current = up(directory, c".")?;
    while gates.len() < LEVELS_MAX {
        let found = attributes::of_fd(&current)?;
        let key = (found.device, found.identity.inode, attributes::mount_id(&current).ok());
        if last == Some(key) {
            break;
        }
        last = Some(key);
        let on_mount = attributes::mount_id(&current).ok() == mount;
        let has_acl = xattr::has_access_acl(&current);
        let shown = if path.is_empty() { b"/".to_vec() } else { path.clone() };
        gates.push(Gate { path: shown, mode: found.mode, uid: found.uid, gid: found.gid, has_acl, on_mount });
        path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or_default());
        current = up(&current, c"..")?;
    }
    gates.reverse();
    Ok(gates)
}

/// Named, not opened: to pass a directory is not to be allowed to list it.
fn up(from: &Fd, name: &std::ffi::CStr) -> Result<Fd, Failure> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    uninterrupted(|| openat(from.as_fd(), name, flags, Mode::empty()))
        .map(|fd| Fd::path_only(fd, from.side()))
        .map_err(|errno| from.failure("openat", errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;
    use crate::fs::open;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    #[allow(clippy::disallowed_methods)] // No tree of a run.
    fn the_way_begins_at_the_root_directory_and_names_each_directory_once() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let top = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let path = top.path().canonicalize().unwrap().as_os_str().as_bytes().to_vec();
        let root = open::operand(Side::Target, &std::ffi::CString::new(path.clone()).unwrap()).unwrap();
        let gates = on_the_way_to(&root).unwrap();
        assert_eq!(gates.first().unwrap().path, b"/");
        assert_eq!(gates.last().unwrap().path, path);
        assert_eq!(gates.last().unwrap().mode, 0o700);
        assert_eq!(gates.len(), path.split(|&byte| byte == b'/').count());
        assert!(gates.last().unwrap().on_mount);
    }
}

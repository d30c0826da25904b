//! Project ids of directories and files, and the flag by which new entries inherit them. Both want a
//! descriptor that is open for use: with O_PATH they give EBADF.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::fd::{Fd, uninterrupted};
use super::sys::{PROJECT_INHERIT, fs_xattr, set_fs_xattr};
use crate::fault::Failure;
use crate::tree::project::Project;

/// The project of an open directory or file; `None` where the file system has none. Lustre shows a
/// descriptor that set an id the old one until its next open: an id is never read back through it.
pub fn of_fd(fd: &Fd) -> Result<Option<Project>, Failure> {
    match uninterrupted(|| fs_xattr(fd.as_fd())) {
        Ok(found) => Ok(Some(Project { id: found.project, inherits: found.flags & PROJECT_INHERIT != 0 })),
        Err(errno) if is_missing(errno) => Ok(None),
        Err(errno) => Err(fd.failure("FS_IOC_FSGETXATTR", errno)),
    }
}

/// Sets it; all other flags stay as they are.
pub fn set(fd: &Fd, project: Project) -> Result<(), Failure> {
    let call = || {
        let mut value = fs_xattr(fd.as_fd())?;
        value.project = project.id;
        value.flags = if project.inherits { value.flags | PROJECT_INHERIT } else { value.flags & !PROJECT_INHERIT };
        set_fs_xattr(fd.as_fd(), value)
    };
    uninterrupted(call).map_err(|errno| fd.failure("FS_IOC_FSSETXATTR", errno))
}

/// Errors of file systems without project ids.
fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL)
}

/// Tries on a file of ours whether we may set one here, and whether it stays. ext4 without the feature
/// says 0 of all and refuses others; an ordinary user may not on Lustre.
pub fn can_be_set(file: &Fd, reopen: impl FnOnce() -> Result<Fd, Failure>) -> Result<bool, Failure> {
    // Whatever keeps us from asking keeps us from setting.
    let Ok(Some(was)) = of_fd(file) else {
        return Ok(false);
    };
    let other = Project { id: if was.id == 1 { 2 } else { 1 }, inherits: false };
    if set(file, other).is_err() {
        return Ok(false);
    }
    let kept = of_fd(&reopen()?)?.is_some_and(|found| found.id == other.id);
    Ok(kept && set(file, was).is_ok())
}

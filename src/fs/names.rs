//! Making, renaming and removing names in an open directory.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, readlinkat, renameat, renameat2};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use rustix::fs::CWD;

use super::fd::{Fd, uninterrupted};
use crate::fault::Failure;
use crate::tree::Kind;

/// Makes a directory, 0700 until it is settled.
pub fn make_directory(parent: &Fd, name: &CStr) -> Result<(), Failure> {
    uninterrupted(|| mkdirat(parent.as_fd(), name, Mode::S_IRWXU)).map_err(|errno| parent.failure("mkdirat", errno))
}

/// Makes a symbolic link.
pub fn make_symlink(parent: &Fd, name: &CStr, text: &CStr) -> Result<(), Failure> {
    uninterrupted(|| symlinkat(text, parent.as_fd(), name)).map_err(|errno| parent.failure("symlinkat", errno))
}

/// Makes a FIFO, socket or device, 0600.
pub fn make_special(parent: &Fd, name: &CStr, kind: Kind, rdev: u64) -> Result<(), Failure> {
    let kind = match kind {
        Kind::Fifo => SFlag::S_IFIFO,
        Kind::Socket => SFlag::S_IFSOCK,
        Kind::CharacterDevice => SFlag::S_IFCHR,
        Kind::BlockDevice => SFlag::S_IFBLK,
        Kind::Directory | Kind::File | Kind::Symlink | Kind::Unknown => {
            return Err(parent.failure("mknodat", Errno::EINVAL));
        }
    };
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    uninterrupted(|| mknodat(parent.as_fd(), name, kind, mode, rdev)).map_err(|errno| parent.failure("mknodat", errno))
}

/// The text of a symbolic link: at most 4,095 bytes, never empty on a sound file system.
pub fn read_symlink(parent: &Fd, name: &CStr) -> Result<CString, Failure> {
    let text: OsString =
        uninterrupted(|| readlinkat(parent.as_fd(), name)).map_err(|errno| parent.failure("readlinkat", errno))?;
    CString::new(text.into_vec()).map_err(|_| parent.failure("readlinkat", Errno::EBADMSG))
}

/// Renames within a directory, over what is there.
pub fn rename(directory: &Fd, from: &CStr, to: &CStr) -> Result<(), Failure> {
    uninterrupted(|| renameat(directory.as_fd(), from, directory.as_fd(), to))
        .map_err(|errno| directory.failure("renameat", errno))
}

/// The same, but EEXIST when something is there, seen and renamed in one step.
pub fn rename_new(directory: &Fd, from: &CStr, to: &CStr) -> Result<(), Failure> {
    let flags = RenameFlags::RENAME_NOREPLACE;
    uninterrupted(|| renameat2(directory.as_fd(), from, directory.as_fd(), to, flags))
        .map_err(|errno| directory.failure("renameat2", errno))
}

/// Renames into another directory, over what is there: for names that are known to be free.
pub fn move_to(from: &Fd, name: &CStr, to: &Fd, new: &CStr) -> Result<(), Failure> {
    uninterrupted(|| renameat(from.as_fd(), name, to.as_fd(), new)).map_err(|errno| from.failure("renameat", errno))
}

/// Renames into another directory, but EEXIST when something is there: seen and renamed in one step.
pub fn move_to_new(from: &Fd, name: &CStr, to: &Fd, new: &CStr, is_directory: bool) -> Result<(), Failure> {
    let flags = RenameFlags::RENAME_NOREPLACE;
    match uninterrupted(|| renameat2(from.as_fd(), name, to.as_fd(), new, flags)) {
        // Lustre knows no flag of it.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => move_in_steps(from, name, to, new, is_directory),
        result => result.map_err(|errno| from.failure("renameat2", errno)),
    }
}

/// The same where the kernel can not do it in one step. A directory takes the place of an empty one that we made: of
/// one that somebody filled meanwhile rename(2) says ENOTEMPTY. Anything else gets a second name first.
fn move_in_steps(from: &Fd, name: &CStr, to: &Fd, new: &CStr, is_directory: bool) -> Result<(), Failure> {
    if is_directory {
        make_directory(to, new)?;
        return move_to(from, name, to, new).inspect_err(|_| {
            // Empty, or it is not ours any more.
            let _ = remove_directory(to, new);
        });
    }
    uninterrupted(|| linkat(from.as_fd(), name, to.as_fd(), new, AtFlags::empty()))
        .map_err(|errno| from.failure("linkat", errno))?;
    remove(from, name)
}

/// Gives an open inode a further name. By the descriptor, which needs CAP_DAC_READ_SEARCH; without
/// it through /proc (open(2), O_PATH).
pub fn link(inode: &Fd, directory: &Fd, name: &CStr) -> Result<(), Failure> {
    let by_descriptor = || linkat(inode.as_fd(), c"", directory.as_fd(), name, AtFlags::AT_EMPTY_PATH);
    let result = match uninterrupted(by_descriptor) {
        Err(Errno::ENOENT | Errno::EPERM) => match inode.magic_path() {
            Some(path) => {
                let by_name = || linkat(CWD, path.as_str(), directory.as_fd(), name, AtFlags::AT_SYMLINK_FOLLOW);
                uninterrupted(by_name)
            }
            None => Err(Errno::EPERM),
        },
        result => result,
    };
    result.map_err(|errno| directory.failure("linkat", errno))
}

/// Removes a name that is no directory's.
pub fn remove(directory: &Fd, name: &CStr) -> Result<(), Failure> {
    uninterrupted(|| unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir))
        .map_err(|errno| directory.failure("unlinkat", errno))
}

/// Removes an empty directory.
pub fn remove_directory(parent: &Fd, name: &CStr) -> Result<(), Failure> {
    uninterrupted(|| unlinkat(parent.as_fd(), name, UnlinkatFlags::RemoveDir))
        .map_err(|errno| parent.failure("rmdir", errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;
    use crate::fs::{attributes, open};

    #[test]
    fn nothing_is_moved_over_what_is_there_in_one_step_or_in_several() {
        let directory = tempfile::tempdir().unwrap();
        let path = CString::new(directory.path().as_os_str().as_encoded_bytes()).unwrap();
        let root = open::operand(Side::Target, &path).unwrap();
        for (turn, mover) in [move_to_new, move_in_steps].into_iter().enumerate() {
            let [trash, back] = ["trash", "back"].map(|name| {
                let name = CString::new(format!("{name}{turn}")).unwrap();
                make_directory(&root, &name).unwrap();
                open::child_directory(&root, &name).unwrap()
            });
            make_directory(&trash, c"directory").unwrap();
            make_symlink(&trash, c"link", c"nowhere").unwrap();
            for (name, is_directory) in [(c"directory", true), (c"link", false)] {
                let was = attributes::of_name(&trash, name).unwrap().identity;
                mover(&trash, name, &back, name, is_directory).unwrap();
                assert_eq!(attributes::of_name(&back, name).unwrap().identity, was);
                assert!(attributes::of_name(&trash, name).is_err());
                make_special(&trash, name, Kind::Fifo, 0).unwrap();
                let refused = mover(&trash, name, &back, name, false).unwrap_err();
                assert_eq!(refused.errno, Errno::EEXIST as i32);
                remove(&trash, name).unwrap();
                make_directory(&trash, name).unwrap();
                assert_eq!(mover(&trash, name, &back, name, true).unwrap_err().errno, Errno::EEXIST as i32);
                assert_eq!(attributes::of_name(&back, name).unwrap().identity, was);
            }
        }
    }
}

//! Files that decide what a run may do: read once, by descriptor, and only if nobody else can have written them.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use rustix::fs::CWD;

use super::fd::uninterrupted;

/// How the operator came to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// He named it.
    Named,
    /// It lay where it is looked for.
    Found,
}

/// Why nothing is taken from a file.
#[derive(Debug)]
pub enum Distrust {
    /// It is not there.
    Missing,
    /// It can not be read.
    Unreadable(io::Error),
    /// Somebody else can have written it, or it is not what such a file is.
    Refused(String),
}

impl From<Errno> for Distrust {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Self::Missing,
            _ => Self::Unreadable(errno.into()),
        }
    }
}

impl From<io::Error> for Distrust {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Reads a file of at most so many bytes. A link is followed, as in all that the operator names; what is judged is the
/// open file itself.
pub fn read(path: &Path, bytes_max: u64, place: Place) -> Result<Vec<u8>, Distrust> {
    let user = nix::unistd::geteuid().as_raw();
    let (above, name) = (path.parent().unwrap_or(Path::new("")), path.file_name());
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let name = name.ok_or_else(|| Distrust::Refused("it is no file".to_owned()))?;
    let directory = open_directory(above).map_err(|errno| beyond_reach(errno, place))?;
    uninterrupted(|| fstatat(directory.as_fd(), name, AtFlags::empty())).map_err(|errno| beyond_reach(errno, place))?;
    // Without waiting for a writer, should it be a FIFO.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(uninterrupted(|| openat(directory.as_fd(), name, flags, Mode::empty()))?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Distrust::Refused("it is no regular file".to_owned()));
    }
    // Somebody who may rename in the directory can put a link to another file of root's there.
    if user == 0 && place == Place::Found {
        let found: FileStat = fstat(directory.as_fd())?;
        refuse_anothers("its directory", user, (found.st_uid, found.st_mode))?;
    }
    refuse_anothers("it", user, (found.uid(), found.mode()))?;
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(Distrust::Refused(format!("it has more than {bytes_max} bytes")));
    }
    Ok(content)
}

/// A directory that we may not enter, such as the home of another, holds no file of ours. One that is there and that
/// we may not read is another matter.
fn beyond_reach(errno: Errno, place: Place) -> Distrust {
    if errno == Errno::EACCES && place == Place::Found { Distrust::Missing } else { errno.into() }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    uninterrupted(|| openat(CWD, path, flags, Mode::empty()))
}

/// What root goes by is root's, and nobody else writes it. Others may share a group.
fn refuse_anothers(what: &str, user: u32, (owner, mode): (u32, u32)) -> Result<(), Distrust> {
    let refused = |why: String| Err(Distrust::Refused(why));
    if user == 0 && owner != 0 {
        return refused(format!("{what} belongs to user {owner}, and root goes only by what is root's: chown it"));
    }
    if owner != 0 && owner != user {
        return refused(format!("{what} belongs to user {owner}, and not to you or root"));
    }
    let forbidden = if user == 0 { GROUP_WRITES | OTHERS_WRITE } else { OTHERS_WRITE };
    if mode & forbidden != 0 {
        let mode = mode & 0o7777;
        return refused(format!("{what} has mode {mode:04o}, so that others can write it: chmod go-w it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(user: u32, owner: u32, mode: u32) -> bool {
        refuse_anothers("it", user, (owner, mode)).is_ok()
    }

    #[test]
    fn root_goes_by_what_only_root_writes() {
        assert!(is_taken(0, 0, 0o100_644));
        for (owner, mode) in [(1000, 0o644), (0, 0o664), (0, 0o646), (0, 0o777)] {
            assert!(!is_taken(0, owner, mode), "{owner} {mode:o}");
        }
    }

    #[test]
    fn a_user_goes_by_what_is_his_or_roots_and_not_everybodys() {
        assert!(is_taken(1000, 1000, 0o664) && is_taken(1000, 0, 0o644));
        for (owner, mode) in [(1001, 0o600), (1000, 0o666), (0, 0o646)] {
            assert!(!is_taken(1000, owner, mode), "{owner} {mode:o}");
        }
    }
}

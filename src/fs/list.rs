//! Listing a directory.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use nix::errno::Errno;
use rustix::fs::{FileType, RawDir};

use super::fd::{Fd, errno};
use super::fence;
use crate::fault::Failure;
use crate::tree::Kind;
use crate::tree::names::is_name;

/// One getdents64 call brings about 2,000 names of ordinary length.
const BUFFER_BYTES: usize = 64 << 10;

/// File systems that give EINTR of their own are asked again, see `fd::uninterrupted`.
const INTERRUPTIONS_MAX: u32 = 1000;

/// Hands every name of a freshly opened directory to `visit`, `.` and `..` left out. `Ok` means that
/// the listing is complete: any error, or a name that can not be one, is no end of the directory.
pub fn list(directory: &Fd, mut visit: impl FnMut(&CStr, Option<Kind>, u64)) -> Result<(), Failure> {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
    let mut interruptions = 0;
    loop {
        fence::check().map_err(|errno| directory.failure("getdents64", errno))?;
        let Some(entry) = entries.next() else { return Ok(()) };
        let entry = match entry {
            Ok(entry) => entry,
            Err(rustix::io::Errno::INTR) if interruptions < INTERRUPTIONS_MAX => {
                interruptions += 1;
                continue;
            }
            Err(error) => return Err(directory.failure("getdents64", errno(error))),
        };
        let name = entry.file_name();
        match name.to_bytes() {
            b"." | b".." => {}
            bytes if is_name(bytes) => visit(name, kind(entry.file_type()), entry.ino()),
            _ => return Err(directory.failure("getdents64", Errno::EBADMSG)),
        }
    }
}

fn kind(file_type: FileType) -> Option<Kind> {
    match file_type {
        FileType::Directory => Some(Kind::Directory),
        FileType::RegularFile => Some(Kind::File),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::Socket => Some(Kind::Socket),
        FileType::CharacterDevice => Some(Kind::CharacterDevice),
        FileType::BlockDevice => Some(Kind::BlockDevice),
        FileType::Unknown => None,
    }
}

/// Hands at most `count` names to `visit`.
pub fn first(directory: &Fd, count: usize, mut visit: impl FnMut(&CStr)) -> Result<(), Failure> {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
    let (mut left, mut interruptions) = (count, 0);
    fence::check().map_err(|errno| directory.failure("getdents64", errno))?;
    while left > 0
        && let Some(entry) = entries.next()
    {
        let entry = match entry {
            Ok(entry) => entry,
            Err(rustix::io::Errno::INTR) if interruptions < INTERRUPTIONS_MAX => {
                interruptions += 1;
                continue;
            }
            Err(error) => return Err(directory.failure("getdents64", errno(error))),
        };
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            visit(entry.file_name());
            left -= 1;
        }
    }
    Ok(())
}

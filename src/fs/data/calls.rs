//! The system calls on the content of files, one function each with its errno policy.

use std::ops::Range;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, fdatasync, ftruncate, lseek, syncfs};
use rustix::fs::OFlags;

use super::extents::Answer;
use crate::fault::Failure;
use crate::fs::fd::{Fd, errno, uninterrupted};
use crate::fs::fence;

/// Reads once; 0 is the end of the file.
pub(in crate::fs) fn read_at(file: &Fd, window: &mut [u8], offset: u64) -> Result<usize, Failure> {
    let at = file_offset(file, "pread", offset)?;
    uninterrupted(|| pread(file.as_fd(), window, at)).map_err(|errno| file.failure("pread", errno))
}

/// Reads until the window is full or the file ends.
pub(super) fn read_full(file: &Fd, window: &mut [u8], offset: u64) -> Result<usize, Failure> {
    let mut length = 0;
    while let Some(rest) = window.get_mut(length..)
        && !rest.is_empty()
    {
        match read_at(file, rest, offset + length as u64)? {
            0 => break,
            got => length += got,
        }
    }
    Ok(length)
}

/// Writes all of it.
pub(in crate::fs) fn write_at(file: &Fd, mut data: &[u8], mut offset: u64) -> Result<(), Failure> {
    while !data.is_empty() {
        let at = file_offset(file, "pwrite", offset)?;
        let put = uninterrupted(|| pwrite(file.as_fd(), data, at)).map_err(|errno| file.failure("pwrite", errno))?;
        if put == 0 {
            return Err(file.failure("pwrite", Errno::EIO));
        }
        data = data.get(put..).unwrap_or_default();
        offset += put as u64;
    }
    Ok(())
}

fn file_offset(file: &Fd, operation: &'static str, offset: u64) -> Result<i64, Failure> {
    i64::try_from(offset).map_err(|_| file.failure(operation, Errno::EOVERFLOW))
}

/// Where the next data begin at or after `offset`.
pub(super) fn seek_data(file: &Fd, offset: u64) -> Result<Answer, Failure> {
    seek(file, offset, Whence::SeekData)
}

/// Where the next hole begins at or after `offset`.
pub(super) fn seek_hole(file: &Fd, offset: u64) -> Result<Answer, Failure> {
    seek(file, offset, Whence::SeekHole)
}

fn seek(file: &Fd, offset: u64, whence: Whence) -> Result<Answer, Failure> {
    let at = file_offset(file, "lseek", offset)?;
    match uninterrupted(|| lseek(file.as_fd(), at, whence)) {
        Ok(found) => Ok(u64::try_from(found).map_or(Answer::Unknown, Answer::At)),
        // No data, or no hole, up to the end of the file (lseek(2)).
        Err(Errno::ENXIO) => Ok(Answer::Nowhere),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(Answer::Unknown),
        Err(errno) => Err(file.failure("lseek", errno)),
    }
}

/// Sets the size of a file.
pub fn set_size(file: &Fd, size: u64) -> Result<(), Failure> {
    let size = file_offset(file, "ftruncate", size)?;
    uninterrupted(|| ftruncate(file.as_fd(), size)).map_err(|errno| file.failure("ftruncate", errno))
}

/// Makes data and size durable. After an error the data are lost and must be written anew: a second
/// call would answer 0 and prove nothing (fsync(2), "NOTES").
pub fn flush(file: &Fd) -> Result<(), Failure> {
    fence::check().and_then(|()| fdatasync(file.as_fd())).map_err(|errno| file.failure("fdatasync", errno))
}

/// Makes everything durable that this node has written to a file system; errors since the file was
/// opened are reported from Linux 5.8 on (syncfs(2)).
pub fn flush_file_system(directory: &Fd) -> Result<(), Failure> {
    syncfs(directory.as_fd()).map_err(|errno| directory.failure("syncfs", errno))
}

/// Writes over a file of ours from its beginning on.
pub fn overwrite(file: &Fd, content: &[u8]) -> Result<(), Failure> {
    write_at(file, content, 0)
}

/// Appends to a file of ours.
pub fn append(file: &Fd, content: &[u8]) -> Result<(), Failure> {
    let end = crate::fs::attributes::of_fd(file)?.size;
    write_at(file, content, end)
}

/// Reads a small file of ours: at most `bytes_max` bytes.
pub fn read_all(file: &Fd, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut content = vec![0; bytes_max];
    let length = read_full(file, &mut content, 0)?;
    content.truncate(length);
    Ok(content)
}

/// Starts writing what is dirty of a range, and drops from the page cache what is clean. Advice: that
/// a file system does not take it is no error (posix_fadvise(2)).
pub(super) fn forget(file: &Fd, range: &Range<u64>) {
    advise(file, range, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// A length of 0 means up to the end of the file.
fn advise(file: &Fd, range: &Range<u64>, advice: PosixFadviseAdvice) {
    let (start, length) = (i64::try_from(range.start), i64::try_from(range.end.saturating_sub(range.start)));
    if let (Ok(start), Ok(length)) = (start, length) {
        let _ = posix_fadvise(file.as_fd(), start, length, advice);
    }
}

/// Turns O_DIRECT on or off. False: the file system does not have it, or not for this file.
pub(super) fn set_direct(file: &Fd, on: bool) -> bool {
    let set = || -> Result<(), Errno> {
        fence::check()?;
        let mut flags = rustix::fs::fcntl_getfl(file.as_fd()).map_err(errno)?;
        flags.set(OFlags::DIRECT, on);
        rustix::fs::fcntl_setfl(file.as_fd(), flags).map_err(errno)
    };
    set().is_ok()
}

/// Lets the empty target share all blocks of the source.
pub(super) fn clone_file(source: &Fd, target: &Fd) -> Result<(), Errno> {
    uninterrupted(|| rustix::fs::ioctl_ficlone(target.as_fd(), source.as_fd()).map_err(errno))
}

/// Has the kernel copy up to `bytes` from `offset` on in both files. Returns how many it did.
pub(super) fn copy_file_range(source: &Fd, target: &Fd, offset: u64, bytes: u64) -> Result<u64, Errno> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let call = || {
        let (mut from, mut to) = (offset, offset);
        rustix::fs::copy_file_range(source.as_fd(), Some(&mut from), target.as_fd(), Some(&mut to), bytes)
            .map_err(errno)
    };
    uninterrupted(call).map(|put| put as u64)
}

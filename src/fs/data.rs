//! The content of regular files: copying it, and making it durable.

use std::cell::RefCell;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, fdatasync, ftruncate, lseek, syncfs};

use super::fd::{Fd, uninterrupted};
use crate::fault::Failure;

/// What one read and one write move at most.
pub const BUFFER_BYTES: usize = 1 << 20;

thread_local! {
    /// One buffer a worker, so that a small file costs no allocation.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

/// What copying the content of a file did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// The end of the source file, as reading found it.
    pub end: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written: less than `end` where the source has holes.
    pub written: u64,
    /// The target's size was set apart from its data: a lost write would not show in the size.
    pub size_set_apart: bool,
}

/// Copies the content of `source` into the empty file `target`. `size` and `allocated` are what the
/// source had when it was opened; a file that grows is read no further than its size and one byte,
/// and the caller's second look finds the change. `progress` is called for each buffer.
pub fn copy(
    source: &Fd,
    target: &Fd,
    size: u64,
    allocated: u64,
    mut progress: impl FnMut(),
) -> Result<Copied, Failure> {
    BUFFER.with_borrow_mut(|buffer| {
        if allocated < size && size > BLOCK_BYTES {
            return copy_with_holes(source, target, size, buffer, &mut progress);
        }
        let mut copied = Copied::default();
        copy_range(source, target, 0..size, buffer, &mut copied, &mut progress)?;
        Ok(copied)
    })
}

/// A file not larger than this is copied whole: a hole in it would save nothing.
const BLOCK_BYTES: u64 = 4096;

/// Copies a range; stops at the end of the source. Sets `end` to where reading ended.
fn copy_range(
    source: &Fd,
    target: &Fd,
    range: std::ops::Range<u64>,
    buffer: &mut [u8],
    copied: &mut Copied,
    progress: &mut impl FnMut(),
) -> Result<(), Failure> {
    let mut offset = range.start;
    loop {
        // One byte more than is left: a file that ends where it should is read in one call, and
        // one that has grown shows it.
        let left = (range.end - offset).saturating_add(1);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(window) = buffer.get_mut(..want) else {
            break;
        };
        let got = read_at(source, window, offset)?;
        let Some(data) = window.get(..got) else { break };
        write_at(target, data, offset)?;
        offset += got as u64;
        copied.read += got as u64;
        copied.written += got as u64;
        progress();
        // Short of what was asked is the end of a regular file, and so is a byte beyond the range.
        if got < want || offset >= range.end {
            break;
        }
    }
    copied.end = copied.end.max(offset);
    Ok(())
}

fn read_at(source: &Fd, window: &mut [u8], offset: u64) -> Result<usize, Failure> {
    let offset = file_offset(source, "pread", offset)?;
    uninterrupted(|| pread(source.as_fd(), window, offset)).map_err(|errno| source.failure("pread", errno))
}

fn write_at(target: &Fd, mut data: &[u8], mut offset: u64) -> Result<(), Failure> {
    while !data.is_empty() {
        let at = file_offset(target, "pwrite", offset)?;
        let put =
            uninterrupted(|| pwrite(target.as_fd(), data, at)).map_err(|errno| target.failure("pwrite", errno))?;
        if put == 0 {
            return Err(target.failure("pwrite", Errno::EIO));
        }
        data = data.get(put..).unwrap_or_default();
        offset += put as u64;
    }
    Ok(())
}

fn file_offset(fd: &Fd, operation: &'static str, offset: u64) -> Result<i64, Failure> {
    i64::try_from(offset).map_err(|_| fd.failure(operation, Errno::EOVERFLOW))
}

/// Copies the data between the holes, then sets the size. A file system that can not tell holes
/// answers that everything is data.
fn copy_with_holes(
    source: &Fd,
    target: &Fd,
    size: u64,
    buffer: &mut [u8],
    progress: &mut impl FnMut(),
) -> Result<Copied, Failure> {
    let mut copied = Copied { size_set_apart: true, ..Copied::default() };
    let mut offset = 0;
    while offset < size {
        let Some(data) = seek(source, offset, Whence::SeekData)? else {
            break;
        };
        if data >= size {
            break;
        }
        let hole = seek(source, data, Whence::SeekHole)?.unwrap_or(size).min(size);
        if data < offset || hole <= data {
            return Err(source.failure("lseek", Errno::EIO));
        }
        copy_segment(source, target, data..hole, buffer, &mut copied, progress)?;
        offset = hole;
    }
    copied.end = size;
    set_size(target, size)?;
    Ok(copied)
}

/// Copies exactly a range that the source said is data; where the file has become shorter meanwhile
/// zeros stay, and the caller's second look finds the change.
fn copy_segment(
    source: &Fd,
    target: &Fd,
    range: std::ops::Range<u64>,
    buffer: &mut [u8],
    copied: &mut Copied,
    progress: &mut impl FnMut(),
) -> Result<(), Failure> {
    let mut offset = range.start;
    while offset < range.end {
        let want = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(buffer.len());
        let Some(window) = buffer.get_mut(..want) else {
            break;
        };
        let got = read_at(source, window, offset)?;
        if got == 0 {
            break;
        }
        let Some(data) = window.get(..got) else { break };
        write_at(target, data, offset)?;
        offset += got as u64;
        copied.read += got as u64;
        copied.written += got as u64;
        progress();
    }
    Ok(())
}

/// The next data or hole; `None` beyond the last data.
fn seek(source: &Fd, offset: u64, whence: Whence) -> Result<Option<u64>, Failure> {
    let at = file_offset(source, "lseek", offset)?;
    match uninterrupted(|| lseek(source.as_fd(), at, whence)) {
        Ok(found) => Ok(Some(u64::try_from(found).unwrap_or(0))),
        Err(Errno::ENXIO) => Ok(None),
        // No holes known: all of it is data (lseek(2)).
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) if matches!(whence, Whence::SeekData) => Ok(Some(offset)),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(source.failure("lseek", errno)),
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
    fdatasync(file.as_fd()).map_err(|errno| file.failure("fdatasync", errno))
}

/// Makes everything durable that this node has written to a file system; errors since the file was
/// opened are reported from Linux 5.8 on (syncfs(2)).
pub fn flush_file_system(directory: &Fd) -> Result<(), Failure> {
    syncfs(directory.as_fd()).map_err(|errno| directory.failure("syncfs", errno))
}

/// Appends to a file of ours.
pub fn append(file: &Fd, content: &[u8]) -> Result<(), Failure> {
    let end = super::attributes::of_fd(file)?.size;
    write_at(file, content, end)
}

/// Reads a small file of ours: at most `bytes_max` bytes.
pub fn read_all(file: &Fd, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut content = vec![0; bytes_max];
    let mut length = 0;
    while let Some(window) = content.get_mut(length..)
        && !window.is_empty()
    {
        match read_at(file, window, length as u64)? {
            0 => break,
            got => length += got,
        }
    }
    content.truncate(length);
    Ok(content)
}

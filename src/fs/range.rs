//! Temporary.
use super::Fd;
use super::data::Copied;
use crate::fault::Failure;
use std::ops::Range;
use std::os::fd::AsFd;
pub fn copy_range(source: &Fd, target: &Fd, range: Range<u64>, mut progress: impl FnMut()) -> Result<Copied, Failure> {
    let mut copied = Copied::default();
    let mut buffer = vec![0u8; 1 << 20];
    let mut offset = range.start;
    while offset < range.end {
        let want = ((range.end - offset) as usize).min(buffer.len());
        let got = nix::sys::uio::pread(source.as_fd(), &mut buffer[..want], offset as i64)
            .map_err(|e| source.failure("pread", e))?;
        if got == 0 {
            break;
        }
        let put = nix::sys::uio::pwrite(target.as_fd(), &buffer[..got], offset as i64)
            .map_err(|e| target.failure("pwrite", e))?;
        offset += put as u64;
        copied.read += got as u64;
        copied.written += put as u64;
        progress();
    }
    copied.end = offset;
    Ok(copied)
}
pub fn same_content(a: &Fd, b: &Fd, range: Range<u64>, mut progress: impl FnMut()) -> Result<bool, Failure> {
    let (mut x, mut y) = (vec![0u8; 1 << 20], vec![0u8; 1 << 20]);
    let mut offset = range.start;
    while offset < range.end {
        let want = ((range.end - offset) as usize).min(x.len());
        let got = nix::sys::uio::pread(a.as_fd(), &mut x[..want], offset as i64).map_err(|e| a.failure("pread", e))?;
        let other =
            nix::sys::uio::pread(b.as_fd(), &mut y[..want], offset as i64).map_err(|e| b.failure("pread", e))?;
        if got != other || x[..got] != y[..got] {
            return Ok(false);
        }
        if got == 0 {
            break;
        }
        offset += got as u64;
        progress();
    }
    Ok(true)
}

//! O_DIRECT: large files that pass by the page cache.
//!
//! The kernel wants offset, length and memory aligned. What is not aligned, which is the tail of a
//! file at most, goes through the cache; so does all of a file for which the file system refuses.

use std::ops::Range;

use nix::errno::Errno;

use super::buffers::ALIGNMENT;
use super::calls::{read_at, set_direct, write_at};
use crate::fault::Failure;
use crate::fs::Fd;

/// A range not larger than this goes through the cache, as it asks for it.
const DIRECT_BYTES_MIN: u64 = 8 << 20;

/// One end of a copy, with its cache or without.
pub(super) struct End<'f> {
    file: &'f Fd,
    is_direct: bool,
}

impl<'f> End<'f> {
    /// With the page cache.
    pub(super) fn cached(file: &'f Fd) -> Self {
        Self { file, is_direct: false }
    }

    /// Without it, if the range is large enough and the file system has that.
    pub(super) fn direct(file: &'f Fd, range: &Range<u64>) -> Self {
        let is_large = range.end.saturating_sub(range.start) >= DIRECT_BYTES_MIN;
        Self { file, is_direct: is_large && is_aligned(range.start) && set_direct(file, true) }
    }

    /// Reads once. The window is a buffer of ours.
    pub(super) fn read(&mut self, window: &mut [u8], offset: u64) -> Result<usize, Failure> {
        let fits = is_aligned(offset) && is_aligned(window.len() as u64);
        self.attempt(fits, |file| read_at(file, window, offset))
    }

    /// Writes all of it: what is aligned, then the rest.
    pub(super) fn write(&mut self, data: &[u8], offset: u64) -> Result<(), Failure> {
        let aligned = data.len() - data.len() % ALIGNMENT;
        let starts_well = is_aligned(offset) && (data.as_ptr() as usize).is_multiple_of(ALIGNMENT);
        let cut = if self.is_direct && starts_well { aligned } else { 0 };
        let (most, tail) = data.split_at_checked(cut).unwrap_or((data, &[]));
        if !most.is_empty() {
            self.attempt(true, |file| write_at(file, most, offset))?;
        }
        if tail.is_empty() {
            return Ok(());
        }
        self.attempt(false, |file| write_at(file, tail, offset + most.len() as u64))
    }

    /// A call that fits, or one that does not: then, and when the file system says that it does not
    /// (EINVAL, open(2)), with the cache from here on.
    fn attempt<T>(&mut self, fits: bool, mut call: impl FnMut(&Fd) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.is_direct && fits {
            match call(self.file) {
                Err(failure) if failure.errno == Errno::EINVAL as i32 => {}
                result => return result,
            }
        }
        self.end();
        call(self.file)
    }

    /// The descriptor is as it was before. After an error nobody uses it any more.
    pub(super) fn end(&mut self) {
        if self.is_direct {
            set_direct(self.file, false);
            self.is_direct = false;
        }
    }
}

/// What to ask for when `left` bytes of a range are left. At the end of the source that is one byte
/// more, with O_DIRECT up to a page: a file that ends where it should is read in one call, and one
/// that has grown shows it.
pub(super) fn wanted(left: u64, is_last: bool, direct: bool) -> u64 {
    let page = ALIGNMENT as u64;
    match (direct, is_last) {
        (false, true) => left + 1,
        (true, true) => (left + page) / page * page,
        (true, false) if left >= page => left / page * page,
        (_, false) => left,
    }
}

fn is_aligned(n: u64) -> bool {
    n.is_multiple_of(ALIGNMENT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_source_is_looked_beyond() {
        assert_eq!(wanted(0, true, false), 1);
        assert_eq!(wanted(10_000, true, false), 10_001);
        assert_eq!(wanted(10_000, true, true), 12_288);
        assert_eq!(wanted(8_192, true, true), 12_288);
    }

    #[test]
    fn within_the_source_pages_are_asked_for_while_there_are_any() {
        assert_eq!(wanted(10_000, false, true), 8_192);
        assert_eq!(wanted(1_808, false, true), 1_808);
        assert_eq!(wanted(10_000, false, false), 10_000);
    }
}

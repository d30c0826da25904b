//! Whether two files have the same content.

use std::cell::RefCell;
use std::ops::Range;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::uio::pread;
use nix::unistd::{Whence, lseek};

use super::attributes;
use super::fd::{Fd, uninterrupted};
use crate::fault::Failure;

/// What is read of each file at once.
const BUFFER_BYTES: usize = 1 << 20;

thread_local! {
    /// Two buffers a worker, so that a small file costs no allocation.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Whether a range of both files has the same bytes. A hole is as good as zeros, and where both have
/// holes nothing is read. A file that ends before the range does differs from one that does not.
/// `progress` is called for each buffer.
pub fn same_content(a: &Fd, b: &Fd, range: Range<u64>, mut progress: impl FnMut()) -> Result<bool, Failure> {
    BUFFERS.with_borrow_mut(|(left, right)| {
        left.resize(BUFFER_BYTES, 0);
        right.resize(BUFFER_BYTES, 0);
        if has_parts(&range) && !end_alike(a, b, range.end)? {
            return Ok(false);
        }
        let mut offset = range.start;
        while offset < range.end {
            let part = next_part(a, b, offset, range.end)?;
            offset = part.end;
            if !same_part(a, b, part, (left, right), &mut progress)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// What one buffer holds is read without asking for holes.
fn has_parts(range: &Range<u64>) -> bool {
    range.end - range.start > BUFFER_BYTES as u64
}

/// Beyond the end of a file there is no data, just as in a hole: so its size must tell.
fn end_alike(a: &Fd, b: &Fd, end: u64) -> Result<bool, Failure> {
    let size = |file| Ok(attributes::of_fd(file)?.size.min(end));
    Ok(size(a)? == size(b)?)
}

/// The next part from `offset` on that is not a hole on both sides; empty at the end if there is none.
fn next_part(a: &Fd, b: &Fd, offset: u64, end: u64) -> Result<Range<u64>, Failure> {
    if !has_parts(&(offset..end)) {
        return Ok(offset..end);
    }
    let data = |file| Ok(seek(file, offset, Whence::SeekData)?.map_or(end, |found| found.clamp(offset, end)));
    let start = data(a)?.min(data(b)?);
    if start == end {
        return Ok(end..end);
    }
    let hole = |file| Ok(seek(file, start, Whence::SeekHole)?.map_or(end, |found| found.clamp(start, end)));
    let stop = hole(a)?.max(hole(b)?);
    // A file that says to have data here, and a hole at once, is not believed.
    Ok(start..if stop == start { end } else { stop })
}

/// The next data or hole; `None` beyond the end. A file system that can not tell holes has none.
fn seek(file: &Fd, offset: u64, whence: Whence) -> Result<Option<u64>, Failure> {
    let is_data = matches!(whence, Whence::SeekData);
    match uninterrupted(|| lseek(file.as_fd(), file_offset(offset), whence)) {
        Ok(found) => Ok(Some(u64::try_from(found).unwrap_or(0))),
        Err(Errno::ENXIO) => Ok(None),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(is_data.then_some(offset)),
        Err(errno) => Err(file.failure("lseek", errno)),
    }
}

/// No file is longer than the kernel's signed offsets reach.
fn file_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn same_part(
    a: &Fd,
    b: &Fd,
    part: Range<u64>,
    (left, right): (&mut [u8], &mut [u8]),
    progress: &mut impl FnMut(),
) -> Result<bool, Failure> {
    let mut offset = part.start;
    while offset < part.end {
        let want = usize::try_from(part.end - offset).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let (left, right) = (left.get_mut(..want), right.get_mut(..want));
        let (Some(left), Some(right)) = (left, right) else { break };
        let (here, there) = (fill(a, left, offset)?, fill(b, right, offset)?);
        if here != there || left.get(..here) != right.get(..there) {
            return Ok(false);
        }
        progress();
        if here < want {
            break;
        }
        offset += here as u64;
    }
    Ok(true)
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &Fd, buffer: &mut [u8], offset: u64) -> Result<usize, Failure> {
    let mut length = 0;
    while let Some(window) = buffer.get_mut(length..)
        && !window.is_empty()
    {
        let at = file_offset(offset + length as u64);
        match uninterrupted(|| pread(file.as_fd(), window, at)).map_err(|errno| file.failure("pread", errno))? {
            0 => break,
            got => length += got,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;
    use proptest::prelude::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn file(size: u64, pieces: &[(u64, Vec<u8>)]) -> Fd {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        for (offset, bytes) in pieces {
            file.write_all_at(bytes, *offset).unwrap();
        }
        Fd::new(file.into(), Side::Source)
    }

    fn same(a: &Fd, b: &Fd, end: u64) -> bool {
        same_content(a, b, 0..end, || {}).unwrap()
    }

    #[test]
    fn a_hole_is_as_good_as_zeros() {
        let size = 5 << 20;
        let mut zeros = tempfile::tempfile().unwrap();
        zeros.write_all(&vec![0; size as usize]).unwrap();
        let zeros = Fd::new(zeros.into(), Side::Target);
        assert!(same(&file(size, &[]), &zeros, size));
        assert!(!same(&file(size, &[(size - 1, vec![1])]), &zeros, size));
    }

    #[test]
    fn holes_on_both_sides_are_not_read() {
        let size = 1 << 40;
        let piece = [(1 << 39, b"here".to_vec())];
        let mut buffers = 0;
        assert!(same_content(&file(size, &piece), &file(size, &piece), 0..size, || buffers += 1).unwrap());
        assert!(buffers <= 2, "{buffers} buffers read");
    }

    #[test]
    fn a_file_that_ends_earlier_differs() {
        assert!(!same(&file(10, &[]), &file(9, &[]), 10));
        assert!(same(&file(10, &[]), &file(9, &[]), 9));
        assert!(!same(&file(3 << 20, &[(0, vec![1])]), &file(2 << 20, &[(0, vec![1])]), 3 << 20));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn one_byte_anywhere_is_found(pieces in proptest::collection::vec((0u64..4 << 20, 1usize..9000), 0..6), at in 0u64..4 << 20) {
            let size = (4 << 20) + 10_000;
            let pieces: Vec<_> = pieces.into_iter().map(|(offset, length)| (offset, vec![7; length])).collect();
            let (a, b) = (file(size, &pieces), file(size, &pieces));
            prop_assert!(same(&a, &b, size));
            let spoilt = [pieces, vec![(at, vec![9])]].concat();
            prop_assert!(!same(&a, &file(size, &spoilt), size));
        }
    }
}

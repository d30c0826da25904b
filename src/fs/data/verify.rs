//! Reading back what was written.

use std::ops::Range;

use super::buffers::with_buffer;
use super::calls::{forget, read_at, seek_data, seek_hole};
use super::digest::{Digest, Hasher, Hashing};
use super::extents::{Extents, Step};
use crate::fault::Failure;
use crate::fs::Fd;

/// What is read back at once.
const READ_BYTES: usize = 1 << 20;

/// Whether a range of a file that was flushed reads as what was copied into it. Its pages are dropped
/// first, so that it is the storage that answers and not our memory.
pub fn reads_back(
    target: &Fd,
    range: Range<u64>,
    hashing: Hashing,
    expected: &Digest,
    progress: &mut dyn FnMut(u64),
) -> Result<bool, Failure> {
    forget(target, &range);
    let mut hasher = Hasher::new(hashing);
    let mut extents = Extents::of(range);
    loop {
        match extents.next(|at| seek_data(target, at), |at| seek_hole(target, at))? {
            Step::Data(data) | Step::Unknown(data) => {
                with_buffer(READ_BYTES, |buffer| read(target, data, buffer, &mut hasher, progress))?;
            }
            Step::End => return Ok(hasher.finish() == *expected),
        }
    }
}

fn read(
    target: &Fd,
    range: Range<u64>,
    buffer: &mut [u8],
    hasher: &mut Hasher,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Failure> {
    let mut offset = range.start;
    while offset < range.end {
        let want = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(buffer.len());
        let Some(window) = buffer.get_mut(..want) else { break };
        let got = read_at(target, window, offset)?;
        if got == 0 {
            break;
        }
        hasher.update(offset, window.get(..got).unwrap_or_default());
        offset += got as u64;
        progress(got as u64);
    }
    Ok(())
}

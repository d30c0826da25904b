//! Comparing the content of two files.

use std::ops::Range;

use super::buffers::{is_zero, with_two_buffers};
use super::calls::{read_full, seek_data};
use super::extents::Answer;
use super::{COMPARE_BYTES, trust};
use crate::fault::Failure;
use crate::fs::{Fd, attributes};

/// Whether a range holds the same bytes in both files; a hole equals zeros, and is skipped where both
/// have one. Where both end early, at the same place, they are the same. `progress` hears of bytes
/// that are done with.
pub fn same_content(a: &Fd, b: &Fd, range: Range<u64>, progress: &mut dyn FnMut(u64)) -> Result<bool, Failure> {
    with_two_buffers(COMPARE_BYTES, |first, second| {
        let mut offset = range.start;
        let mut holes = None;
        while offset < range.end {
            let want = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
            let (first, second) = (up_to(first, want), up_to(second, want));
            let got = read_full(a, first, offset)?;
            if got != read_full(b, second, offset)? {
                return Ok(false);
            }
            let (ours, theirs) = (up_to(first, got), up_to(second, got));
            if ours != theirs {
                return Ok(false);
            }
            if got == 0 {
                break;
            }
            let mut next = offset + got as u64;
            // Only zeros make it worth asking how far a hole goes.
            if is_zero(ours) && *holes.get_or_insert_with(|| trust::holes(a) && trust::holes(b)) {
                next = next_data(a, next, range.end)?.min(next_data(b, next, range.end)?).max(next);
            }
            progress(next.min(range.end) - offset);
            offset = next;
        }
        Ok(true)
    })
}

fn up_to(buffer: &mut [u8], bytes: usize) -> &mut [u8] {
    let length = buffer.len().min(bytes);
    buffer.get_mut(..length).unwrap_or_default()
}

/// Where the next data may begin; `end` if there are none before it.
fn next_data(file: &Fd, offset: u64, end: u64) -> Result<u64, Failure> {
    match seek_data(file, offset)? {
        Answer::At(start) => Ok(start.min(end)),
        // lseek(2) says so of a hole at the end, and of what lies beyond the end.
        Answer::Nowhere => Ok(if attributes::of_fd(file)?.size >= end { end } else { offset }),
        Answer::Unknown => Ok(offset),
    }
}

//! Buffers of a worker, and what is zero in them.

use std::cell::RefCell;
use std::ops::Range;

/// Where buffers begin in memory, and how long they are, in steps of this: all file systems that we
/// know can read into such a buffer without their cache.
pub(super) const ALIGNMENT: usize = 4096;

thread_local! {
    /// Two buffers a worker, so that a small file costs no allocation; what is never used of them is
    /// never given by the system.
    static BUFFERS: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Lends one buffer of `bytes`, rounded up to whole pages.
pub(super) fn with_buffer<T>(bytes: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFERS.with_borrow_mut(|[first, _]| work(aligned(first, bytes)))
}

/// Lends two buffers.
pub(super) fn with_two_buffers<T>(bytes: usize, work: impl FnOnce(&mut [u8], &mut [u8]) -> T) -> T {
    BUFFERS.with_borrow_mut(|[first, second]| work(aligned(first, bytes), aligned(second, bytes)))
}

fn aligned(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    let bytes = bytes.max(1).next_multiple_of(ALIGNMENT);
    if buffer.len() < bytes + ALIGNMENT {
        *buffer = vec![0; bytes + ALIGNMENT];
    }
    let first = buffer.as_ptr().align_offset(ALIGNMENT);
    buffer.get_mut(first..first + bytes).unwrap_or_default()
}

/// Whether all bytes are zero.
pub(super) fn is_zero(data: &[u8]) -> bool {
    // Without a branch a byte, so that the compiler uses vectors; most data end it at once.
    data.chunks(256).all(|part| part.iter().fold(0, |any, byte| any | byte) == 0)
}

/// The parts of a window that must be written when whole blocks of zeros are left as holes. `offset`
/// is where the window lies in the file: blocks lie at multiples of `block`.
pub(super) fn data_runs(window: &[u8], offset: u64, block: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while start < window.len() {
        let into_block = usize::try_from((offset + start as u64) % block as u64).unwrap_or(0);
        let end = (start + block - into_block).min(window.len());
        if !is_zero(window.get(start..end).unwrap_or_default()) {
            match runs.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(start..end),
            }
        }
        start = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_not_written_is_zero_and_runs_are_blocks(
            pattern in proptest::collection::vec(0u8..4, 1..300), offset in 0u64..1_000, stretch in 1usize..40,
        ) {
            // Mostly zeros, in long runs.
            let window: Vec<u8> = pattern.iter().flat_map(|&x| vec![u8::from(x == 3); stretch]).collect();
            let runs = data_runs(&window, offset, 64);
            let mut at = 0;
            for run in &runs {
                prop_assert!(run.start >= at && run.end > run.start);
                prop_assert!(is_zero(&window[at..run.start]));
                prop_assert!(run.start == 0 || (offset + run.start as u64).is_multiple_of(64));
                prop_assert!(run.end == window.len() || (offset + run.end as u64).is_multiple_of(64));
                at = run.end;
            }
            prop_assert!(is_zero(&window[at..]));
        }

        #[test]
        fn zero_is_all_bytes_zero(data in proptest::collection::vec(0u8..2, 0..600)) {
            prop_assert_eq!(is_zero(&data), data.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_buffer_begins_at_a_page_and_is_as_long_as_asked() {
        for bytes in [1, 4096, 5000, 1 << 20] {
            with_two_buffers(bytes, |first, second| {
                for buffer in [first, second] {
                    assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
                    assert_eq!(buffer.len(), bytes.next_multiple_of(ALIGNMENT));
                }
            });
        }
    }
}

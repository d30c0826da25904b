//! Where data and holes of a file lie, as lseek(2) tells it, believed only as far as it makes sense.
//!
//! SEEK_HOLE has answered with wrong zeros for files that were just written (openzfs/zfs#15526), and
//! with places that are no progress, which sent other programs round for ever. So an answer must be a
//! place where an extent may begin or end, and go forward; else the caller reads everything. That
//! bounds the number of steps too.

use std::ops::Range;

/// What lseek(2) answers to SEEK_DATA or SEEK_HOLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// There it begins.
    At(u64),
    /// There is none up to the end of the file.
    Nowhere,
    /// The file system can not tell.
    Unknown,
}

/// The next step through a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Data; all between the last step and it is a hole.
    Data(Range<u64>),
    /// What is left of the range is a hole, or nothing.
    End,
    /// What is left can not be told, or the answers make no sense.
    Unknown(Range<u64>),
}

/// The smallest block of a file system that we know.
const EXTENT_BYTES_MIN: u64 = 512;

/// A walk through the extents of a range.
#[derive(Debug)]
pub(super) struct Extents {
    left: Range<u64>,
}

impl Extents {
    /// From the start of a range.
    pub(super) fn of(range: Range<u64>) -> Self {
        Self { left: range }
    }

    /// The next data. `data` and `hole` ask for what lies at or after an offset. After `End` or
    /// `Unknown` there are no more.
    pub(super) fn next<E>(
        &mut self,
        data: impl FnOnce(u64) -> Result<Answer, E>,
        hole: impl FnOnce(u64) -> Result<Answer, E>,
    ) -> Result<Step, E> {
        let left = self.left.clone();
        self.left.start = left.end;
        if left.is_empty() {
            return Ok(Step::End);
        }
        let start = match data(left.start)? {
            Answer::At(start) if start < left.start => return Ok(Step::Unknown(left)),
            Answer::At(start) if start >= left.end => return Ok(Step::End),
            Answer::At(start) if start != left.start && !is_border(start) => return Ok(Step::Unknown(left)),
            Answer::At(start) => start,
            Answer::Nowhere => return Ok(Step::End),
            Answer::Unknown => return Ok(Step::Unknown(left)),
        };
        // Every file ends with a hole, so "nowhere" is as strange as a hole where data are.
        let end = match hole(start)? {
            Answer::At(end) if end > start && (is_border(end) || end >= left.end) => end.min(left.end),
            _ => return Ok(Step::Unknown(left)),
        };
        self.left.start = end;
        Ok(Step::Data(start..end))
    }
}

/// Where an extent may begin or end, but for the end of the file.
fn is_border(offset: u64) -> bool {
    offset.is_multiple_of(EXTENT_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// A file of `blocks` blocks of 512 bytes; true is data.
    fn ask(blocks: &[bool], offset: u64, wanted: bool) -> Answer {
        let size = blocks.len() as u64 * 512;
        if offset >= size {
            return Answer::Nowhere;
        }
        let found = (offset / 512..).zip(&blocks[(offset / 512) as usize..]).find(|(_, is_data)| **is_data == wanted);
        match found {
            Some((block, _)) => Answer::At(offset.max(block * 512)),
            None if wanted => Answer::Nowhere,
            None => Answer::At(size),
        }
    }

    fn walk(range: Range<u64>, mut oracle: impl FnMut(u64, bool) -> Answer) -> (Vec<Range<u64>>, Step) {
        let (mut extents, mut found) = (Extents::of(range), Vec::new());
        let oracle = std::cell::RefCell::new(&mut oracle);
        loop {
            let step = extents
                .next(|at| Ok::<_, Infallible>(oracle.borrow_mut()(at, true)), |at| Ok(oracle.borrow_mut()(at, false)));
            match step {
                Ok(Step::Data(range)) => found.push(range),
                Ok(last) => return (found, last),
            }
        }
    }

    proptest! {
        #[test]
        fn data_of_any_part_of_a_file_are_found_and_nothing_else(
            blocks in proptest::collection::vec(any::<bool>(), 1..60), from in 0.0..1.0f64, to in 0.0..1.0f64,
        ) {
            let size = blocks.len() as f64 * 512.0;
            let range = (size * from.min(to)) as u64..(size * from.max(to)) as u64;
            let (found, last) = walk(range.clone(), |at, wanted| ask(&blocks, at, wanted));
            prop_assert_eq!(last, Step::End);
            for at in range {
                let is_data = blocks[(at / 512) as usize];
                prop_assert_eq!(found.iter().any(|data| data.contains(&at)), is_data, "at {}", at);
            }
        }

        #[test]
        fn any_answers_end_in_steps_that_go_forward(answers in proptest::collection::vec(0u64..5_000, 1..200)) {
            let mut answers = answers.into_iter().cycle();
            let (found, last) = walk(0..4_096, |_, _| match answers.next() {
                Some(4_900..) => Answer::Unknown,
                Some(4_800..) => Answer::Nowhere,
                Some(at) => Answer::At(at),
                None => Answer::Unknown,
            });
            let mut at = 0;
            for data in found {
                prop_assert!(data.start >= at && data.end > data.start && data.end <= 4_096);
                at = data.end;
            }
            if let Step::Unknown(rest) = last {
                prop_assert_eq!(rest, at..4_096);
            }
        }
    }

    #[test]
    fn a_file_system_that_creeps_forward_is_not_followed() {
        for step in [1, 100, 511] {
            let (found, last) = walk(0..1 << 30, |at, wanted| Answer::At(if wanted { at } else { at + step }));
            assert_eq!((found, last), (vec![], Step::Unknown(0..1 << 30)));
        }
    }

    #[test]
    fn the_smallest_extents_are_believed() {
        let (found, last) = walk(0..1 << 20, |at, wanted| Answer::At(if wanted { at } else { at + 512 }));
        assert_eq!((found.len(), last), ((1 << 20) / 512, Step::End));
    }
}

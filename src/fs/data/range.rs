//! Copying one range of a file: by which engine, and which parts of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::calls::{self, seek_data, seek_hole, set_size};
use super::engines::{Engine, Pair, is_of_target};
use super::extents::{Extents, Step};
use super::stream::{Stream, Zeros};
use super::{Copied, Copying, Ends, trust};
use crate::fault::Failure;

/// A file not larger than this is copied whole: a hole in it would save nothing.
const HOLE_BYTES_MIN: u64 = 4096;

/// A file not larger than this is read and written, unless the operator asks for another engine: it
/// needs no flush then, and a flush costs more than the copy. `docs/internals/performance.md` has the
/// measurements, `docs/internals/durability.md` says why.
const ENGINE_BYTES_MIN: u64 = 1 << 20;

/// Copies the range of the source into the same range of the target, which holds nothing there, and
/// keeps its holes. A whole file is `0..size`, and its size is set too; for a part of a file the
/// caller sets it. A source that grows is read no further than the range and one byte; the caller's
/// second look at it finds the change. `progress` hears of bytes that were moved.
pub fn copy_range(
    ends: &Ends<'_>,
    range: Range<u64>,
    how: &Copying,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, Failure> {
    let mut stream = Stream::new(ends, how, progress);
    let size = ends.source_was.size;
    let engine_bytes_min = if how.engine.is_some() { HOLE_BYTES_MIN } else { ENGINE_BYTES_MIN };
    if size <= engine_bytes_min && !may_have_holes(ends) {
        stream.copy(range, Zeros::Written)?;
        return Ok(stream.finish());
    }
    let mut hands = Hands { ends, how, pair: how.known.pair(ends)?, stream };
    // A file is cut only where sharing its blocks was refused: its chunks would be refused as well.
    if range == (0..size) && hands.clone_whole()? {
        return Ok(hands.stream.finish());
    }
    if !may_have_holes(ends) {
        hands.move_data(range)?;
    } else if how.sparse {
        hands.copy_extents(range)?;
    } else {
        hands.stream.copy(range, Zeros::Written)?;
    }
    Ok(hands.stream.finish())
}

/// Lets the target share all blocks of the source, if the file systems can do that: at once,
/// whatever the size. `None`: they can not, and nothing was done.
pub fn clone_whole(ends: &Ends<'_>, how: &Copying, progress: &mut dyn FnMut(u64)) -> Result<Option<Copied>, Failure> {
    let stream = Stream::new(ends, how, progress);
    let mut hands = Hands { ends, how, pair: how.known.pair(ends)?, stream };
    let done = hands.clone_whole()?;
    Ok(done.then(|| hands.stream.finish()))
}

fn may_have_holes(ends: &Ends<'_>) -> bool {
    let was = ends.source_was;
    was.allocated < was.size && was.size > HOLE_BYTES_MIN
}

/// All engines, and what both file systems take of them.
struct Hands<'h> {
    ends: &'h Ends<'h>,
    how: &'h Copying,
    pair: Arc<Pair>,
    stream: Stream<'h>,
}

impl Hands<'_> {
    /// Whether an engine may do the work that does not show us the bytes.
    fn may_hide(&self, engine: Engine) -> bool {
        let only = self.how.engine;
        self.how.hashing.is_none() && only.is_none_or(|only| only == engine) && self.pair.may(engine, only.is_some())
    }

    /// Shares all blocks. False: it can not be done, and nothing is changed.
    fn clone_whole(&mut self) -> Result<bool, Failure> {
        let (ends, was) = (self.ends, self.ends.source_was);
        let fills_holes = !self.how.sparse && may_have_holes(ends);
        if fills_holes || was.size == 0 || !self.may_hide(Engine::Reflink) {
            return Ok(false);
        }
        match calls::clone_file(ends.source, ends.target) {
            Ok(()) => {
                self.pair.accepted(Engine::Reflink);
                self.stream.was_moved(Engine::Reflink, &(0..was.size), was.size.min(was.allocated));
                Ok(true)
            }
            Err(errno) if self.pair.refused(Engine::Reflink, errno) => Ok(false),
            Err(errno) if is_of_target(errno) => Err(ends.target.failure("ioctl", errno)),
            // Reading and writing will tell which side it is, if it happens again.
            Err(_) => Ok(false),
        }
    }

    /// Copies the data between the holes. Where what is data can not be told, all is read, and blocks of
    /// zeros are left out.
    fn copy_extents(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let (source, knows_holes) = (self.ends.source, self.pair.knows_holes);
        let zeros = Zeros::Left { block: self.pair.block_bytes };
        if !knows_holes && trust::is_recent(self.ends.source_was, SystemTime::now()) {
            self.stream.copy(range.clone(), zeros)?;
        } else {
            let mut extents = Extents::of(range.clone());
            loop {
                match extents.next(|at| seek_data(source, at), |at| seek_hole(source, at))? {
                    // A file system that knows no holes answers that all is data (lseek(2)).
                    Step::Data(data) if data == range && !knows_holes => self.stream.copy(data, zeros)?,
                    Step::Data(data) => self.move_data(data)?,
                    Step::Unknown(rest) => self.stream.copy(rest, zeros)?,
                    Step::End => break,
                }
            }
        }
        self.stream.rest_is_hole(&range);
        let size = self.ends.source_was.size;
        if range == (0..size) && self.stream.target_end() < size {
            set_size(self.ends.target, size)?;
        }
        Ok(())
    }

    /// Copies a range in which all is data.
    fn move_data(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let (ends, mut left) = (self.ends, range);
        while !left.is_empty() && !self.how.direct && self.may_hide(Engine::CopyFileRange) {
            let bytes = (left.end - left.start).min(self.how.call_bytes_max);
            match calls::copy_file_range(ends.source, ends.target, left.start, bytes) {
                // The end of the source, or a file whose size the kernel does not know, as in /proc.
                Ok(0) => break,
                Ok(put) => {
                    self.pair.accepted(Engine::CopyFileRange);
                    self.stream.was_moved(Engine::CopyFileRange, &(left.start..left.start + put), put);
                    left.start += put;
                }
                Err(errno) if self.pair.refused(Engine::CopyFileRange, errno) => {}
                Err(errno) if is_of_target(errno) => return Err(ends.target.failure("copy_file_range", errno)),
                // Reading and writing will tell which side it is, if it happens again.
                Err(_) => break,
            }
        }
        if left.is_empty() { Ok(()) } else { self.stream.copy(left, Zeros::Written) }
    }
}

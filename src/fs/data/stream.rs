//! Reading and writing, and the account of what was copied.

use std::ops::Range;

use super::buffers::{data_runs, with_buffer};
use super::calls::forget;
use super::digest::Hasher;
use super::direct::{End, wanted};
use super::engines::Engine;
use super::{Copied, Copying, Ends, FORGET_BYTES};
use crate::fault::Failure;

/// What becomes of zeros that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeros {
    /// They are written like all else.
    Written,
    /// Whole blocks of them are left as holes.
    Left {
        /// Their size.
        block: usize,
    },
}

/// The copy of one range under way.
pub(super) struct Stream<'s> {
    ends: &'s Ends<'s>,
    how: &'s Copying,
    progress: &'s mut dyn FnMut(u64),
    hasher: Option<Hasher>,
    copied: Copied,
    /// The end of what was written.
    target_end: u64,
    /// The source ended before its range did.
    is_short: bool,
}

impl<'s> Stream<'s> {
    pub(super) fn new(ends: &'s Ends<'s>, how: &'s Copying, progress: &'s mut dyn FnMut(u64)) -> Self {
        let hasher = how.hashing.map(Hasher::new);
        Self { ends, how, progress, hasher, copied: Copied::default(), target_end: 0, is_short: false }
    }

    /// The end of what was written.
    pub(super) fn target_end(&self) -> u64 {
        self.target_end
    }

    /// Another engine moved this range; `bytes` of it are data.
    pub(super) fn was_moved(&mut self, engine: Engine, range: &Range<u64>, bytes: u64) {
        if engine == Engine::CopyFileRange {
            self.copied.read += bytes;
        }
        self.copied.moved(engine, bytes);
        self.copied.size_set_apart = true;
        self.copied.end = self.copied.end.max(range.end);
        self.target_end = self.target_end.max(range.end);
        // Sharing moves nothing.
        (self.progress)(if engine == Engine::Reflink { 0 } else { range.end - range.start });
    }

    /// All of the range that was not moved is a hole.
    pub(super) fn rest_is_hole(&mut self, range: &Range<u64>) {
        if !self.is_short {
            self.copied.end = self.copied.end.max(range.end);
        }
        self.copied.size_set_apart |= self.copied.written < range.end - range.start;
    }

    /// Reads and writes a range; stops at the end of the source.
    pub(super) fn copy(&mut self, range: Range<u64>, zeros: Zeros) -> Result<(), Failure> {
        with_buffer(self.how.buffer_bytes, |buffer| self.copy_through(buffer, range, zeros))
    }

    fn copy_through(&mut self, buffer: &mut [u8], range: Range<u64>, zeros: Zeros) -> Result<(), Failure> {
        let direct = self.how.direct;
        let end = |file| if direct { End::direct(file, &range) } else { End::cached(file) };
        let (mut from, mut to) = (end(self.ends.source), end(self.ends.target));
        let is_last = range.end == self.ends.source_was.size;
        let mut offset = range.start;
        let mut forgotten = offset;
        loop {
            let left = range.end - offset;
            let want = usize::try_from(wanted(left, is_last, direct)).unwrap_or(usize::MAX).min(buffer.len());
            let Some(window) = buffer.get_mut(..want) else { break };
            let got = from.read(window, offset)?;
            if got == 0 {
                self.is_short = offset < range.end;
                break;
            }
            let keep = got.min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(data) = window.get(..keep) else { break };
            self.write(&mut to, data, offset, zeros)?;
            offset += got as u64;
            self.copied.read += got as u64;
            (self.progress)(keep as u64);
            let is_done = offset >= range.end;
            if self.how.forget && (offset - forgotten >= FORGET_BYTES || is_done && forgotten > range.start) {
                self.forget(&(forgotten..offset));
                forgotten = offset;
            }
            if is_done {
                break;
            }
        }
        from.end();
        to.end();
        self.copied.end = self.copied.end.max(offset);
        Ok(())
    }

    /// The kernel need not keep what was read, and begins to write what was written: until the flush
    /// most of that is on disk (`docs/internals/performance.md`).
    fn forget(&self, range: &Range<u64>) {
        forget(self.ends.source, range);
        forget(self.ends.target, range);
    }

    fn write(&mut self, to: &mut End<'_>, data: &[u8], offset: u64, zeros: Zeros) -> Result<(), Failure> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(offset, data);
        }
        match zeros {
            Zeros::Written => self.put(to, data, offset),
            Zeros::Left { block } => data_runs(data, offset, block).into_iter().try_for_each(|run| {
                let start = offset + run.start as u64;
                self.put(to, data.get(run).unwrap_or_default(), start)
            }),
        }
    }

    fn put(&mut self, to: &mut End<'_>, data: &[u8], offset: u64) -> Result<(), Failure> {
        to.write(data, offset)?;
        self.copied.moved(Engine::ReadWrite, data.len() as u64);
        self.target_end = self.target_end.max(offset + data.len() as u64);
        Ok(())
    }

    /// The account.
    pub(super) fn finish(self) -> Copied {
        Copied { digest: self.hasher.map(Hasher::finish), ..self.copied }
    }
}

//! The content of regular files: copying ranges of it, comparing it, making it durable.
//!
//! `copy_range` is the one way in which content comes to the target, for a whole file and for a chunk
//! of a large one. It asks the file systems what they can do for each other (`engines`), goes by what
//! is data and what is a hole (`extents`, `trust`), and reads and writes what nobody does for us
//! (`stream`).

mod buffers;
mod calls;
mod compare;
mod digest;
mod direct;
mod engines;
mod extents;
mod range;
mod stream;
#[cfg(test)]
mod tests;
mod trust;
mod verify;

use std::ops::Range;
use std::sync::Arc;

pub use self::calls::{append, flush, flush_file_system, overwrite, read_all, set_size};
pub(in crate::fs) use self::calls::{read_at, write_at};
pub use self::compare::same_content;
pub use self::digest::{Digest, Hashing};
pub use self::engines::Engine;
pub use self::range::{clone_whole, copy_range};
pub use self::verify::reads_back;
use crate::fault::{Error, Failure};
use crate::fs::Fd;
use crate::tree::Attributes;

/// What an error of `flush_file_system` means for the run.
pub fn may_be_lost(failure: Failure) -> Error {
    let errno = nix::errno::Errno::from_raw(failure.errno);
    Error::Fatal(format!(
        "what was written to DST may be lost: syncfs: {} ({errno:?}); when DST is well, run the same command again: it \
         compares what it can not trust",
        errno.desc()
    ))
}

/// What one read and one write move, unless the operator says otherwise.
pub const BUFFER_BYTES: usize = 1 << 20;

/// What is compared at once.
const COMPARE_BYTES: usize = 1 << 20;

/// How the content of files is moved in this run.
#[derive(Debug, Clone)]
pub struct Copying {
    /// The only engine to be tried before reading and writing; `None`: all, the best first.
    pub engine: Option<Engine>,
    /// Holes of the source stay holes.
    pub sparse: bool,
    /// Large files pass by the page cache (O_DIRECT).
    pub direct: bool,
    /// Large files leave the page cache as they are copied.
    pub forget: bool,
    /// The content is hashed while it is read, to be compared with what is read back.
    pub hashing: Option<Hashing>,
    /// What one read and one write move at most.
    pub buffer_bytes: usize,
    /// What one copy_file_range(2) moves at most, so that progress is seen and the call comes back.
    pub call_bytes_max: u64,
    /// What pairs of file systems can do for each other, learnt as the run goes.
    known: Arc<engines::Table>,
}

impl Default for Copying {
    fn default() -> Self {
        Self {
            engine: None,
            sparse: true,
            direct: false,
            forget: true,
            hashing: None,
            buffer_bytes: BUFFER_BYTES,
            call_bytes_max: 64 << 20,
            known: Arc::default(),
        }
    }
}

/// Both ends of a copy.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'f> {
    /// The file that is read.
    pub source: &'f Fd,
    /// What it was when it was opened: its size, what it allocates, its device.
    pub source_was: &'f Attributes,
    /// The file that is written, open for reading too. It holds nothing in the range.
    pub target: &'f Fd,
}

/// What copying a range did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Where the content ended: the end of the range, less if the source was shorter, more if the
    /// range went to the end of the source and that has grown.
    pub end: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written, or shared by a reflink: less than the range where the source has holes.
    pub written: u64,
    /// The target's size was set apart from its data: a lost write would not show in the size.
    pub size_set_apart: bool,
    /// Bytes by engine, as `Engine::ALL` has them.
    pub by_engine: [u64; Engine::ALL.len()],
    /// Of the content of the range, if that was asked for.
    pub digest: Option<Digest>,
}

impl Copied {
    /// The engine that moved most of it.
    pub fn engine(&self) -> Engine {
        let bytes = |engine: &Engine| self.by_engine.get(*engine as usize).copied().unwrap_or(0);
        // Of equals the last one counts: reading and writing, for an empty file.
        Engine::ALL.into_iter().max_by_key(bytes).unwrap_or(Engine::ReadWrite)
    }

    fn moved(&mut self, engine: Engine, bytes: u64) {
        self.written += bytes;
        if let Some(sum) = self.by_engine.get_mut(engine as usize) {
            *sum += bytes;
        }
    }
}

/// Copies a whole file into the empty file `ends.target`: `copy_range` of all that it had when it was
/// opened.
pub fn copy(ends: &Ends<'_>, how: &Copying, progress: &mut dyn FnMut(u64)) -> Result<Copied, Failure> {
    copy_range(ends, 0..ends.source_was.size, how, progress)
}

/// So much is copied before it is dropped from the page cache; less stays there.
const FORGET_BYTES: u64 = 8 << 20;

/// Makes what was copied into a range durable, see `flush`; a large range leaves the page cache then.
pub fn flush_range(target: &Fd, range: &Range<u64>, how: &Copying) -> Result<(), Failure> {
    flush(target)?;
    if how.forget && range.end.saturating_sub(range.start) > FORGET_BYTES {
        calls::forget(target, range);
    }
    Ok(())
}

//! What pairs of file systems can do for each other: learnt from their answers, kept for the run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::{Ends, trust};
use crate::fault::Failure;
use crate::fs::attributes;

/// What moves the content of a file. The first that both file systems take is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// The target shares the blocks of the source (ioctl_ficlone(2)).
    Reflink,
    /// The file system or the kernel copies (copy_file_range(2)).
    CopyFileRange,
    /// We read and write.
    ReadWrite,
}

impl Engine {
    /// All, the best first.
    pub const ALL: [Engine; 3] = [Engine::Reflink, Engine::CopyFileRange, Engine::ReadWrite];

    /// The word for it in the summary.
    pub fn word(self) -> &'static str {
        match self {
            Engine::Reflink => "reflink",
            Engine::CopyFileRange => "copy_file_range",
            Engine::ReadWrite => "read_write",
        }
    }
}

/// So many refusals that concern one file only, with no success between, are one of the pair.
const REFUSALS_MAX: u32 = 16;

/// Of a call on both files: only the one that is written to can answer so. What else it answers may be of either.
pub(super) fn is_of_target(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::EROFS)
}

/// What one pair of file systems can do.
#[derive(Debug)]
pub(super) struct Pair {
    /// The source's holes are known under all circumstances.
    pub knows_holes: bool,
    /// The block of the target, for zeros that become holes.
    pub block_bytes: usize,
    /// What the kernel copies there is read and written too, only by the kernel, unless blocks can be
    /// shared; and that was tried before. Not so where a server can copy.
    is_local: bool,
    refusals: [AtomicU32; Engine::ALL.len()],
}

impl Pair {
    /// Whether an engine is worth a try. `asked`: the operator wants it.
    pub(super) fn may(&self, engine: Engine, asked: bool) -> bool {
        let refused = self.counter(engine).is_none_or(|count| count.load(Ordering::Relaxed) >= REFUSALS_MAX);
        !refused && (asked || engine != Engine::CopyFileRange || !self.is_local)
    }

    /// It worked.
    pub(super) fn accepted(&self, engine: Engine) {
        if let Some(count) = self.counter(engine) {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// It did not work. True: the next engine is to try; false: it is an error of the file.
    pub(super) fn refused(&self, engine: Engine, errno: Errno) -> bool {
        let weight = match errno {
            Errno::EXDEV | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENOTTY => REFUSALS_MAX,
            // A file of its own kind: no copy on write, immutable, a swap file, not aligned.
            Errno::EINVAL | Errno::EPERM | Errno::ETXTBSY | Errno::EACCES | Errno::EBADF | Errno::EISDIR => 1,
            _ => return false,
        };
        if let Some(count) = self.counter(engine) {
            count.fetch_add(weight, Ordering::Relaxed);
        }
        true
    }

    fn counter(&self, engine: Engine) -> Option<&AtomicU32> {
        self.refusals.get(engine as usize)
    }
}

/// The pairs met so far, by device numbers.
#[derive(Default)]
pub(super) struct Table {
    pairs: Mutex<BTreeMap<(u64, u64), Arc<Pair>>>,
}

/// Tells nothing of what was learnt: options are compared between ranks as they print themselves, and a
/// lock that is held prints differently.
impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

impl Table {
    /// What is known of the file systems of two files.
    pub(super) fn pair(&self, ends: &Ends<'_>) -> Result<Arc<Pair>, Failure> {
        let (target_device, block) = attributes::device_and_block(ends.target)?;
        let devices = (ends.source_was.device, target_device);
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = pairs.entry(devices).or_insert_with(|| Arc::new(look(ends, block)));
        Ok(Arc::clone(pair))
    }
}

/// Blocks of zeros that become holes: smaller ones save nothing, larger ones are rarely zero.
const BLOCK_BYTES: std::ops::RangeInclusive<u32> = 4 << 10..=64 << 10;

fn look(ends: &Ends<'_>, block: u32) -> Pair {
    let block = block.clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end()).next_power_of_two();
    Pair {
        knows_holes: trust::is_known(ends.source),
        block_bytes: usize::try_from(block).unwrap_or(4096),
        is_local: trust::is_known(ends.target),
        refusals: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        Pair { knows_holes: true, block_bytes: 4096, is_local: false, refusals: Default::default() }
    }

    #[test]
    fn a_pair_that_can_not_is_never_asked_again() {
        for errno in [Errno::EXDEV, Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::ENOTTY] {
            let pair = pair();
            assert!(pair.refused(Engine::Reflink, errno));
            assert!(!pair.may(Engine::Reflink, true));
            assert!(pair.may(Engine::CopyFileRange, true));
        }
    }

    #[test]
    fn one_odd_file_is_no_refusal_of_the_pair_but_many_are() {
        let pair = pair();
        for _ in 1..REFUSALS_MAX {
            assert!(pair.refused(Engine::Reflink, Errno::ETXTBSY));
            assert!(pair.may(Engine::Reflink, false));
        }
        pair.accepted(Engine::Reflink);
        for _ in 0..REFUSALS_MAX {
            assert!(pair.may(Engine::Reflink, false));
            assert!(pair.refused(Engine::Reflink, Errno::EPERM));
        }
        assert!(!pair.may(Engine::Reflink, false));
    }

    #[test]
    fn a_full_disk_is_no_reason_for_another_engine() {
        for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EFBIG] {
            assert!(!pair().refused(Engine::CopyFileRange, errno));
        }
    }
}

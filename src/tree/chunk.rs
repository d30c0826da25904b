//! Large files in chunks: how they are cut, and the owner's tally of what was copied.

use std::ffi::{CStr, CString};
use std::ops::Range;

use bincode::{Decode, Encode};

use super::attributes::Attributes;
use super::difference::Aspects;
use super::outcome::Outcome;
use super::path::TreePath;

/// A large file under way: any rank works on any chunk of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChunkedFile {
    /// Its final name, below both roots.
    pub path: TreePath,
    /// The source as it was when the file was cut.
    pub source: Attributes,
    /// The inode that is written, or what the source is compared with, as it was then.
    pub target: Attributes,
    /// Size of a chunk; the last one may be smaller. Not 0.
    pub chunk_bytes: u64,
    /// What is done with it.
    pub task: ChunkTask,
    /// So many tries at it, or at a chunk of it, failed for a reason that may pass.
    pub tries: u8,
}

/// What is done with a large file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ChunkTask {
    /// Its content is copied to an inode that has a temporary name until all chunks are there.
    Copy {
        /// That name, in the same directory.
        temporary: CString,
        /// What is to stand in the books once it is complete.
        outcome: Outcome,
        /// An empty directory has the final name, and gives way.
        over_directory: bool,
        /// In what it differs from what the target had, where changes are listed.
        aspects: Aspects,
        /// Notes to owners of links are still read: what fails at the end may go again as a name of the walk.
        may_tell: bool,
    },
    /// Its content is compared with that of its copy.
    Compare {
        /// So many names of the copy's inode are ours, see `decide::Known`.
        known_links: u32,
        /// Notes to owners of links are still read.
        may_tell: bool,
    },
}

impl ChunkTask {
    /// Whether notes to owners of links are still read.
    pub fn may_tell(&self) -> bool {
        match self {
            ChunkTask::Copy { may_tell, .. } | ChunkTask::Compare { may_tell, .. } => *may_tell,
        }
    }
}

/// What became of a chunk. The worst of its chunks is the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum ChunkFate {
    /// On the target, and flushed there; or equal to what is there.
    Right,
    /// Other bytes are on the target.
    Differs,
    /// The source ended early, or is another file.
    Changed,
    /// It is gone from the source.
    Vanished,
    /// Listed in the fault list.
    Failed,
    /// The copy of an earlier attempt is no longer what the checkpoint knows: look at the file again.
    Lost,
}

/// What the owner of a large file is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ChunkNews {
    /// The file was cut.
    Begun,
    /// A chunk is done with.
    Ended {
        /// Its number, from 0.
        chunk: u32,
        /// What became of it.
        fate: ChunkFate,
    },
}

impl ChunkedFile {
    /// How many chunks there are: at least 1.
    pub fn chunks(&self) -> u32 {
        let chunks = self.source.size.div_ceil(self.chunk_bytes.max(1)).max(1);
        u32::try_from(chunks).unwrap_or(u32::MAX)
    }

    /// Whether it is cut as `chunk_bytes` says: else nobody could keep its tally.
    pub fn is_cut_soundly(&self) -> bool {
        self.chunk_bytes > 0 && self.source.size.div_ceil(self.chunk_bytes) <= CHUNKS_MAX
    }

    /// The bytes of a chunk. The chunks follow each other without a gap and end with the file.
    pub fn range(&self, chunk: u32) -> Range<u64> {
        let start = u64::from(chunk).saturating_mul(self.chunk_bytes).min(self.source.size);
        let is_last = chunk.saturating_add(1) >= self.chunks();
        let end = if is_last { self.source.size } else { start + self.chunk_bytes };
        start..end
    }

    /// The temporary name of its copy.
    pub fn temporary(&self) -> Option<&CStr> {
        match &self.task {
            ChunkTask::Copy { temporary, .. } => Some(temporary),
            ChunkTask::Compare { .. } => None,
        }
    }

    /// A number that all ranks compute alike; modulo the number of ranks it names the owner.
    pub fn hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.path.as_bytes())
    }
}

/// The size of chunks of a file: `wanted`, in whole blocks of the target, and so that no file has
/// more than `CHUNKS_MAX`.
pub fn chunk_bytes(wanted: u64, block_bytes: u64, file_bytes: u64) -> u64 {
    let least = file_bytes.div_ceil(CHUNKS_MAX);
    let block = block_bytes.max(1);
    wanted.max(least).max(1).div_ceil(block).saturating_mul(block)
}

/// Chunks of one file at most: the owner keeps a bit for each.
const CHUNKS_MAX: u64 = 1 << 20;

/// The owner's tally of a large file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Tally {
    ended: Vec<u64>,
    count: u32,
    worst: Option<ChunkFate>,
}

impl Tally {
    /// Adds what another tally of the same file has. Returns the file's fate when all of its `parts` have ended.
    pub fn add(&mut self, other: &Tally, parts: u32) -> Option<ChunkFate> {
        if self.ended.len() < other.ended.len() {
            self.ended.resize(other.ended.len(), 0);
        }
        for (mine, theirs) in self.ended.iter_mut().zip(&other.ended) {
            *mine |= theirs;
        }
        self.count = self.ended.iter().map(|word| word.count_ones()).sum();
        self.worst = self.worst.max(other.worst);
        if self.count == parts { self.worst } else { None }
    }

    /// Whether it can be the tally of a file of so many parts that has not ended.
    pub fn is_of(&self, parts: u32) -> bool {
        let ended: u32 = self.ended.iter().map(|word| word.count_ones()).sum();
        ended == self.count && self.count < parts && self.ended.len() <= parts as usize / 64 + 1
    }

    /// Enters what became of a part; told twice, it counts once. Returns the file's fate when all of
    /// its `parts` have ended.
    pub fn enter(&mut self, part: u32, fate: ChunkFate, parts: u32) -> Option<ChunkFate> {
        let (word, bit) = ((part / 64) as usize, 1u64 << (part % 64));
        if part >= parts {
            return None;
        }
        if self.ended.len() <= word {
            self.ended.resize(word + 1, 0);
        }
        let slot = self.ended.get_mut(word)?;
        if *slot & bit != 0 {
            return None;
        }
        *slot |= bit;
        self.count += 1;
        self.worst = self.worst.max(Some(fate));
        if self.count == parts { self.worst } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Identity, Kind, Time};
    use proptest::prelude::*;

    fn file(size: u64, chunk_bytes: u64) -> ChunkedFile {
        let identity = Identity { inode: 1, birth: None };
        let (time, kind) = (Time::default(), Kind::File);
        let source = Attributes {
            kind,
            identity,
            device: 0,
            links: 1,
            uid: 0,
            gid: 0,
            mode: 0,
            size,
            allocated: 0,
            rdev: 0,
            atime: time,
            mtime: time,
            ctime: time,
        };
        let path = TreePath::root().join(c"file");
        let task = ChunkTask::Compare { known_links: 1, may_tell: true };
        ChunkedFile { path, source, target: source, chunk_bytes, task, tries: 0 }
    }

    proptest! {
        #[test]
        fn chunks_tile_the_file(size in 0u64..10_000, chunk_bytes in 1u64..3_000) {
            let file = file(size, chunk_bytes);
            let ranges: Vec<_> = (0..file.chunks()).map(|chunk| file.range(chunk)).collect();
            prop_assert_eq!(ranges.first().map(|range| range.start), Some(0));
            prop_assert_eq!(ranges.last().map(|range| range.end), Some(size));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert!(size == 0 || ranges.iter().all(|range| !range.is_empty()));
        }

        #[test]
        fn the_file_is_complete_when_each_chunk_was_told_once(chunks in 1u32..300, order in any::<u64>(), twice in any::<u32>()) {
            let mut told: Vec<u32> = (0..chunks).chain([twice % chunks]).collect();
            told.sort_by_key(|&chunk| xxhash_rust::xxh3::xxh3_64_with_seed(&chunk.to_le_bytes(), order));
            let mut tally = Tally::default();
            let complete: Vec<_> = told.iter().filter_map(|&chunk| tally.enter(chunk, ChunkFate::Right, chunks)).collect();
            prop_assert_eq!(complete, [ChunkFate::Right]);
        }

        #[test]
        fn two_tallies_of_a_file_are_one(chunks in 1u32..200, mine in proptest::collection::vec(0u32..200, 0..300), split in 0usize..300) {
            let told: Vec<u32> = mine.into_iter().filter(|&chunk| chunk < chunks).collect();
            let (first, second) = told.split_at(split.min(told.len()));
            let tally = |told: &[u32]| {
                let mut tally = Tally::default();
                told.iter().for_each(|&chunk| { tally.enter(chunk, ChunkFate::Right, chunks); });
                tally
            };
            let mut added = tally(first);
            let complete = added.add(&tally(second), chunks);
            prop_assert_eq!(&added, &tally(&told));
            let distinct: std::collections::BTreeSet<u32> = told.iter().copied().collect();
            prop_assert_eq!(complete.is_some(), distinct.len() == chunks as usize);
        }

        #[test]
        fn chunks_are_whole_blocks_and_not_too_many(wanted in 0u64..1 << 40, power in 0u32..24, size in any::<u64>()) {
            let block = 1u64 << power;
            let bytes = chunk_bytes(wanted, block, size);
            prop_assert!(bytes > 0 && bytes.is_multiple_of(block) && bytes >= wanted);
            prop_assert!(size.div_ceil(bytes) <= CHUNKS_MAX);
        }
    }

    #[test]
    fn the_worst_chunk_is_the_fate_of_the_file() {
        let mut tally = Tally::default();
        assert_eq!(tally.enter(2, ChunkFate::Right, 3), None);
        assert_eq!(tally.enter(0, ChunkFate::Failed, 3), None);
        assert_eq!(tally.enter(7, ChunkFate::Right, 3), None, "no such chunk");
        assert_eq!(tally.enter(1, ChunkFate::Changed, 3), Some(ChunkFate::Failed));
    }
}

//! The large files of which this rank is the owner: which of their chunks have ended.

use std::collections::BTreeMap;

use crate::tree::chunk::Tally;
use crate::tree::{ChunkFate, ChunkNews, ChunkedFile, Item, TreePath};

/// Large files under way.
#[derive(Debug, Default)]
pub struct Chunked {
    files: BTreeMap<TreePath, (ChunkedFile, Tally)>,
}

impl Chunked {
    /// Takes in a note. Returns what is to be done when all chunks of the file have ended. Notes of
    /// several ranks overtake each other, so that it began may be the last thing to be heard.
    pub fn hear(&mut self, file: ChunkedFile, news: ChunkNews) -> Option<Item> {
        let path = file.path.clone();
        let chunks = file.chunks();
        let (_, tally) = self.files.entry(path.clone()).or_insert_with(|| (file, Tally::default()));
        // The beginning is one part more, so that no note of a file comes after its last.
        let (part, fate) = match news {
            ChunkNews::Begun => (chunks, ChunkFate::Right),
            ChunkNews::Ended { chunk, fate } => (chunk, fate),
        };
        let fate = tally.enter(part, fate, chunks.saturating_add(1))?;
        let (file, _) = self.files.remove(&path)?;
        Some(Item::Publish { file, fate })
    }

    /// All files, and what became of their chunks.
    pub fn files(&self) -> impl Iterator<Item = &(ChunkedFile, Tally)> {
        self.files.values()
    }

    /// Takes over what an owner of an earlier attempt had of a file. Notes of it may have come before. Returns what
    /// is to be done when all chunks have ended by now.
    pub fn carry(&mut self, file: ChunkedFile, tally: &Tally) -> Option<Item> {
        let path = file.path.clone();
        let parts = file.chunks().saturating_add(1);
        let (_, known) = self.files.entry(path.clone()).or_insert_with(|| (file, Tally::default()));
        let fate = known.add(tally, parts)?;
        let (file, _) = self.files.remove(&path)?;
        Some(Item::Publish { file, fate })
    }

    /// Takes out all files.
    pub fn drain(&mut self) -> Vec<ChunkedFile> {
        std::mem::take(&mut self.files).into_values().map(|(file, _)| file).collect()
    }
}

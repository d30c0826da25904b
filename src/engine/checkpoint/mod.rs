//! Checkpoints: each rank writes down a part, rank 0 the manifest that puts all of them in force. Paths decide who
//! owns what, so any number of ranks can go on with one.
//!
//! `RUN/checkpoint/` holds the manifest and, for each rank that took part, its part and links to the files that its
//! tables were spilled to.

mod archive;
mod load;
mod manifest;
mod part;
mod scribe;
mod snapshot;

use bincode::{Decode, Encode};

use super::fault_log::FaultGroup;
use super::lists::Extent;
use crate::tree::guard::Loss;
use crate::tree::{ChunkedFile, Doomed, Identity, Item, Note, Outcome, TreePath, chunk, removal};

pub use archive::{Archive, unusable};
pub use load::{Loader, is_sound};
pub use manifest::Manifest;
pub use part::{Header, PartReader, PartWriter};
pub use scribe::{Desk as ScribeDesk, DurablePoints, Scribe};
pub use snapshot::{Snapshot, late};

/// Where items of a part belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Table {
    /// To be done in the pass; those under way among them.
    Bag,
    /// Directories to be settled when the walk is over.
    Deferred,
    /// Those of this depth that wait for what is below them.
    AfterBelow(u32),
    /// To be removed.
    Plan,
    /// To be looked at again after that.
    Again,
}

/// A frame of a part.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Piece {
    /// Items.
    Items(Table, Vec<Item>),
    /// A file of so many items.
    ItemsFile {
        /// Where they belong.
        table: Table,
        /// Its name beside the part.
        name: String,
        /// How many they are.
        items: u64,
    },
    /// Notes to owners that these have not taken in.
    Notes(Vec<Note>),
    /// Notes of inodes with several names, as `wire::append_note` put them.
    Links {
        /// Their turn has come.
        in_turn: bool,
        /// One after another.
        bytes: Vec<u8>,
    },
    /// A file of such notes.
    LinksFile {
        /// Their turn has come.
        in_turn: bool,
        /// Its name beside the part.
        name: String,
        /// Where in it they are: offset and bytes.
        extents: Vec<(u64, u64)>,
    },
    /// A large file, and what became of its chunks.
    Chunked(Box<ChunkedFile>, chunk::Tally),
    /// A directory under removal.
    Removal(TreePath, Option<Doomed>, removal::Tally),
    /// What subtrees would lose.
    Losses(Vec<(TreePath, Loss)>),
    /// Of target inodes so many names would be gone.
    Gone(Vec<(Identity, u32)>),
    /// What was counted.
    Counters(Vec<u64>),
    /// Faults by cause.
    Faults(Vec<(FaultGroup, u64)>),
    /// How much of the rank's lists counts.
    Listed(Vec<Extent>),
    /// What is to stand in the books for the root.
    Root(Outcome),
    /// The part is whole.
    End {
        /// The frames before this one.
        frames: u64,
    },
}

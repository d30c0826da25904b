//! The units of work that ranks steal from each other, and the notes they send to owners.

use bincode::{Decode, Encode};

use super::along::Along;
use super::attributes::{Identity, Kind};
use super::chunk::{self, ChunkFate, ChunkNews, ChunkedFile};
use super::listed::Extent;
use super::names::Names;
use super::outcome::Outcome;
use super::parked::Parked;
use super::path::TreePath;
use super::removal::{self, Doomed, DoomedNames, Kept, Proof, RemovalNews};
use super::side::Side;
use super::time::Time;

/// A directory that is to be walked or settled, as the rank saw it that listed its parent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DirectoryItem {
    /// Below both roots.
    pub path: TreePath,
    /// The source directory: a rank that opens another inode has another mount, or it was replaced.
    pub source: Identity,
    /// The target directory, if it was there before this run.
    pub target: Option<Identity>,
    /// The mount that the source directory lies in: 0 for the root's, else a hash of the path of
    /// the mount point, so that all ranks agree without talking.
    pub mount: u64,
    /// This run made the target directory.
    pub made: bool,
    /// What earlier tries at it left.
    pub parked: Parked,
}

/// The unit of stealing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Item {
    /// Walk a directory: list both sides, decide, copy.
    Directory(DirectoryItem),
    /// One of `rounds` looks at a directory too large to be held at once: names by hash.
    Round {
        /// The directory.
        directory: DirectoryItem,
        /// This part, from 0.
        round: u32,
        /// All parts.
        rounds: u32,
    },
    /// Names of a directory that was listed already.
    Batch {
        /// The directory.
        directory: DirectoryItem,
        /// What is to be done of it.
        names: Names,
    },
    /// What a list of paths names in a directory and below it.
    Listed {
        /// The directory.
        directory: DirectoryItem,
        /// The part of the list: paths below the directory.
        extent: Extent,
        /// The directory is settled with this item; else it is with another of its items.
        settles: bool,
    },
    /// Set a directory's final metadata.
    Settle {
        /// The directory.
        directory: DirectoryItem,
        /// What is to stand in the books once it is settled.
        outcome: Outcome,
    },
    /// Copy or compare some chunks of a large file.
    Chunks {
        /// The file.
        file: ChunkedFile,
        /// The first of them.
        first: u32,
        /// How many; not 0.
        count: u32,
    },
    /// Do what is to be done with a large file when all of its chunks have ended.
    Publish {
        /// The file.
        file: ChunkedFile,
        /// What became of its chunks.
        fate: ChunkFate,
    },
    /// Make the names of one source inode one inode on the target, and those of several several.
    Link(LinkGroup),
    /// Look once more at names that stand in the books: the place of one was a directory's that was to be removed, or
    /// it failed for a reason that may pass.
    Again {
        /// The directory.
        directory: DirectoryItem,
        /// The names, with the types under which they stand in the books.
        names: Names,
    },
    /// List a directory of the target that is to go with all that it holds.
    Doom {
        /// The directory.
        path: TreePath,
        /// Why it may go.
        proof: Proof,
        /// One look of several at a directory too large to be held at once: (this one, all).
        round: (u32, u32),
        /// Its names that are left alone, as an operation on them had no answer.
        parked: Parked,
    },
    /// Remove names from a directory of the target.
    Remove {
        /// The directory.
        doomed: Doomed,
        /// The names.
        names: DoomedNames,
    },
    /// Remove a directory of the target: all that it held has had its turn.
    RemoveDirectory {
        /// The directory.
        doomed: Doomed,
        /// It stays, for this reason.
        stays: Option<Kept>,
        /// What shares its fate, as it is renamed as a whole.
        along: Along,
    },
    /// Set a directory's final metadata once more: it stands in the books already, and names were taken away from it
    /// since, or will be.
    Resettle(DirectoryItem),
    /// Look for what only the target has in a directory and below it, after a walk that still renamed directories.
    Plan {
        /// The directory.
        directory: DirectoryItem,
        /// One look of several at a directory too large to be held at once: (this one, all).
        round: (u32, u32),
    },
}

impl Item {
    /// The item from which all others of a walk come. `listed`: the part of `--files-from` that the root
    /// is looked at by.
    pub fn first(root: &DirectoryItem, listed: Option<Extent>) -> Self {
        match listed {
            None => Item::Directory(root.clone()),
            Some(extent) => Item::Listed { directory: root.clone(), extent, settles: true },
        }
    }

    /// How much work an item may hold, in names: a directory's subtree is unknown, and is worth
    /// more than any list of names to a rank that has nothing.
    pub fn weight(&self) -> u64 {
        match self {
            Item::Directory(_) | Item::Doom { round: (_, 1), .. } | Item::Plan { round: (_, 1), .. } => 256,
            Item::Round { .. } | Item::Doom { .. } | Item::Plan { .. } => 65_536,
            Item::Batch { names, .. } | Item::Again { names, .. } => names.len() as u64,
            Item::Remove { names, .. } => names.names.len() as u64,
            Item::Settle { .. } | Item::Resettle(_) | Item::Publish { .. } | Item::RemoveDirectory { .. } => 1,
            Item::Chunks { count, .. } => 1_024 * u64::from(*count),
            // A path takes about 64 bytes; what lies below a listed directory is unknown.
            Item::Listed { extent, .. } => (extent.bytes() / 64).clamp(64, 1 << 40),
            Item::Link(group) => group.members.len() as u64,
        }
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        let path = |directory: &DirectoryItem| directory.path.as_bytes().len() + directory.parked.bytes();
        let content = match self {
            Item::Directory(directory)
            | Item::Round { directory, .. }
            | Item::Listed { directory, .. }
            | Item::Settle { directory, .. }
            | Item::Resettle(directory)
            | Item::Plan { directory, .. } => path(directory),
            Item::Batch { directory, names } | Item::Again { directory, names } => {
                path(directory) + names.bytes() + 2 * names.len()
            }
            Item::Doom { path, parked, .. } => path.as_bytes().len() + parked.bytes(),
            Item::Remove { doomed, names } => doomed.path.as_bytes().len() + names.bytes(),
            Item::RemoveDirectory { doomed, .. } => doomed.path.as_bytes().len(),
            Item::Chunks { file, .. } | Item::Publish { file, .. } => file.path.as_bytes().len() + 48,
            Item::Link(group) => group.bytes(),
        };
        size_of::<Item>() + content
    }

    /// Entries already seen whose outcome depends on this item: they stay unfinished if it is
    /// never run. A directory's outcome comes with its settling.
    pub fn entries(&self) -> (Kind, u64) {
        match self {
            Item::Directory(_) | Item::Settle { .. } | Item::Plan { round: (_, 1), .. } => (Kind::Directory, 1),
            Item::Listed { settles, .. } => (Kind::Directory, u64::from(*settles)),
            Item::Round { .. } | Item::Batch { .. } | Item::Resettle(_) | Item::Plan { .. } => (Kind::Directory, 0),
            Item::Again { names, .. } => (names.first_kind().unwrap_or(Kind::Unknown), names.len() as u64),
            // What is removed stands in books of its own.
            Item::Doom { .. } | Item::Remove { .. } | Item::RemoveDirectory { .. } => (Kind::Directory, 0),
            // The owner's tally has it.
            Item::Chunks { .. } => (Kind::File, 0),
            Item::Publish { .. } => (Kind::File, 1),
            Item::Link(group) => (group.kind, group.members.len() as u64),
        }
    }

    /// So many tries at it failed for a reason that may pass.
    pub fn tries(&self) -> u8 {
        match self {
            Item::Directory(directory)
            | Item::Round { directory, .. }
            | Item::Batch { directory, .. }
            | Item::Listed { directory, .. }
            | Item::Settle { directory, .. }
            | Item::Resettle(directory)
            | Item::Plan { directory, .. }
            | Item::Again { directory, .. } => directory.parked.tries,
            Item::Chunks { file, .. } | Item::Publish { file, .. } => file.tries,
            Item::Link(group) => group.tries,
            Item::Doom { parked, .. } => parked.tries,
            Item::Remove { doomed, .. } | Item::RemoveDirectory { doomed, .. } => doomed.tries,
        }
    }

    /// The same item after so many tries.
    #[must_use]
    pub fn after(mut self, failed: u8) -> Self {
        match &mut self {
            Item::Directory(directory)
            | Item::Round { directory, .. }
            | Item::Batch { directory, .. }
            | Item::Listed { directory, .. }
            | Item::Settle { directory, .. }
            | Item::Resettle(directory)
            | Item::Plan { directory, .. }
            | Item::Again { directory, .. } => directory.parked.tries = failed,
            Item::Chunks { file, .. } | Item::Publish { file, .. } => file.tries = failed,
            Item::Link(group) => group.tries = failed,
            Item::Doom { parked, .. } => parked.tries = failed,
            Item::Remove { doomed, .. } | Item::RemoveDirectory { doomed, .. } => doomed.tries = failed,
        }
        self
    }

    /// Names listed but not yet looked at.
    pub fn names(&self) -> u64 {
        if let Item::Batch { names, .. } = self { names.len() as u64 } else { 0 }
    }
}

/// The names that the walk found of one inode.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LinkGroup {
    /// The inode.
    pub key: LinkKey,
    /// The type under which the names stand in the books.
    pub kind: Kind,
    /// Its number of names, outside the tree too.
    pub links: u32,
    /// The names found, whose fate is settled with this group: below both roots.
    pub members: Vec<TreePath>,
    /// Of a target inode: groups of source inodes that would keep it.
    pub claims: Vec<Claim>,
    /// What was said of a source inode's group after its first turn.
    pub turn: Turn,
    /// A further name, a large file that was copied in chunks: the members become links of it.
    pub leader: Option<TreePath>,
    /// So many tries at it failed for a reason that may pass.
    pub tries: u8,
}

impl LinkGroup {
    fn bytes(&self) -> usize {
        let names: usize = self.members.iter().map(|path| size_of::<TreePath>() + path.as_bytes().len()).sum();
        names + self.claims.len() * size_of::<Claim>()
    }
}

/// Where a group stands. The largest holds of what is said of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Turn {
    /// As the walk found it.
    #[default]
    First,
    /// It has claimed a target inode whose other names may be another group's.
    Claimed,
    /// Another group keeps that inode: this one gets one of its own.
    Parts,
}

/// A group that would keep a target inode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Claim {
    /// So many of its names have the inode already.
    pub names: u32,
    /// The group's inode on the source.
    pub key: LinkKey,
    /// The group's type.
    pub kind: Kind,
}

/// A note to the owner of something.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Note {
    /// Of an inode with several names. `LinkKey::hash` tells the owner.
    Link(LinkNote),
    /// Of a large file. `ChunkedFile::hash` tells the owner.
    Chunk {
        /// The file. Boxed, as the other notes are small, and very many.
        file: Box<ChunkedFile>,
        /// What happened to it.
        news: ChunkNews,
    },
    /// Of a directory under removal. `Doomed::hash` tells the owner.
    Removal {
        /// The directory.
        path: TreePath,
        /// What happened to it.
        news: RemovalNews,
    },
    /// What an owner of an earlier attempt had.
    Carried(Carried),
}

/// What the owners of an earlier attempt had, told to those of this one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Carried {
    /// A note of an inode whose turn had come, and whose group nobody took.
    Turn(LinkNote),
    /// A large file.
    Chunked(Box<ChunkedFile>, chunk::Tally),
    /// A directory under removal.
    Removal(TreePath, Option<Doomed>, removal::Tally),
}

/// A note to the owner of an inode with several names.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum LinkNote {
    /// A name of it.
    Name {
        /// The inode.
        key: LinkKey,
        /// The type under which the name stands in the books.
        kind: Kind,
        /// Its number of names when the walk saw this one.
        links: u32,
        /// The name, below both roots.
        path: TreePath,
        /// What has happened to its group.
        turn: Turn,
    },
    /// To the owner of a target inode: a group would keep it.
    Claim {
        /// The target inode.
        key: LinkKey,
        /// The type of both.
        kind: Kind,
        /// The group.
        claim: Claim,
    },
    /// To the owner of a group: another one keeps the target inode that it claimed.
    Part {
        /// The group's inode on the source.
        key: LinkKey,
        /// The group's type.
        kind: Kind,
    },
    /// To the owner of a group: this name of it, a large file, is copied in chunks, and the others wait
    /// until it is there.
    Led {
        /// The group's inode on the source.
        key: LinkKey,
        /// The group's type.
        kind: Kind,
        /// The name, below both roots.
        path: TreePath,
    },
}

impl LinkNote {
    /// The inode that it is about, and the type: notes that agree in both belong together.
    pub fn about(&self) -> (LinkKey, Kind) {
        match *self {
            LinkNote::Name { key, kind, .. }
            | LinkNote::Claim { key, kind, .. }
            | LinkNote::Part { key, kind }
            | LinkNote::Led { key, kind, .. } => (key, kind),
        }
    }
}

/// What names of one inode have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LinkKey {
    /// Which tree it is in: names of one source inode are to be one on the target; names of one target
    /// inode should be one on the source.
    pub side: Side,
    /// The mount, see `DirectoryItem::mount`; 0 on the target.
    pub mount: u64,
    /// Inode and birth.
    pub inode: Identity,
}

impl LinkKey {
    /// A number that all ranks compute alike; modulo the number of ranks it names the owner.
    pub fn hash(&self) -> u64 {
        let Time { seconds, nanoseconds } = self.inode.birth.unwrap_or_default();
        let mut bytes = [0u8; 28];
        let parts = [
            &self.mount.to_le_bytes()[..],
            &self.inode.inode.to_le_bytes(),
            &seconds.to_le_bytes(),
            &nanoseconds.to_le_bytes(),
        ];
        for (byte, value) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *value;
        }
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }
}

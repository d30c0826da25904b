//! The units of work that ranks steal from each other, and the notes they send to owners.

use bincode::{Decode, Encode};

use super::attributes::{Identity, Kind};
use super::listed::Extent;
use super::names::Names;
use super::outcome::Outcome;
use super::path::TreePath;
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
    /// Make the names of one source inode one inode on the target, and those of several several.
    Link(LinkGroup),
}

impl Item {
    /// How much work an item may hold, in names: a directory's subtree is unknown, and is worth
    /// more than any list of names to a rank that has nothing.
    pub fn weight(&self) -> u64 {
        match self {
            Item::Directory(_) => 256,
            Item::Round { .. } => 65_536,
            Item::Batch { names, .. } => names.len() as u64,
            // A path takes about 64 bytes; what lies below a listed directory is unknown.
            Item::Listed { extent, .. } => (extent.bytes() / 64).max(64),
            Item::Settle { .. } => 1,
            Item::Link(group) => group.members.len() as u64,
        }
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        let path = |directory: &DirectoryItem| directory.path.as_bytes().len();
        let content = match self {
            Item::Directory(directory)
            | Item::Round { directory, .. }
            | Item::Listed { directory, .. }
            | Item::Settle { directory, .. } => path(directory),
            Item::Batch { directory, names } => path(directory) + names.bytes() + 2 * names.len(),
            Item::Link(group) => group.members.iter().map(LinkMember::bytes).sum(),
        };
        size_of::<Item>() + content
    }

    /// Entries already seen whose outcome depends on this item: they stay unfinished if it is
    /// never run. A directory's outcome comes with its settling.
    pub fn entries(&self) -> (Kind, u64) {
        match self {
            Item::Directory(_) | Item::Settle { .. } => (Kind::Directory, 1),
            Item::Listed { settles, .. } => (Kind::Directory, u64::from(*settles)),
            Item::Round { .. } | Item::Batch { .. } => (Kind::Directory, 0),
            Item::Link(group) => (group.kind, group.members.iter().filter(|member| member.settles).count() as u64),
        }
    }

    /// Names listed but not yet looked at.
    pub fn names(&self) -> u64 {
        if let Item::Batch { names, .. } = self { names.len() as u64 } else { 0 }
    }
}

/// A name of an inode that has more than one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LinkMember {
    /// Below both roots.
    pub path: TreePath,
    /// Its fate is settled with this group. Not so for a name that a group of a target inode only has
    /// to know of: its fate is that of its source inode's group.
    pub settles: bool,
}

impl LinkMember {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.path.as_bytes().len()
    }
}

/// The names that the walk found of one inode.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LinkGroup {
    /// The inode.
    pub key: LinkKey,
    /// Its type.
    pub kind: Kind,
    /// Its number of names, outside the tree too.
    pub links: u32,
    /// The names found.
    pub members: Vec<LinkMember>,
}

/// A note to the owner of something.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Note {
    /// A name of an inode with several. `LinkKey::hash` tells the owner.
    Link {
        /// The inode.
        key: LinkKey,
        /// Its type.
        kind: Kind,
        /// Its number of names when the walk saw this one.
        links: u32,
        /// The name.
        member: LinkMember,
    },
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

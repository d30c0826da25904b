//! Names of the target that are to be removed: how they are named, and what becomes of them.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::along::Along;
use super::attributes::{Identity, Kind};
use super::names::Names;
use super::path::TreePath;
use super::time::Time;

/// A directory of the target in which names are to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Doomed {
    /// Below the target's root.
    pub path: TreePath,
    /// The directory, as the plan saw it.
    pub target: Identity,
    /// Why its names may go.
    pub proof: Proof,
    /// So many tries at it failed for a reason that may pass.
    pub tries: u8,
}

/// Why names may go.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Proof {
    /// The operator named the tree.
    Asked,
    /// The source does not have the topmost name of the path. Whoever removes something looks again.
    Absent(Absent),
}

/// A name that the source did not have, in a directory that both trees have.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Absent {
    /// The depth of that directory; the topmost name is the next one of the path.
    pub depth: u32,
    /// That directory in the source: another inode means another mount, and proves nothing.
    pub source: Identity,
    /// The same in the target.
    pub target: Identity,
    /// What it is that the source does not have.
    pub lack: Lack,
}

/// What the source does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// The name.
    #[default]
    Name,
    /// A directory of that name: one of the target is in the way of something else.
    Directory,
    /// A name that the patterns let through: with `--delete-excluded` what they leave out goes.
    LetThrough,
}

impl Lack {
    /// Whether it is the name.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it.
    pub fn is_name(&self) -> bool {
        *self == Lack::Name
    }
}

impl Doomed {
    /// Whether the directory itself goes too, when it is empty.
    pub fn goes(&self) -> bool {
        match &self.proof {
            Proof::Asked => !self.path.is_root(),
            Proof::Absent(absent) => self.path.depth() > absent.depth as usize,
        }
    }

    /// The directory that holds it, if that goes too: it waits for this one.
    pub fn waiting_parent(&self) -> Option<TreePath> {
        let (parent, _) = self.path.split_last()?;
        let goes = match &self.proof {
            Proof::Asked => true,
            Proof::Absent(absent) => parent.depth() > absent.depth as usize,
        };
        goes.then_some(parent)
    }

    /// A number that all ranks compute alike; modulo the number of ranks it names the owner.
    pub fn hash(path: &TreePath) -> u64 {
        xxhash_rust::xxh3::xxh3_64(path.as_bytes())
    }
}

/// Names of one directory, as the plan has them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DoomedNames {
    /// The names; a type that the listing did not tell was looked up.
    pub names: Names,
    /// What each was, with a plan that was written to a file; else empty.
    pub was: Vec<Was>,
    /// How many parts like this one the directory has.
    pub parts: Parts,
    /// The directory will not become empty, whatever becomes of these names.
    pub stays: Option<Kept>,
}

impl DoomedNames {
    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.names.bytes() + 2 * self.names.len() + self.was.len() * size_of::<Was>()
    }

    /// Whether what came over the wire is sound.
    pub fn is_valid(&self) -> bool {
        self.names.is_valid() && (self.was.is_empty() || self.was.len() == self.names.len())
    }
}

/// What an entry was when the plan was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Was {
    /// Its inode.
    pub identity: Identity,
    /// Its last change.
    pub ctime: Time,
    /// The last change of its content.
    pub mtime: Time,
    /// Its names.
    pub links: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Of how many parts the names of a directory come. One whose listing is too large for one look is
/// listed in rounds, each round is cut into parts, and a part that takes long is cut again: each tells
/// only of those that it was cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Parts {
    /// Rounds of the directory.
    pub rounds: u32,
    /// This is the first part of its round.
    pub is_first: bool,
    /// Further parts that were cut off this one.
    pub more: u32,
}

impl Parts {
    /// The only part.
    pub const ONLY: Parts = Parts { rounds: 1, is_first: true, more: 0 };

    /// Whether the directory has no other part.
    pub fn is_only(self) -> bool {
        self == Self::ONLY
    }
}

/// What the owner of a directory under removal is told.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RemovalNews {
    /// A part of its names is done, but for directories among them.
    Part {
        /// The directory.
        doomed: Doomed,
        /// Which part.
        parts: Parts,
        /// Directories among its names, each of which will be told of.
        directories: u32,
        /// A name stays, and so does the directory.
        stays: Option<Kept>,
        /// Names that share the fate of the directory, as it is renamed as a whole.
        along: Along,
    },
    /// A directory in it is gone, or stays, or shares the fate of this one.
    Child {
        /// Why it stays.
        stays: Option<Kept>,
        /// What shares the fate of this directory, that one included.
        along: Along,
    },
}

/// What became of an entry that was planned to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Fate {
    /// It is gone, by us.
    Removed,
    /// It is in the trash, alone or with a directory above it.
    Trashed,
    /// A guard holds its subtree.
    Held,
    /// It stays, for a reason.
    Kept,
    /// A system call failed; listed in the fault list.
    Failed,
    /// The run was stopped before its turn came.
    Unfinished,
}

impl Fate {
    /// All fates, in the order of the summary.
    pub const ALL: [Fate; 6] = [Fate::Removed, Fate::Trashed, Fate::Held, Fate::Kept, Fate::Failed, Fate::Unfinished];

    /// The word for it in the summary.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Removed => "removed",
            Fate::Trashed => "trashed",
            Fate::Held => "held",
            Fate::Kept => "kept",
            Fate::Failed => "failed",
            Fate::Unfinished => "unfinished",
        }
    }
}

/// Why an entry stays. The later ones matter more: a directory stays for the worst of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// It was gone before its turn came.
    Gone,
    /// What is in it is left out by the operator's patterns.
    Protected,
    /// The source has it again.
    OnSource,
    /// It is no longer what the plan saw.
    Changed,
    /// Something came into the directory since the plan was made.
    NotEmpty,
    /// Another file system is mounted there.
    MountPoint,
    /// The source's directory is another one than it was, or its mount is missing: that proves nothing.
    Unproven,
    /// It can not be renamed into the trash.
    Unmovable,
    /// Something in it is held back by a guard.
    HoldsHeld,
    /// Something in it could not be removed.
    HoldsFailed,
}

impl Kept {
    /// All reasons, in the order of the summary.
    pub const ALL: [Kept; 10] = [
        Kept::Gone,
        Kept::Protected,
        Kept::OnSource,
        Kept::Changed,
        Kept::NotEmpty,
        Kept::MountPoint,
        Kept::Unproven,
        Kept::Unmovable,
        Kept::HoldsHeld,
        Kept::HoldsFailed,
    ];

    /// The word for it in the summary.
    pub fn word(self) -> &'static str {
        match self {
            Kept::Gone => "gone",
            Kept::Protected => "protected",
            Kept::OnSource => "on_source",
            Kept::Changed => "changed",
            Kept::NotEmpty => "not_empty",
            Kept::MountPoint => "mount_point",
            Kept::Unproven => "unproven",
            Kept::Unmovable => "unmovable",
            Kept::HoldsHeld => "holds_held",
            Kept::HoldsFailed => "holds_failed",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Kept::Gone => "gone before its turn came",
            Kept::Protected => "holds names that the patterns leave out",
            Kept::OnSource => "the source has it again",
            Kept::Changed => "no longer what the plan saw",
            Kept::NotEmpty => "something came into it since the plan was made",
            Kept::MountPoint => "another file system is mounted there",
            Kept::Unproven => {
                "the source's directory is another one than it was, or its mount is missing here: that proves nothing"
            }
            Kept::Unmovable => {
                "it can not be renamed into DST/.pmirror/trash, so it stays: without --trash it would be removed"
            }
            Kept::HoldsHeld => "something in it is held back",
            Kept::HoldsFailed => "something in it could not be removed",
        }
    }

    /// Whether a guard has held it back: not so where nothing was left to do, where the operator said
    /// himself that it stays, or where something failed.
    pub fn holds_back(self) -> bool {
        !matches!(self, Kept::Gone | Kept::Protected | Kept::OnSource | Kept::HoldsFailed)
    }
}

/// What has been told of one directory under removal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Tally {
    rounds_told: u32,
    parts_told: u64,
    parts_more: u64,
    directories: u64,
    directories_told: u64,
    rounds: Option<u32>,
    stays: Option<Kept>,
    along: Along,
}

impl Tally {
    /// Takes in news. Whether all is done: nothing more will be told.
    pub fn enter(&mut self, news: &RemovalNews) -> bool {
        match news {
            RemovalNews::Part { parts, directories, stays, along, .. } => {
                self.rounds = Some(parts.rounds);
                self.parts_told += 1;
                self.parts_more += u64::from(parts.more);
                self.rounds_told += u32::from(parts.is_first);
                self.directories += u64::from(*directories);
                self.stays = self.stays.max(*stays);
                self.along.merge(along);
            }
            RemovalNews::Child { stays, along } => {
                self.directories_told += 1;
                self.stays = self.stays.max(*stays);
                self.along.merge(along);
            }
        }
        self.is_done()
    }

    /// Adds what another tally of the same directory has: each piece of news is in one of both. Whether all is done.
    pub fn add(&mut self, other: &Tally) -> bool {
        self.rounds_told += other.rounds_told;
        self.parts_told += other.parts_told;
        self.parts_more += other.parts_more;
        self.directories += other.directories;
        self.directories_told += other.directories_told;
        self.rounds = self.rounds.or(other.rounds);
        self.stays = self.stays.max(other.stays);
        self.along.merge(&other.along);
        self.is_done()
    }

    fn is_done(&self) -> bool {
        let has_all_parts =
            self.rounds == Some(self.rounds_told) && self.parts_told == u64::from(self.rounds_told) + self.parts_more;
        has_all_parts && self.directories == self.directories_told
    }

    /// Why the directory stays, if it does.
    pub fn stays(&self) -> Option<Kept> {
        self.stays
    }

    /// What shares its fate.
    pub fn along(&self) -> &Along {
        &self.along
    }
}

/// How many entries of each type these names are.
pub fn kinds(names: &Names) -> impl Iterator<Item = Kind> {
    names.iter().map(|(_, listed)| listed.kind.unwrap_or(Kind::Unknown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doomed() -> Doomed {
        let target = Identity { inode: 1, birth: None };
        Doomed { path: TreePath::from(&b"a/b/c"[..]), target, proof: Proof::Asked, tries: 0 }
    }

    fn part(rounds: u32, is_first: bool, more: u32, directories: u32) -> RemovalNews {
        RemovalNews::Part {
            doomed: doomed(),
            parts: Parts { rounds, is_first, more },
            directories,
            stays: None,
            along: Along::NONE,
        }
    }

    #[test]
    fn a_directory_goes_if_it_lies_below_what_both_trees_have() {
        let target = Identity { inode: 1, birth: None };
        let of = |depth| Absent { depth, source: target, target, lack: Lack::Name };
        let at = |depth| Doomed { proof: Proof::Absent(of(depth)), ..doomed() };
        assert!(at(2).goes() && at(2).waiting_parent().is_none());
        assert_eq!(at(1).waiting_parent(), Some(TreePath::from(&b"a/b"[..])));
        assert!(!at(3).goes());
        assert_eq!(doomed().waiting_parent(), Some(TreePath::from(&b"a/b"[..])));
    }

    proptest! {
        #[test]
        fn a_directory_is_done_with_its_last_news_and_not_before(
            rounds in proptest::collection::vec(proptest::collection::vec(0u32..4, 1..4), 1..4),
            swaps in proptest::collection::vec((0usize..40, 0usize..40), 0..40),
        ) {
            let count = u32::try_from(rounds.len()).unwrap();
            let mut news = Vec::new();
            for batches in &rounds {
                let more = u32::try_from(batches.len()).unwrap() - 1;
                for (index, &directories) in batches.iter().enumerate() {
                    let is_first = index == 0;
                    news.push(part(count, is_first, if is_first { more } else { 0 }, directories));
                    news.extend((0..directories).map(|_| RemovalNews::Child { stays: None, along: Along::NONE }));
                }
            }
            for (a, b) in swaps {
                let len = news.len();
                news.swap(a % len, b % len);
            }
            let mut tally = Tally::default();
            let done: Vec<bool> = news.iter().map(|news| tally.enter(news)).collect();
            prop_assert_eq!(done.iter().position(|&done| done), Some(news.len() - 1));
        }

        #[test]
        fn the_worst_reason_is_the_directorys(reasons in proptest::collection::vec(proptest::sample::select(Kept::ALL.to_vec()), 0..6)) {
            let mut tally = Tally::default();
            reasons.iter().for_each(|&reason| { tally.enter(&RemovalNews::Child { stays: Some(reason), along: Along::NONE }); });
            prop_assert_eq!(tally.stays(), reasons.iter().max().copied());
        }
    }
}

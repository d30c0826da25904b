//! The directories under removal of which this rank is the owner: what of their names has had its turn.

use std::collections::BTreeMap;

use crate::tree::removal::Tally;
use crate::tree::{Doomed, Item, RemovalNews, TreePath};

/// Directories under removal. One enters with the first that is told of it, and leaves with the last, so
/// there are about as many as workers times the depth of the tree.
#[derive(Debug, Default)]
pub struct Removals {
    directories: BTreeMap<TreePath, (Option<Doomed>, Tally)>,
}

impl Removals {
    /// All directories, and what was told of them.
    pub fn directories(&self) -> impl Iterator<Item = (&TreePath, Option<&Doomed>, &Tally)> {
        self.directories.iter().map(|(path, (doomed, tally))| (path, doomed.as_ref(), tally))
    }

    /// Takes over what an owner of an earlier attempt had of a directory. News of it may have come before.
    /// Returns the directory's own removal when all in it has had its turn by now.
    pub fn carry(&mut self, path: TreePath, doomed: Option<Doomed>, tally: &Tally) -> Option<Item> {
        let (known, mine) = self.directories.entry(path.clone()).or_default();
        *known = known.take().or(doomed);
        let is_done = mine.add(tally);
        self.take_done(&path, is_done)
    }

    fn take_done(&mut self, path: &TreePath, is_done: bool) -> Option<Item> {
        if !is_done {
            return None;
        }
        let (doomed, tally) = self.directories.remove(path)?;
        Some(Item::RemoveDirectory { doomed: doomed?, stays: tally.stays(), along: tally.along().clone() })
    }

    /// Takes in news. Returns the directory's own removal when all in it has had its turn.
    pub fn hear(&mut self, path: TreePath, news: RemovalNews) -> Option<Item> {
        let (known, tally) = self.directories.entry(path.clone()).or_default();
        let is_done = tally.enter(&news);
        if let RemovalNews::Part { doomed, .. } = news {
            known.get_or_insert(doomed);
        }
        self.take_done(&path, is_done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::removal::Parts;
    use crate::tree::{Along, Identity, Kept, Kind, Proof};

    #[test]
    fn a_directory_is_removed_after_the_directories_in_it_whatever_is_told_first() {
        let target = Identity { inode: 7, birth: None };
        let path = TreePath::from(&b"a"[..]);
        let doomed = Doomed { path: path.clone(), target, proof: Proof::Asked, tries: 0 };
        let mut along = Along::NONE;
        along.add(Kind::File, 3);
        let (doomed_too, parts, directories) = (doomed.clone(), Parts::ONLY, 2);
        let part = RemovalNews::Part { doomed: doomed_too, parts, directories, stays: None, along: along.clone() };
        let mut removals = Removals::default();
        assert_eq!(removals.hear(path.clone(), RemovalNews::Child { stays: None, along: along.clone() }), None);
        assert_eq!(removals.hear(path.clone(), part), None);
        let stays = Some(Kept::NotEmpty);
        let last = removals.hear(path, RemovalNews::Child { stays, along: Along::NONE });
        along.merge(&along.clone());
        assert_eq!(last, Some(Item::RemoveDirectory { doomed, stays, along }));
        assert!(removals.directories.is_empty());
    }
}

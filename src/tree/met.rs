//! A directory as a run met it in both trees: by this a later run knows it when it has another name.

use bincode::{Decode, Encode};

use super::attributes::Identity;
use super::path::TreePath;
use super::time::Time;

/// What stays the same of a source directory when it is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Origin {
    /// The mount that it lies in, see `DirectoryItem::mount`.
    pub mount: u64,
    /// The inode number.
    pub inode: u64,
    /// When the inode was born: numbers are used again.
    pub born: Time,
}

impl Origin {
    /// `None` where the file system does not tell when an inode was born: then nothing is sure.
    pub fn new(mount: u64, identity: Identity) -> Option<Self> {
        identity.birth.map(|born| Self { mount, inode: identity.inode, born })
    }

    /// A number by which entries of a record are found.
    pub fn hash(&self) -> u64 {
        let Time { seconds, nanoseconds } = self.born;
        let words = [self.mount, self.inode, seconds.cast_unsigned(), u64::from(nanoseconds)];
        xxhash_rust::xxh3::xxh3_64(words.map(u64::to_le_bytes).as_flattened())
    }
}

/// A directory that both trees had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Met {
    /// On the source.
    pub origin: Origin,
    /// Below both roots.
    pub path: TreePath,
    /// The target directory's inode number.
    pub inode: u64,
    /// When that was born.
    pub born: Time,
}

impl Met {
    /// `None` for a root, and where one of both file systems does not tell when an inode was born.
    pub fn new(mount: u64, source: Identity, path: &TreePath, target: Identity) -> Option<Self> {
        let (origin, born) = (Origin::new(mount, source)?, target.birth?);
        (!path.is_root()).then(|| Self { origin, path: path.clone(), inode: target.inode, born })
    }

    /// The target directory.
    pub fn target(&self) -> Identity {
        Identity { inode: self.inode, birth: Some(self.born) }
    }
}

/// Where `path` is when the directory `from` has become `to`; `None` if it did not lie in it.
pub fn carried_along(path: &TreePath, from: &TreePath, to: &TreePath) -> Option<TreePath> {
    let depth = from.depth();
    if depth == 0 || path.depth() <= depth || path.ancestor(depth)? != *from {
        return None;
    }
    let below = path.below(depth)?;
    Some(TreePath::from([to.as_bytes(), below.as_bytes()].join(&b'/').as_slice()))
}

/// Whether one path is the other, or lies in it.
pub fn are_related(one: &TreePath, other: &TreePath) -> bool {
    let depth = one.depth().min(other.depth());
    one.ancestor(depth) == other.ancestor(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from(text.as_bytes())
    }

    #[test]
    fn what_lies_in_a_renamed_directory_moves_with_it() {
        let carried = |of: &str| carried_along(&path(of), &path("a/b"), &path("x")).map(|path| path.to_string());
        assert_eq!(carried("a/b/c/d").as_deref(), Some("x/c/d"));
        for other in ["a/b", "a", "a/bc/d", "b/c", ""] {
            assert_eq!(carried(other), None, "{other}");
        }
        assert_eq!(carried_along(&path("a"), &path(""), &path("x")), None);
    }

    #[test]
    fn a_path_is_related_to_what_holds_it_and_to_what_it_holds() {
        for (one, other) in [("a", "a"), ("a", "a/b/c"), ("a/b", "a"), ("", "a")] {
            assert!(are_related(&path(one), &path(other)), "{one} {other}");
        }
        for (one, other) in [("a", "b"), ("a/b", "a/c"), ("a", "ab"), ("a/b/c", "a/bc")] {
            assert!(!are_related(&path(one), &path(other)), "{one} {other}");
        }
    }

    #[test]
    fn without_a_time_of_birth_nothing_is_known_again() {
        let (known, unknown) =
            (Identity { inode: 1, birth: Some(Time::default()) }, Identity { inode: 1, birth: None });
        assert!(Met::new(0, known, &path("a"), known).is_some());
        for (source, target, at) in [(unknown, known, "a"), (known, unknown, "a"), (known, known, "")] {
            assert_eq!(Met::new(0, source, &path(at), target), None);
        }
    }

    #[test]
    fn origins_that_differ_in_anything_have_other_hashes() {
        let one = Origin { mount: 1, inode: 2, born: Time { seconds: -3, nanoseconds: 4 } };
        let others = [
            Origin { mount: 2, ..one },
            Origin { inode: 1, ..one },
            Origin { born: Time { seconds: 3, nanoseconds: 4 }, ..one },
            Origin { born: Time { seconds: -3, nanoseconds: 5 }, ..one },
        ];
        assert!(others.iter().all(|other| other.hash() != one.hash()));
    }
}

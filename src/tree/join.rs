//! Joining the names of two directories by hash, so that the source keeps its order.

use std::ffi::CStr;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use super::names::{Listed, Names};

/// The names of both sides of a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The source's names in its order, each once, with `on_target` filled in.
    pub source: Names,
    /// The names that only the target has.
    pub target_only: Names,
}

/// A join under way: the source's names first, then the target's. Names that a listing holds twice
/// (NFS and Lustre may do that) count once.
#[derive(Debug, Default)]
pub struct Join {
    source: List,
    target_only: List,
}

impl Join {
    /// A name of the source.
    pub fn source(&mut self, name: &CStr, listed: Listed) {
        self.source.add(name, Listed { on_target: false, ..listed });
    }

    /// A name of the target, after all of the source's.
    pub fn target(&mut self, name: &CStr, listed: Listed) {
        match self.source.find(name).and_then(|index| self.source.names.listed_mut(index)) {
            Some(twin) => twin.on_target = true,
            None => self.target_only.add(name, listed),
        }
    }

    /// Bytes that it holds, about.
    pub fn bytes(&self) -> usize {
        self.source.bytes() + self.target_only.bytes()
    }

    /// Bytes that one more name would take, about.
    pub fn bytes_of(name: &CStr) -> usize {
        name.to_bytes_with_nul().len() + BYTES_PER_NAME
    }

    /// The join, when both sides are in.
    pub fn finish(self) -> Joined {
        Joined { source: self.source.names, target_only: self.target_only.names }
    }
}

/// Names, each once, and a hash table over them that holds offsets, not names.
#[derive(Debug, Default)]
struct List {
    names: Names,
    /// (index of the name, offset of its bytes)
    slots: HashTable<(u32, u32)>,
}

/// What a name takes beside its own bytes: two of remarks, and a slot of a table that may be half
/// empty.
const BYTES_PER_NAME: usize = 2 + 18;

impl List {
    fn add(&mut self, name: &CStr, listed: Listed) {
        let bytes = name.to_bytes();
        let next = (self.names.len(), self.names.bytes());
        let (Ok(index), Ok(offset)) = (u32::try_from(next.0), u32::try_from(next.1)) else {
            return;
        };
        let names = &self.names;
        let entry = self.slots.entry(
            xxh3_64(bytes),
            |&(_, offset)| names.at(offset) == bytes,
            |&(_, offset)| xxh3_64(names.at(offset)),
        );
        if let Entry::Vacant(vacant) = entry {
            vacant.insert((index, offset));
            self.names.push(name, listed);
        }
    }

    fn find(&self, name: &CStr) -> Option<u32> {
        let bytes = name.to_bytes();
        let same = |&(_, offset): &(u32, u32)| self.names.at(offset) == bytes;
        self.slots.find(xxh3_64(bytes), same).map(|&(index, _)| index)
    }

    fn bytes(&self) -> usize {
        self.names.bytes() + self.names.len() * BYTES_PER_NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::ffi::CString;

    const FILE: Listed = Listed { kind: Some(Kind::File), on_target: false };

    fn join(source: &[CString], target: &[CString]) -> Joined {
        let mut join = Join::default();
        source.iter().for_each(|name| join.source(name, FILE));
        target.iter().for_each(|name| join.target(name, FILE));
        join.finish()
    }

    fn name() -> impl Strategy<Value = CString> {
        proptest::collection::vec(97u8..103, 1..3).prop_map(|bytes| CString::new(bytes).unwrap())
    }

    proptest! {
        #[test]
        fn join_agrees_with_sets(source in proptest::collection::vec(name(), 0..40), target in proptest::collection::vec(name(), 0..40)) {
            let joined = join(&source, &target);
            let left: BTreeSet<_> = source.iter().cloned().collect();
            let right: BTreeSet<_> = target.iter().cloned().collect();
            let both: BTreeSet<_> = joined.source.iter().filter(|(_, l)| l.on_target).map(|(n, _)| n.to_owned()).collect();
            let only: BTreeSet<_> = joined.target_only.iter().map(|(n, _)| n.to_owned()).collect();
            prop_assert_eq!(joined.source.len(), left.len());
            prop_assert_eq!(joined.target_only.len(), only.len());
            prop_assert_eq!(both, left.intersection(&right).cloned().collect::<BTreeSet<_>>());
            prop_assert_eq!(only, right.difference(&left).cloned().collect::<BTreeSet<_>>());
        }
    }
}

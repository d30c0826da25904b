//! Directories that wait for what is below them, by depth: a bag for each depth, and one bound for all of them.

use std::collections::BTreeMap;

use super::bag::{Bag, Spill};
use crate::fault::Error;
use crate::tree::Item;

/// The bags, by depth.
#[derive(Debug)]
pub struct Below {
    bags: BTreeMap<u32, Bag>,
    /// Of all bags; each alone never reaches its bound.
    bytes: usize,
    spill: Spill,
    error: Option<Error>,
}

impl Below {
    /// No directories yet.
    pub fn new(spill: Spill) -> Self {
        Self { bags: BTreeMap::new(), bytes: 0, spill, error: None }
    }

    /// Adds directories of one depth.
    pub fn push(&mut self, depth: u32, items: Vec<Item>) {
        let spill = &self.spill;
        let bag = self
            .bags
            .entry(depth)
            .or_insert_with(|| Bag::new(Spill { prefix: format!("below-{depth}-{}", spill.prefix), ..spill.clone() }));
        let before = bag.bytes();
        bag.push(items);
        self.bytes = (self.bytes + bag.bytes()).saturating_sub(before);
        self.error = bag.take_error();
        if self.bytes > self.spill.bytes_max && self.error.is_none() {
            // Down to half of the bound, so that this is done now and then only; the largest first, so that files
            // are few. A chain of thousands of directories has as many bags.
            let enough = self.spill.bytes_max / 2;
            while self.bytes > enough && self.spill_largest() {}
        }
    }

    /// Whether there was anything to spill, and it went.
    fn spill_largest(&mut self) -> bool {
        let Some(bag) = self.bags.values_mut().max_by_key(|bag| bag.bytes()).filter(|bag| bag.bytes() > 0) else {
            return false;
        };
        let before = bag.bytes();
        bag.spill_all();
        self.bytes = (self.bytes + bag.bytes()).saturating_sub(before);
        self.error = bag.take_error();
        self.error.is_none()
    }

    /// Why spilling does not work; the items are in memory still.
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// The largest depth.
    pub fn deepest(&self) -> Option<u32> {
        self.bags.last_key_value().map(|(&depth, _)| depth)
    }

    /// All bags.
    pub fn bags(&self) -> impl Iterator<Item = (u32, &Bag)> {
        self.bags.iter().map(|(&depth, bag)| (depth, bag))
    }

    /// Takes those of one depth.
    pub fn take(&mut self, depth: u32) -> Option<Bag> {
        let bag = self.bags.remove(&depth)?;
        self.bytes = self.bytes.saturating_sub(bag.bytes());
        Some(bag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::operator::RunDirectory;
    use crate::tree::{DirectoryItem, Identity, Parked, TreePath};
    use proptest::prelude::*;

    fn item(inode: u64) -> Item {
        let source = Identity { inode, birth: None };
        let path = TreePath::from(format!("{inode:08}").as_bytes());
        let (parked, target) = (Parked::NEVER, None);
        Item::Directory(DirectoryItem { path, source, target, mount: 0, made: false, parked })
    }

    proptest! {
        // Each case writes and removes dozens of files.
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn all_depths_together_stay_within_the_bound_and_lose_nothing(depths in proptest::collection::vec(0u32..30, 1..200)) {
            let state = tempfile::tempdir().unwrap();
            let directory = RunDirectory::new(state.path(), "run");
            directory.make().unwrap();
            let bytes_max = 10 * item(0).bytes();
            let mut below = Below::new(Spill { directory, prefix: "0".to_owned(), bytes_max });
            for (inode, &depth) in (0..).zip(&depths) {
                below.push(depth, vec![item(inode)]);
                prop_assert!(below.bytes <= bytes_max);
                prop_assert_eq!(below.bytes, below.bags().map(|(_, bag)| bag.bytes()).sum::<usize>());
            }
            let mut left = 0;
            while let Some(depth) = below.deepest() {
                let mut bag = below.take(depth).unwrap();
                prop_assert_eq!(bag.len(), depths.iter().filter(|&&other| other == depth).count());
                left += bag.drain().len();
            }
            prop_assert_eq!((left, below.bytes), (depths.len(), 0));
            prop_assert_eq!(below.take_error(), None);
        }
    }
}

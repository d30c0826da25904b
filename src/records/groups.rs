//! Faults by cause: how many, where, whose. Pure, and of bounded size however many there are.

use std::collections::BTreeMap;

use super::subtrees::{Heavy, Subtrees};

/// Causes that are told apart; what comes beyond is counted together.
pub const CAUSES_MAX: usize = 100;

/// Directories that are counted for each cause.
const DIRECTORIES_MAX: usize = 4_000;

/// Owners that are counted for each cause; what others have is counted together.
const OWNERS_MAX: usize = 1_000;

/// Owners that are told.
const OWNERS_TOLD: usize = 3;

/// A longer path is no sample while there is a shorter one.
const SAMPLE_BYTES_MAX: usize = 4_096;

/// What has one explanation.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// What became of the entries.
    pub outcome: String,
    /// The error's name; empty where no system call failed.
    pub errno: String,
    /// The system call, or what was done.
    pub operation: String,
    /// The tree.
    pub side: String,
    /// What the run said of it.
    pub note: String,
}

/// A fault, as far as it is grouped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub cause: Cause,
    /// The entry.
    pub path: Vec<u8>,
    /// Its owner on the source.
    pub owner: Option<u32>,
}

/// All faults of one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Why; `None`: causes beyond `CAUSES_MAX`.
    pub cause: Option<Cause>,
    /// How many.
    pub count: u64,
    /// Where most of them are.
    pub subtrees: Vec<Heavy>,
    /// Some subtrees have more than is told.
    pub at_least: bool,
    /// Whose most of them are, and how many.
    pub owners: Vec<(u32, u64)>,
    /// One of them: the first in the order of the paths.
    pub sample: Vec<u8>,
}

/// Faults, counted as they come.
#[derive(Debug, Default)]
pub struct Groups {
    causes: BTreeMap<Cause, Tally>,
    others: Option<Tally>,
    /// How many in all.
    pub all: u64,
}

#[derive(Debug)]
struct Tally {
    subtrees: Subtrees,
    owners: BTreeMap<u32, u64>,
    sample: Option<Vec<u8>>,
}

impl Tally {
    fn new() -> Self {
        Self { subtrees: Subtrees::new(DIRECTORIES_MAX), owners: BTreeMap::new(), sample: None }
    }

    fn add(&mut self, fault: &Fault) {
        self.subtrees.add(&fault.path);
        if let Some(owner) = fault.owner {
            let is_counted = self.owners.len() < OWNERS_MAX || self.owners.contains_key(&owner);
            *self.owners.entry(owner).or_default() += u64::from(is_counted);
            if !is_counted {
                self.owners.remove(&owner);
            }
        }
        let is_better = |known: &Vec<u8>| (is_long(&fault.path), &fault.path) < (is_long(known), known);
        if self.sample.as_ref().is_none_or(is_better) {
            self.sample = Some(fault.path.clone());
        }
    }

    fn close(self, cause: Option<Cause>) -> Group {
        let mut owners: Vec<(u32, u64)> = self.owners.into_iter().collect();
        owners.sort_by_key(|&(owner, count)| (std::cmp::Reverse(count), owner));
        owners.truncate(OWNERS_TOLD);
        Group {
            cause,
            count: self.subtrees.all(),
            subtrees: self.subtrees.heaviest(),
            at_least: self.subtrees.is_folded(),
            owners,
            sample: self.sample.unwrap_or_default(),
        }
    }
}

fn is_long(path: &[u8]) -> bool {
    path.len() > SAMPLE_BYTES_MAX
}

impl Groups {
    /// Counts a fault.
    pub fn add(&mut self, fault: &Fault) {
        self.all += 1;
        if let Some(tally) = self.causes.get_mut(&fault.cause) {
            return tally.add(fault);
        }
        let tally = if self.causes.len() < CAUSES_MAX {
            self.causes.entry(fault.cause.clone()).or_insert_with(Tally::new)
        } else {
            self.others.get_or_insert_with(Tally::new)
        };
        tally.add(fault);
    }

    /// The groups, the largest first.
    pub fn close(self) -> Vec<Group> {
        let groups = self.causes.into_iter().map(|(cause, tally)| tally.close(Some(cause)));
        let mut groups: Vec<Group> = groups.collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
        groups.extend(self.others.map(|tally| tally.close(None)));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(errno: &str, path: &str, owner: Option<u32>) -> Fault {
        let cause = Cause { outcome: "failed".to_owned(), errno: errno.to_owned(), ..Cause::default() };
        Fault { cause, path: path.as_bytes().to_vec(), owner }
    }

    fn grouped(faults: &[Fault]) -> Vec<Group> {
        let mut groups = Groups::default();
        faults.iter().for_each(|fault| groups.add(fault));
        groups.close()
    }

    #[test]
    fn the_largest_cause_comes_first_with_its_subtree_its_owner_and_a_sample() {
        let groups = grouped(&[
            fault("EIO", "x/y", None),
            fault("EACCES", "a/b/2", Some(7)),
            fault("EACCES", "a/b/1", Some(7)),
            fault("EACCES", "a/b/3", Some(9)),
        ]);
        let group = &groups[0];
        assert_eq!((group.count, group.subtrees.as_slice()), (3, &[Heavy { path: b"a/b".to_vec(), count: 3 }][..]));
        assert_eq!((group.owners.as_slice(), group.sample.as_slice()), (&[(7, 2), (9, 1)][..], &b"a/b/1"[..]));
        assert_eq!((groups.len(), groups[1].count, groups[1].owners.len()), (2, 1, 0));
    }

    #[test]
    fn a_sample_is_short_if_there_is_a_short_one() {
        let long = "a".repeat(SAMPLE_BYTES_MAX + 1);
        assert_eq!(grouped(&[fault("EIO", &long, None), fault("EIO", "z", None)])[0].sample, b"z");
    }

    #[test]
    fn causes_and_owners_beyond_the_bound_are_counted_together() {
        let faults: Vec<Fault> = (0..3 * CAUSES_MAX).map(|n| fault(&format!("E{n}"), "a", None)).collect();
        let groups = grouped(&faults);
        assert_eq!(groups.len(), CAUSES_MAX + 1);
        assert_eq!((groups[CAUSES_MAX].cause.as_ref(), groups[CAUSES_MAX].count), (None, 2 * CAUSES_MAX as u64));
        let faults: Vec<Fault> = (0..5_000).map(|n| fault("EIO", "a", Some(n))).collect();
        assert_eq!(grouped(&faults)[0].owners.len(), OWNERS_TOLD);
    }

    proptest! {
        #[test]
        fn sums_agree_in_any_order(kinds in proptest::collection::vec((0u8..5, "[abc](/[abc]){0,3}", 0u32..4), 1..100)) {
            let faults: Vec<Fault> =
                kinds.iter().map(|(kind, path, owner)| fault(&format!("E{kind}"), path, Some(*owner))).collect();
            let mut other = faults.clone();
            other.reverse();
            let groups = grouped(&faults);
            prop_assert_eq!(&groups, &grouped(&other));
            prop_assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), faults.len() as u64);
            prop_assert!(groups.is_sorted_by(|a, b| a.count >= b.count));
        }
    }
}

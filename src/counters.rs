//! One array of numbers with named slots: merging is adding, reducing over ranks is a sum.

use crate::tree::decide::Skip;
use crate::tree::{Aspect, Fate, Kept, Kind, Outcome};

/// A number that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Entries found in listings of the source.
    Seen(Kind),
    /// Entries whose fate is settled.
    Ended(Kind, Outcome),
    /// Entries passed over, by reason.
    Skipped(Skip),
    /// Names at which the trees differ, by what differs: a name may count several times.
    Difference(Aspect),
    /// Entries of the target that are to be removed.
    Planned(Kind),
    /// What became of them.
    Removal(Kind, Fate),
    /// Those that stay, by reason.
    Stays(Kept),
    /// Any other number.
    Number(Number),
}

/// Numbers beside the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Sizes of the regular files seen.
    BytesLogical,
    /// Bytes that the source allocates for them.
    BytesAllocated,
    /// Bytes read.
    BytesRead,
    /// Bytes written.
    BytesWritten,
    /// Bytes of files whose contents were compared, on each side.
    BytesCompared,
    /// Files whose target shares the blocks of the source.
    ReflinkFiles,
    /// Bytes shared so.
    ReflinkBytes,
    /// Files that the kernel or the file system copied.
    CopyFileRangeFiles,
    /// Bytes copied so.
    CopyFileRangeBytes,
    /// Files that we read and wrote.
    ReadWriteFiles,
    /// Bytes that we read and wrote.
    ReadWriteBytes,
    /// Files that were read back and found right.
    VerifiedFiles,
    /// Their sizes.
    VerifiedBytes,
    /// Names that listings of the source gave, and the root.
    Listed,
    /// Listed names that were not looked at because the run was stopped.
    Unlooked,
    /// Names that only the target has.
    TargetOnly,
    /// Entries of the target that the plan of a removal saw.
    TargetSeen,
    /// Source files whose ctime is newer than their copy, although size and time are equal.
    CtimeNewer,
    /// Their sizes.
    CtimeNewerBytes,
    /// Source entries whose ctime lies after the start of the run.
    CtimeAfterStart,
    /// Files of equal size on both sides, whose contents are in question.
    ContentsAsked,
    /// Files whose contents were compared.
    ContentsCompared,
    /// Their bytes, on one side.
    ContentsBytes,
    /// Directories that were renamed on the target, as they were on the source.
    Renamed,
    /// Directories that were walked once more to see what is to be removed.
    WalkedAgain,
    /// Left-overs of dead runs that were removed.
    Swept,
    /// Operations that had no answer: their entries were parked.
    Parked,
    /// Tries that failed for a reason that may pass, and were made again.
    Retried,
    /// Entries that were not tried, as their owner is over quota.
    OverQuota,
    /// Entries whose owner could not be set.
    OwnerUnset,
    /// Entries whose group could not be set.
    GroupUnset,
    /// Extended attributes that an ordinary user may not set.
    XattrsUnset,
    /// Files and directories that did not get the layout of their source.
    LayoutUnset,
    /// Groups of hard links.
    LinkGroups,
    /// Groups with names outside the tree.
    LinkGroupsOutside,
    /// Groups that became more than one inode on the target.
    LinkGroupsSplit,
    /// Items run.
    Items,
    /// Items spilled to the run directory.
    ItemsSpilled,
    /// Steals that brought items.
    Steals,
    /// Steal requests that were refused.
    Refusals,
    /// Items that came by stealing.
    ItemsStolen,
    /// Nanoseconds in which a worker had an item, over all workers.
    BusyNanoseconds,
    /// Faults.
    Faults,
}

const NUMBERS: usize = Number::Faults as usize + 1;
const KINDS: usize = Kind::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();
const ENDED: usize = KINDS;
const SKIPPED: usize = ENDED + KINDS * OUTCOMES;
const DIFFERENCES: usize = SKIPPED + Skip::ALL.len();
const PLANNED: usize = DIFFERENCES + Aspect::ALL.len();
const REMOVALS: usize = PLANNED + KINDS;
const STAYS: usize = REMOVALS + KINDS * Fate::ALL.len();
const OTHER: usize = STAYS + Kept::ALL.len();
const SLOTS: usize = OTHER + NUMBERS;

impl Slot {
    fn index(self) -> usize {
        match self {
            Slot::Seen(kind) => kind as usize,
            Slot::Ended(kind, outcome) => ENDED + kind as usize * OUTCOMES + outcome as usize,
            Slot::Skipped(skip) => SKIPPED + skip as usize,
            Slot::Difference(aspect) => DIFFERENCES + aspect as usize,
            Slot::Planned(kind) => PLANNED + kind as usize,
            Slot::Removal(kind, fate) => REMOVALS + kind as usize * Fate::ALL.len() + fate as usize,
            Slot::Stays(kept) => STAYS + kept as usize,
            Slot::Number(number) => OTHER + number as usize,
        }
    }
}

/// The counters of an item, a rank or a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters([u64; SLOTS]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; SLOTS])
    }
}

/// A kind of entry whose books do not balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imbalance {
    /// Of what.
    pub books: Books,
    /// The kind.
    pub kind: Kind,
    /// Entries found.
    pub seen: u64,
    /// Entries with an outcome.
    pub ended: u64,
}

/// Which books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Books {
    /// Entries of the source.
    Entries,
    /// Entries of the target that are to be removed.
    Removals,
}

impl Counters {
    /// Adds to a slot.
    pub fn add(&mut self, slot: Slot, n: u64) {
        if let Some(value) = self.0.get_mut(slot.index()) {
            // Sizes of sparse files are what their owners say.
            *value = value.saturating_add(n);
        }
    }

    /// Takes back what was added to a slot.
    pub fn take_back(&mut self, slot: Slot, n: u64) {
        if let Some(value) = self.0.get_mut(slot.index()) {
            *value = value.saturating_sub(n);
        }
    }

    /// Gives all that one slot has to another.
    pub fn turn(&mut self, from: Slot, into: Slot) {
        let n = self.get(from);
        if let Some(value) = self.0.get_mut(from.index()) {
            *value = 0;
        }
        self.add(into, n);
    }

    /// The value of a slot.
    pub fn get(&self, slot: Slot) -> u64 {
        self.0.get(slot.index()).copied().unwrap_or(0)
    }

    /// Adds to a number beside the books.
    pub fn count(&mut self, number: Number, n: u64) {
        self.add(Slot::Number(number), n);
    }

    /// Makes a number beside the books 0.
    pub fn clear(&mut self, number: Number) {
        if let Some(value) = self.0.get_mut(Slot::Number(number).index()) {
            *value = 0;
        }
    }

    /// A number beside the books.
    pub fn number(&self, number: Number) -> u64 {
        self.get(Slot::Number(number))
    }

    /// Adds all slots of another.
    pub fn merge(&mut self, other: &Counters) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            // Of a checkpoint that was forged: the books do not balance then, which is told in order.
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// The slots, for the wire.
    pub fn to_vec(&self) -> Vec<u64> {
        self.0.to_vec()
    }

    /// From the wire; `None` if the number of slots is not ours.
    pub fn from_slice(values: &[u64]) -> Option<Self> {
        values.try_into().ok().map(Self)
    }

    /// Entries with this outcome, over all kinds.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        Kind::ALL.iter().map(|&kind| self.get(Slot::Ended(kind, outcome))).sum()
    }

    /// Whether anything was found to differ.
    pub fn has_differences(&self) -> bool {
        Aspect::ALL.iter().any(|&aspect| self.get(Slot::Difference(aspect)) > 0)
    }

    /// Entries found, over all kinds.
    pub fn seen(&self) -> u64 {
        Kind::ALL.iter().map(|&kind| self.get(Slot::Seen(kind))).sum()
    }

    /// Entries that are to be removed, over all kinds.
    pub fn planned(&self) -> u64 {
        Kind::ALL.iter().map(|&kind| self.get(Slot::Planned(kind))).sum()
    }

    /// Entries with this fate, over all kinds.
    pub fn removals(&self, fate: Fate) -> u64 {
        Kind::ALL.iter().map(|&kind| self.get(Slot::Removal(kind, fate))).sum()
    }

    /// Gives what was planned and had no turn this fate: the run was stopped, or nothing was to be removed.
    pub fn end_removals(&mut self, fate: Fate) {
        for kind in Kind::ALL {
            let left = self.get(Slot::Planned(kind)).saturating_sub(self.removals_of(kind));
            self.add(Slot::Removal(kind, fate), left);
        }
    }

    /// What was walked twice stands in the books once.
    pub fn forget_second_walk(&mut self) {
        let twice = self.number(Number::WalkedAgain);
        let books = [Slot::Seen(Kind::Directory), Slot::Ended(Kind::Directory, Outcome::Same)];
        for slot in books.into_iter().chain([Number::Listed, Number::WalkedAgain].map(Slot::Number)) {
            self.take_back(slot, twice);
        }
    }

    fn removals_of(&self, kind: Kind) -> u64 {
        Fate::ALL.iter().map(|&fate| self.get(Slot::Removal(kind, fate))).sum()
    }

    /// The books: what was listed was looked at; for each kind, what was seen has an outcome, and what was
    /// planned a fate; what was skipped or stays has a reason.
    pub fn imbalances(&self) -> Vec<Imbalance> {
        let mut wrong = self.imbalances_of_entries();
        let of = |kind, seen, ended| Imbalance { books: Books::Removals, kind, seen, ended };
        let removals = |&kind: &Kind| of(kind, self.get(Slot::Planned(kind)), self.removals_of(kind));
        wrong.extend(Kind::ALL.iter().map(removals).filter(|books| books.seen != books.ended));
        let stay = Kept::ALL.iter().map(|&kept| self.get(Slot::Stays(kept))).sum();
        if self.removals(Fate::Kept) != stay {
            wrong.push(of(Kind::Unknown, self.removals(Fate::Kept), stay));
        }
        wrong
    }

    fn imbalances_of_entries(&self) -> Vec<Imbalance> {
        let books = Books::Entries;
        let of = |&kind: &Kind| Imbalance {
            books,
            kind,
            seen: self.get(Slot::Seen(kind)),
            ended: Outcome::ALL.iter().map(|&outcome| self.get(Slot::Ended(kind, outcome))).sum(),
        };
        let mut wrong: Vec<_> = Kind::ALL.iter().map(of).filter(|books| books.seen != books.ended).collect();
        let skipped = self.ended(Outcome::Skipped);
        let reasons = Skip::ALL.iter().map(|&skip| self.get(Slot::Skipped(skip))).sum();
        if skipped != reasons {
            wrong.push(Imbalance { books, kind: Kind::Unknown, seen: skipped, ended: reasons });
        }
        let looked_at = self.seen() + self.number(Number::Unlooked);
        if self.number(Number::Listed) != looked_at {
            wrong.push(Imbalance { books, kind: Kind::Unknown, seen: self.number(Number::Listed), ended: looked_at });
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counters() -> impl Strategy<Value = Counters> {
        proptest::collection::vec(0u64..1 << 40, SLOTS).prop_map(|v| Counters::from_slice(&v).unwrap())
    }

    fn sum(a: &Counters, b: &Counters) -> Counters {
        let mut sum = a.clone();
        sum.merge(b);
        sum
    }

    proptest! {
        #[test]
        fn merging_is_a_commutative_monoid(a in counters(), b in counters(), c in counters()) {
            prop_assert_eq!(sum(&a, &b), sum(&b, &a));
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
            prop_assert_eq!(sum(&a, &Counters::default()), a);
        }
    }

    #[test]
    fn every_slot_has_its_own_place() {
        let mut slots: Vec<Slot> = Kind::ALL.iter().map(|&kind| Slot::Seen(kind)).collect();
        for &kind in &Kind::ALL {
            slots.extend(Outcome::ALL.iter().map(|&outcome| Slot::Ended(kind, outcome)));
        }
        slots.extend(Skip::ALL.iter().map(|&skip| Slot::Skipped(skip)));
        slots.extend(Aspect::ALL.iter().map(|&aspect| Slot::Difference(aspect)));
        slots.extend(Kind::ALL.iter().map(|&kind| Slot::Planned(kind)));
        for &kind in &Kind::ALL {
            slots.extend(Fate::ALL.iter().map(|&fate| Slot::Removal(kind, fate)));
        }
        slots.extend(Kept::ALL.iter().map(|&kept| Slot::Stays(kept)));
        slots.push(Slot::Number(Number::BytesLogical));
        slots.push(Slot::Number(Number::Faults));
        let mut indices: Vec<usize> = slots.iter().map(|slot| slot.index()).collect();
        indices.dedup();
        assert_eq!(indices.len(), slots.len());
        assert_eq!(indices.last(), Some(&(SLOTS - 1)));
    }

    #[test]
    fn a_removal_without_a_fate_is_an_imbalance_until_the_run_is_said_to_have_stopped() {
        let mut books = Counters::default();
        books.add(Slot::Planned(Kind::File), 3);
        books.add(Slot::Removal(Kind::File, Fate::Removed), 1);
        books.add(Slot::Removal(Kind::File, Fate::Kept), 1);
        books.add(Slot::Stays(Kept::Changed), 1);
        assert_eq!(books.imbalances(), [Imbalance { books: Books::Removals, kind: Kind::File, seen: 3, ended: 2 }]);
        books.end_removals(Fate::Unfinished);
        assert_eq!((books.removals(Fate::Unfinished), books.imbalances()), (1, Vec::new()));
    }

    #[test]
    fn a_lost_entry_is_an_imbalance() {
        let mut books = Counters::default();
        books.count(Number::Listed, 2);
        books.add(Slot::Seen(Kind::File), 2);
        books.add(Slot::Ended(Kind::File, Outcome::Same), 1);
        assert_eq!(books.imbalances(), [Imbalance { books: Books::Entries, kind: Kind::File, seen: 2, ended: 1 }]);
        books.add(Slot::Ended(Kind::File, Outcome::Failed), 1);
        assert_eq!(books.imbalances(), []);
    }
}

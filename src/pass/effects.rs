//! What came of an item: enters the rank's state in one step, at the item's end.

use super::again::Failed;
use super::policy::{self, Meaning};
use crate::counters::{Counters, Number, Slot};
use crate::fault::{Error, Failure, Fault, Remedy, Side};
use crate::fs::data::{Copied, Engine};
use crate::tree::census::Census;
use crate::tree::decide::Skip;
use crate::tree::guard::Loss;
use crate::tree::remark::Remark;
use crate::tree::removal::kinds;
use crate::tree::{
    Along, Attributes, Difference, DirectoryItem, Fate, Identity, Item, Kept, Kind, Met, Names, Note, Outcome, TreePath,
};

/// What came of an item.
#[derive(Debug, Default)]
pub struct Effects {
    /// Items that it made.
    pub items: Vec<Item>,
    /// Directories to be settled when the pass is over.
    pub deferred: Vec<Deferred>,
    /// Notes to owners.
    pub notes: Vec<Note>,
    /// What is added to the books.
    pub counters: Counters,
    /// What went wrong.
    pub faults: Vec<Fault>,
    /// Where the trees differ, or what was changed on the target.
    pub differences: Vec<Difference>,
    /// What a person should know of entries with which nothing went wrong.
    pub remarks: Vec<Remark>,
    /// Directories of both trees, where those are recorded.
    pub met: Vec<Met>,
    /// `Item::Remove` and `Item::RemoveDirectory`: to be done when the guards have judged all of them.
    pub planned: Vec<Item>,
    /// What the subtrees would lose by that.
    pub losses: Vec<(TreePath, Loss)>,
    /// Target inodes of several names of which a dry run would have taken one away.
    pub gone: Vec<Identity>,
    /// `Item::Again`: to be done when what was planned is removed.
    pub again: Vec<Item>,
    /// What was counted, of a walk that only counts.
    pub census: Option<Box<Census>>,
    /// The fate that was settled last.
    pub last: Option<Outcome>,
    /// So many tries at the item failed before this one.
    pub tries: u8,
    /// Entries at which calls failed that may mean more: the item's end tells what becomes of them (`again`).
    pub failed: Vec<Failed>,
    /// Size and allocation of the file under work, once they are counted.
    pub measured: Option<(u64, u64)>,
    /// Owner of the entry that is about to fail, where somebody had looked anyway.
    pub owner: Option<u32>,
    /// Why nothing could be done of the item, if that is so.
    pub trouble: Option<Failure>,
    /// What failed and was released again, as an item of its own.
    pub released: Vec<Failure>,
    /// The directory of what failed, where the item does not tell.
    pub home: Option<DirectoryItem>,
    /// Of hard links: a name that is right, for others to be links of.
    pub leader: Option<TreePath>,
    /// The run is to stop, and can be gone on with.
    pub stop: Option<Error>,
}

/// A directory that could not be settled on the spot.
#[derive(Debug)]
pub struct Deferred {
    /// An `Item::Settle`.
    pub item: Item,
    /// Its final mode would keep us out: it must wait for everything below it. The number is its
    /// depth, so that the deepest come first.
    pub after_below: Option<u32>,
}

impl Effects {
    /// An entry was found.
    pub fn see(&mut self, kind: Kind) {
        self.counters.add(Slot::Seen(kind), 1);
    }

    /// What is counted, of a walk that only counts.
    pub fn census(&mut self) -> &mut Census {
        self.census.get_or_insert_default()
    }

    /// An entry's fate is settled.
    pub fn end(&mut self, kind: Kind, outcome: Outcome) {
        self.counters.add(Slot::Ended(kind, outcome), 1);
        self.last = Some(outcome);
    }

    /// An entry is passed over.
    pub fn skip(&mut self, kind: Kind, skip: Skip) {
        self.end(kind, Outcome::Skipped);
        self.counters.add(Slot::Skipped(skip), 1);
    }

    /// An entry failed: a system call did.
    pub fn fail(&mut self, kind: Kind, path: TreePath, failure: Failure) {
        if policy::meaning(failure) == Meaning::Entry {
            let owner = self.owner.take();
            return self.give_up(Failed { kind, path, failure, measured: None, owner });
        }
        self.last = Some(Outcome::Failed);
        let (measured, owner) = (self.measured.take(), self.owner.take());
        self.failed.push(Failed { kind, path, failure, measured, owner });
    }

    /// The entry has failed for good.
    pub fn give_up(&mut self, failed: Failed) {
        let Failed { kind, path, failure, owner, .. } = failed;
        self.end(kind, Outcome::Failed);
        self.fault(Fault { owner, ..policy::fault(path, failure) });
    }

    /// A file was found.
    pub fn measure(&mut self, source: &Attributes) {
        self.count(Number::BytesLogical, source.size);
        self.count(Number::BytesAllocated, source.allocated);
        self.measured = Some((source.size, source.allocated));
    }

    /// Whether a further try may come further than this one, at which the call failed.
    pub fn may_pass(&self, failure: Failure) -> bool {
        self.tries + 1 < policy::tries_max(failure)
    }

    /// Nothing could be done of the item, and it will be tried again: what it would do now is left.
    pub fn is_put_off(&self) -> bool {
        self.trouble.is_some_and(|trouble| self.may_pass(trouble))
    }

    /// The side that the last failure is blamed on.
    pub fn blamed(&self) -> Option<Side> {
        let failed = self.failed.last().map(|failed| failed.failure.side);
        failed.or_else(|| self.faults.last().map(|fault| fault.side))
    }

    /// An entry vanished or changed, or failed for a reason of ours.
    pub fn miss(&mut self, kind: Kind, path: TreePath, outcome: Outcome, side: Side, note: &'static str) {
        self.end(kind, outcome);
        self.fault(Fault { path, outcome, side, operation: "", errno: 0, note, remedy: Remedy::Again, owner: None });
    }

    /// The trees differ at a name.
    pub fn differ(&mut self, difference: Difference) {
        for aspect in difference.aspects.iter() {
            self.counters.add(Slot::Difference(aspect), 1);
        }
        self.differences.push(difference);
    }

    /// Something was changed on the target, or would be.
    pub fn change(&mut self, change: Difference) {
        self.differences.push(change);
    }

    /// Names are to be removed.
    pub fn plan(&mut self, names: &Names) {
        kinds(names).for_each(|kind| self.counters.add(Slot::Planned(kind), 1));
    }

    /// An entry that was to be removed has met its fate.
    pub fn remove(&mut self, kind: Kind, fate: Fate) {
        self.counters.add(Slot::Removal(kind, fate), 1);
    }

    /// The same for several.
    pub fn remove_all(&mut self, entries: &Along, fate: Fate) {
        entries.each().for_each(|(kind, n)| self.counters.add(Slot::Removal(kind, fate), n));
    }

    /// An entry that was to be removed stays.
    pub fn keep(&mut self, kind: Kind, kept: Kept) {
        self.remove(kind, Fate::Kept);
        self.counters.add(Slot::Stays(kept), 1);
    }

    /// The same for several.
    pub fn keep_all(&mut self, entries: &Along, kept: Kept) {
        self.remove_all(entries, Fate::Kept);
        entries.each().for_each(|(_, n)| self.counters.add(Slot::Stays(kept), n));
    }

    /// Something went wrong with an entry whose fate is recorded elsewhere.
    pub fn fault(&mut self, fault: Fault) {
        self.counters.count(Number::Faults, 1);
        let owner = fault.owner.or(self.owner.take());
        self.faults.push(Fault { owner, ..fault });
    }

    /// Where the source is said to be frozen nothing may vanish or change: what did has failed.
    pub fn harden(&mut self) {
        let is_soft = |outcome| matches!(outcome, Outcome::Vanished | Outcome::Changed);
        for kind in Kind::ALL {
            for soft in Outcome::ALL.into_iter().filter(|&outcome| is_soft(outcome)) {
                self.counters.turn(Slot::Ended(kind, soft), Slot::Ended(kind, Outcome::Failed));
            }
        }
        for fault in self.faults.iter_mut().filter(|fault| is_soft(fault.outcome)) {
            fault.outcome = Outcome::Failed;
        }
    }

    /// Content was moved, of a file or a part of one.
    pub fn count_moved(&mut self, copied: &Copied) {
        self.count(Number::BytesRead, copied.read);
        self.count(Number::BytesWritten, copied.written);
        for (engine, bytes) in Engine::ALL.into_iter().zip(copied.by_engine) {
            self.count(numbers(engine).1, bytes);
        }
    }

    /// A file is complete; `engine` moved most of it.
    pub fn count_file(&mut self, engine: Engine) {
        self.count(numbers(engine).0, 1);
    }

    /// A file of `size` bytes was read back and found right.
    pub fn count_verified(&mut self, size: u64) {
        self.count(Number::VerifiedFiles, 1);
        self.count(Number::VerifiedBytes, size);
    }

    /// Adds to a number beside the books.
    pub fn count(&mut self, number: Number, n: u64) {
        self.counters.count(number, n);
    }
}

/// Where the files and the bytes of an engine are counted.
fn numbers(engine: Engine) -> (Number, Number) {
    match engine {
        Engine::Reflink => (Number::ReflinkFiles, Number::ReflinkBytes),
        Engine::CopyFileRange => (Number::CopyFileRangeFiles, Number::CopyFileRangeBytes),
        Engine::ReadWrite => (Number::ReadWriteFiles, Number::ReadWriteBytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vanished_or_changed_has_failed_in_the_books_and_in_the_list() {
        let mut effects = Effects::default();
        for outcome in [Outcome::Same, Outcome::Vanished, Outcome::Changed, Outcome::Failed] {
            effects.see(Kind::File);
            effects.miss(Kind::File, TreePath::root(), outcome, Side::Source, "");
        }
        effects.harden();
        let ended = |outcome| effects.counters.ended(outcome);
        assert_eq!((ended(Outcome::Failed), ended(Outcome::Same), effects.counters.seen()), (3, 1, 4));
        assert_eq!((ended(Outcome::Vanished), ended(Outcome::Changed)), (0, 0));
        let outcomes: Vec<Outcome> = effects.faults.iter().map(|fault| fault.outcome).collect();
        assert_eq!(outcomes, [Outcome::Same, Outcome::Failed, Outcome::Failed, Outcome::Failed]);
    }
}

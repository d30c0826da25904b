//! How much of its work a run has done: what tells a run that gets on from one that stands still.

use bincode::{Decode, Encode};

use crate::counters::{Counters, Number};
use crate::tree::{Fate, Outcome};

/// None of these numbers ever falls while a run is stopped and gone on with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Headway {
    /// Entries, each when it is found and when its fate is settled.
    pub steps: u64,
    /// Bytes read, written and compared: a large file takes long until it is one entry more.
    pub bytes: u64,
    /// Entries of the target that are as they should be now, and were not: this lasts without a checkpoint, too.
    pub changed: u64,
}

impl Headway {
    /// What the counters of a rank, or of all, come to.
    pub fn of(counters: &Counters) -> Self {
        let ended = |outcomes: &[Outcome]| outcomes.iter().map(|&outcome| counters.ended(outcome)).sum::<u64>();
        let removals = |fates: &[Fate]| fates.iter().map(|&fate| counters.removals(fate)).sum::<u64>();
        let numbers = |numbers: &[Number]| numbers.iter().map(|&number| counters.number(number)).sum::<u64>();
        let unfinished = ended(&[Outcome::Unfinished]) + removals(&[Fate::Unfinished]);
        let all = ended(&Outcome::ALL) + removals(&Fate::ALL) + counters.seen() + numbers(&[Number::TargetSeen]);
        let to_target = [Outcome::Created, Outcome::Updated, Outcome::MetadataOnly, Outcome::Linked];
        Self {
            steps: all - unfinished,
            bytes: numbers(&[Number::BytesRead, Number::BytesWritten, Number::BytesCompared]),
            changed: ended(&to_target) + removals(&[Fate::Removed, Fate::Trashed]),
        }
    }

    /// Of two ranks.
    pub fn plus(self, other: Self) -> Self {
        Self { steps: self.steps + other.steps, bytes: self.bytes + other.bytes, changed: self.changed + other.changed }
    }

    /// What is certain when each of two is.
    pub fn at_least(self, other: Self) -> Self {
        Self {
            steps: self.steps.max(other.steps),
            bytes: self.bytes.max(other.bytes),
            changed: self.changed.max(other.changed),
        }
    }

    /// For scripts: steps and bytes.
    pub fn line(self) -> String {
        format!("{} {}\n", self.steps, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Slot;
    use crate::tree::Kind;

    fn counted(slots: &[(Slot, u64)]) -> Headway {
        let mut counters = Counters::default();
        slots.iter().for_each(|&(slot, n)| counters.add(slot, n));
        Headway::of(&counters)
    }

    #[test]
    fn an_entry_counts_when_it_is_found_and_when_it_is_done() {
        let found = counted(&[(Slot::Seen(Kind::File), 3)]);
        let done = counted(&[(Slot::Seen(Kind::File), 3), (Slot::Ended(Kind::File, Outcome::Same), 2)]);
        assert_eq!((found.steps, done.steps, done.changed), (3, 5, 0));
    }

    #[test]
    fn what_was_not_come_to_is_no_headway() {
        let unfinished =
            [(Slot::Ended(Kind::File, Outcome::Unfinished), 5), (Slot::Removal(Kind::File, Fate::Unfinished), 7)];
        assert_eq!(counted(&unfinished), Headway::default());
    }

    #[test]
    fn what_changed_on_the_target_is_told_apart() {
        let done = [(Slot::Ended(Kind::File, Outcome::Created), 5), (Slot::Removal(Kind::File, Fate::Removed), 7)];
        assert_eq!(counted(&done), Headway { steps: 12, bytes: 0, changed: 12 });
    }

    #[test]
    fn bytes_count_before_their_file_is_done() {
        let bytes = [(Slot::Number(Number::BytesRead), 4), (Slot::Number(Number::BytesWritten), 4)];
        assert_eq!(counted(&bytes).line(), "0 8\n");
    }
}

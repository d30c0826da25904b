//! Which files nobody knows to have reached the disk: those that a run wrote which did not end well.

use bincode::{Decode, Encode};

use super::attributes::{Attributes, Kind};
use super::decide::Policy;
use super::time::Time;

/// When, by the target's clock, files were written that were not flushed with an answer. A file whose ctime lies
/// within may have the size and the time of its source and another content: it is compared, not believed.
///
/// The ctime, and not the modification time, as nobody sets it: it moves with the last step by which a file is
/// published (its times, its rename), which comes after all its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Doubt {
    /// The last durable point.
    pub since: Time,
    /// What was written later was flushed. `None`: nothing is known to be.
    pub until: Option<Time>,
}

impl Doubt {
    /// From `since` on nothing is known.
    pub fn since(since: Time) -> Self {
        Self { since, until: None }
    }

    /// Both doubts, and all that lies between.
    pub fn and(self, other: Self) -> Self {
        let until = self.until.zip(other.until).map(|(mine, theirs)| mine.max(theirs));
        Self { since: self.since.min(other.since), until }
    }

    /// The same, when all that was written from `now` on was flushed.
    pub fn ending(self, now: Time) -> Self {
        Self { until: self.until.or(Some(now)), ..self }
    }

    /// Whether this target entry is a file that is not believed. Metadata are: they are journalled in the order
    /// in which they were set (`docs/internals/durability.md`).
    pub fn holds(&self, policy: &Policy, target: &Attributes) -> bool {
        let margin = policy.clock_skew + policy.target.times.granularity;
        target.kind == Kind::File
            && target.ctime.plus(margin) >= self.since
            && self.until.is_none_or(|until| target.ctime <= until.plus(margin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::attributes::Identity;
    use crate::tree::decide::Abilities;
    use crate::tree::time::TimeLimits;

    fn at(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 0 }
    }

    fn file(changed: i64) -> Attributes {
        Attributes {
            kind: Kind::File,
            identity: Identity { inode: 1, birth: None },
            device: 1,
            links: 1,
            uid: 0,
            gid: 0,
            mode: 0o644,
            size: 7,
            allocated: 4096,
            rdev: 0,
            atime: at(0),
            mtime: at(0),
            ctime: at(changed),
        }
    }

    fn policy(skew: u64, granularity: u64) -> Policy {
        let times = TimeLimits { granularity, ..TimeLimits::EXACT };
        let target = Abilities { times, ..Abilities::NONE };
        Policy { clock_skew: skew * 1_000_000_000, target, ..Policy::EVERYTHING }
    }

    #[test]
    fn a_file_is_doubted_from_the_point_on_and_by_the_margin_before_it() {
        let doubt = Doubt::since(at(100));
        let holds = |changed| doubt.holds(&policy(2, 1_000_000_000), &file(changed));
        assert!(!holds(96), "clearly before it");
        assert!(holds(97) && holds(100) && holds(1_000_000));
    }

    #[test]
    fn what_was_flushed_later_is_believed_again() {
        let doubt = Doubt::since(at(100)).ending(at(200));
        let holds = |changed| doubt.holds(&policy(2, 1), &file(changed));
        assert!(holds(150) && holds(202) && !holds(203));
        assert_eq!(doubt.ending(at(300)), doubt, "it does not grow again");
    }

    #[test]
    fn of_several_dead_runs_the_earliest_point_counts() {
        let (first, second) = (Doubt::since(at(100)).ending(at(150)), Doubt::since(at(200)));
        assert_eq!(first.and(second), Doubt::since(at(100)));
        let third = Doubt::since(at(90)).ending(at(120));
        assert_eq!(first.and(third), Doubt { since: at(90), until: Some(at(150)) });
    }

    #[test]
    fn only_files_are_doubted() {
        let link = Attributes { kind: Kind::Symlink, ..file(500) };
        assert!(!Doubt::since(at(100)).holds(&policy(2, 1), &link));
    }
}

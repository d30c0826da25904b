//! The verdict on a run that is over, and its lock given back.

use crate::counters::{Counters, Number, Slot};
use crate::engine::Ended;
use crate::fault::{Error, Failure};
use crate::fs::Fd;
use crate::fs::private::Private;
use crate::run::lock::{Ending, Lock};
use crate::sched::Stop;
use crate::tree::{Fate, Kept, Outcome};

/// Gives the lock back and removes the private directory if nothing else lies there. A run that dies keeps
/// its lock: the next one learns from it whose temporary names to sweep and what to compare, and passes that on
/// unless it looked at everything.
pub fn give_back(private: Private, lock: Lock, target: &Fd, ending: Ending) {
    let released = private.remove(c"nonce").and_then(|()| lock.release(&private, ending));
    // What can not be removed is swept by the next run; the mirror is complete all the same.
    let _: Result<(), Failure> = released.and_then(|()| private.remove_from(target));
}

/// The program's exit code: of several, the one that matters most.
pub fn exit_code(counters: &Counters, ended: Ended, error: Option<&Error>) -> u8 {
    if error.is_none() && !counters.imbalances().is_empty() {
        return 70;
    }
    let has = |outcome| counters.ended(outcome) > 0;
    // What nobody came to although nobody stopped the run was lost.
    if error.is_none() && ended == Ended::Quiet && (has(Outcome::Unfinished) || counters.removals(Fate::Unfinished) > 0)
    {
        return 70;
    }
    let removals = |fate| counters.removals(fate) > 0;
    let stays = |kept| counters.get(Slot::Stays(kept)) > 0;
    let failed = has(Outcome::Failed) || removals(Fate::Failed) || stays(Kept::HoldsFailed);
    let holds = Kept::ALL.iter().any(|&kept| kept.holds_back() && stays(kept));
    let holds_back = removals(Fate::Held) || holds;
    let changed = [Outcome::Created, Outcome::Updated, Outcome::MetadataOnly, Outcome::Linked].into_iter().any(has);
    let goes = removals(Fate::Removed) || removals(Fate::Trashed);
    match (error, ended) {
        (Some(error), _) => error.exit_code(),
        (None, Ended::Stopped(Stop::Halt | Stop::Error)) => 11,
        (None, Ended::Quiet) if holds_back && !changed && !goes => 3,
        (None, Ended::Stopped(Stop::Signal)) => 20,
        (None, Ended::Stopped(Stop::Time)) => 75,
        (None, Ended::Quiet) if failed => 23,
        (None, Ended::Quiet) if holds_back => 25,
        (None, Ended::Quiet) if has(Outcome::Different) || counters.has_differences() => 26,
        (None, Ended::Quiet) if has(Outcome::Vanished) || has(Outcome::Changed) => 24,
        (None, Ended::Quiet) if counters.number(Number::CtimeAfterStart) > 0 => 24,
        (None, Ended::Quiet) if stays(Kept::OnSource) => 24,
        (None, Ended::Quiet) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Aspect, Kind};

    fn books(outcomes: &[Outcome]) -> Counters {
        let mut counters = Counters::default();
        for &outcome in outcomes {
            counters.count(Number::Listed, 1);
            counters.add(Slot::Seen(Kind::File), 1);
            counters.add(Slot::Ended(Kind::File, outcome), 1);
        }
        counters
    }

    #[test]
    fn of_several_exit_codes_the_first_in_the_table_wins() {
        use Outcome::{Changed, Different, Failed, Same, Vanished};
        let code = |outcomes: &[Outcome]| exit_code(&books(outcomes), Ended::Quiet, None);
        assert_eq!(code(&[Same]), 0);
        assert_eq!(code(&[Same, Vanished]), 24);
        assert_eq!(code(&[Changed, Same]), 24);
        assert_eq!(code(&[Changed, Failed]), 23);
        assert_eq!(code(&[Different, Same]), 26);
        assert_eq!(code(&[Different, Changed, Vanished]), 26);
        assert_eq!(code(&[Different, Failed]), 23);
        let fatal = Error::Fatal(String::new());
        assert_eq!(exit_code(&books(&[Failed]), Ended::Stopped(Stop::Signal), None), 20);
        assert_eq!(exit_code(&books(&[Failed]), Ended::Stopped(Stop::Time), None), 75);
        assert_eq!(exit_code(&books(&[Failed]), Ended::Stopped(Stop::Error), Some(&fatal)), 11);
    }

    #[test]
    fn deletions_that_are_held_back_tell_whether_anything_was_done() {
        let code = |outcome, fates: &[Fate]| {
            let mut counters = books(&[outcome]);
            for &fate in fates {
                counters.add(Slot::Planned(Kind::File), 1);
                counters.add(Slot::Removal(Kind::File, fate), 1);
            }
            exit_code(&counters, Ended::Quiet, None)
        };
        assert_eq!(code(Outcome::Same, &[Fate::Removed]), 0);
        assert_eq!(code(Outcome::Same, &[Fate::Held]), 3);
        assert_eq!(code(Outcome::Same, &[Fate::Held, Fate::Removed]), 25);
        assert_eq!(code(Outcome::Created, &[Fate::Held]), 25);
        assert_eq!(code(Outcome::Created, &[Fate::Held, Fate::Failed]), 23);
        assert_eq!(code(Outcome::Same, &[Fate::Failed]), 23, "what failed was refused by no guard");
    }

    #[test]
    fn a_frozen_source_that_is_written_to_is_told_unless_there_is_worse() {
        let code = |outcome| {
            let mut counters = books(&[outcome]);
            counters.count(Number::CtimeAfterStart, 1);
            exit_code(&counters, Ended::Quiet, None)
        };
        assert_eq!((code(Outcome::Updated), code(Outcome::Failed)), (24, 23));
    }

    #[test]
    fn a_name_that_only_the_target_has_is_a_difference_though_nothing_was_seen() {
        let mut counters = books(&[Outcome::Same]);
        counters.add(Slot::Difference(Aspect::TargetOnly), 1);
        assert_eq!(exit_code(&counters, Ended::Quiet, None), 26);
    }

    #[test]
    fn books_that_do_not_balance_are_never_a_success() {
        let mut counters = books(&[Outcome::Same]);
        counters.add(Slot::Seen(Kind::File), 1);
        assert_eq!(exit_code(&counters, Ended::Quiet, None), 70);
    }
}

//! How far clocks differ: bounds that follow from the order of events alone, however long a message takes.

use bincode::{Decode, Encode};
use serde::Serialize;

use super::Finding;

/// A clock is ahead of another by at least and at most so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode, Serialize)]
pub struct Offset {
    /// At least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

/// What a rank read of its clock before and after a meeting of all ranks.
pub type Meeting = (f64, f64);

impl Offset {
    /// The clock of one rank against that of another, by meetings that both were at. Nobody leaves a meeting before all
    /// have come: each left later than the other came.
    pub fn of_meetings(of: &[Meeting], against: &[Meeting]) -> Option<Self> {
        let bounds = |(mine, theirs): (&Meeting, &Meeting)| Self { low: mine.0 - theirs.1, high: mine.1 - theirs.0 };
        of.iter().zip(against).map(bounds).reduce(Self::both)
    }

    /// The clock of a file system by which a file was made at `made`, against that of the node, which was read before
    /// and after. It may be told in steps of so many seconds.
    pub fn of_file(before: f64, made: f64, after: f64, step: f64) -> Self {
        Self { low: made - after, high: made + step - before }
    }

    /// What both say.
    pub fn both(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    /// Seconds that both clocks differ at least.
    pub fn at_least(self) -> f64 {
        self.low.max(-self.high).max(0.0)
    }

    /// Seconds that both clocks differ at most.
    pub fn at_most(self) -> f64 {
        self.high.abs().max(self.low.abs())
    }
}

const REMEDY: &str = "let chrony or ntpd set the clocks; else run with --clock-skew";

/// The clocks of the nodes against the first, each with its node. `skew`: seconds that clocks may differ (`--clock-skew`).
pub fn nodes(offsets: &[(String, Offset)], skew: f64) -> Finding {
    let worst = offsets.iter().max_by(|a, b| a.1.at_least().total_cmp(&b.1.at_least()));
    match worst {
        None => Finding::good("clocks", "there is one node"),
        Some((host, offset)) if offset.at_least() > skew => Finding::warning(
            "clocks",
            format!("the clock of {host} differs from the first node's by {:.1} s at least", offset.at_least()),
            format!("{REMEDY}={}", whole(offset.at_most())),
        ),
        Some(_) => {
            let most = offsets.iter().map(|(_, offset)| offset.at_most()).fold(0.0, f64::max);
            Finding::good("clocks", format!("the nodes' clocks differ by at most {}", shown(most)))
        }
    }
}

/// The clock by which DST's file system dates its files.
pub fn target(offsets: &[(String, Offset)], skew: f64) -> Option<Finding> {
    let check = "clock_of_target";
    let (host, offset) = offsets.iter().max_by(|a, b| a.1.at_least().total_cmp(&b.1.at_least()))?;
    let (least, most) = (offset.at_least(), offset.at_most());
    Some(if least > skew {
        Finding::warning(
            check,
            format!("the clock by which DST dates files differs from that of {host} by {least:.1} s at least"),
            format!("{REMEDY}={}", whole(most)),
        )
    } else {
        let most = offsets.iter().map(|(_, offset)| offset.at_most()).fold(0.0, f64::max);
        Finding::good(
            check,
            format!("DST dates files by a clock that differs from the nodes' by at most {}", shown(most)),
        )
    })
}

/// The clock of SRC, in which nothing is made. `ahead`: seconds that the newest time seen there lies in the future.
pub fn source(ahead: Option<f64>, skew: f64) -> Finding {
    let check = "clock_of_source";
    match ahead {
        Some(ahead) if ahead > skew => Finding::warning(
            check,
            format!(
                "SRC has a time of change that lies {ahead:.0} s in the future: its clock is ahead at least so much"
            ),
            format!("{REMEDY}={}", whole(ahead)),
        ),
        Some(_) => Finding::good(
            check,
            "no time of change seen in SRC lies in the future; no more can be told without writing",
        ),
        None => Finding::good(check, "not measured: nothing is written in SRC, and no time of it was seen"),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Seconds between clocks, for an option.
fn whole(seconds: f64) -> u64 {
    seconds.ceil() as u64
}

fn shown(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", (seconds * 1_000.0).ceil()) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;
    use proptest::prelude::*;

    proptest! {
        /// Whatever ranks wait and whenever they come: the true difference lies between the bounds.
        #[test]
        fn the_true_difference_lies_within_the_bounds(
            ahead in -100.0..100.0f64,
            rounds in proptest::collection::vec((0.0..3.0f64, 0.0..3.0f64, 0.0..3.0f64, 0.0..3.0f64), 1..6),
        ) {
            let (mut mine, mut theirs, mut now) = (Vec::new(), Vec::new(), 1_000.0);
            for (i_come, they_come, i_leave, they_leave) in rounds {
                let met = now + i_come.max(they_come);
                mine.push((now + i_come + ahead, met + i_leave + ahead));
                theirs.push((now + they_come, met + they_leave));
                now = met + i_leave.max(they_leave);
            }
            let offset = Offset::of_meetings(&mine, &theirs).unwrap();
            prop_assert!(offset.low <= ahead + 1e-6 && ahead - 1e-6 <= offset.high, "{:?}", offset);
            prop_assert!(offset.at_least() <= ahead.abs() + 1e-6 && ahead.abs() - 1e-6 <= offset.at_most());
        }
    }

    #[test]
    fn a_file_that_is_dated_in_whole_seconds_proves_no_skew_below_one() {
        assert_eq!(Offset::of_file(10.2, 10.0, 10.3, 1.0).at_least(), 0.0);
        assert!(Offset::of_file(10.2, 15.0, 10.3, 1.0).at_least() > 4.0);
        assert!(Offset::of_file(10.2, 5.0, 10.3, 1.0).at_least() > 4.0);
    }

    #[test]
    fn only_what_is_proven_is_a_warning_and_names_the_node() {
        let close = ("near".to_owned(), Offset { low: -3.0, high: 4.0 });
        let far = ("far".to_owned(), Offset { low: 5.0, high: 6.5 });
        assert_eq!(nodes(&[], 2.0).verdict, Verdict::Good);
        assert_eq!(nodes(std::slice::from_ref(&close), 2.0).verdict, Verdict::Good);
        let found = nodes(&[close.clone(), far.clone()], 2.0);
        assert!(found.verdict == Verdict::Warning && found.what.contains("far"), "{found:?}");
        assert!(found.remedy.ends_with("--clock-skew=7"), "{found:?}");
        assert_eq!(nodes(std::slice::from_ref(&far), 6.0).verdict, Verdict::Good, "as much as was said to be");
        assert_eq!(target(&[], 2.0), None);
        assert_eq!(target(&[close.clone(), far.clone()], 2.0).unwrap().verdict, Verdict::Warning);
        let verdicts = [None, Some(-5.0), Some(1.0), Some(60.0)].map(|ahead| source(ahead, 2.0).verdict);
        assert_eq!(verdicts, [Verdict::Good, Verdict::Good, Verdict::Good, Verdict::Warning]);
    }
}

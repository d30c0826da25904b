//! How far a run is, and when it will be done: pure.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{DecimalBytes, HumanCount};
use serde::{Deserialize, Serialize};

use crate::counters::{Counters, Number};
use crate::tree::Outcome;

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Entries, where they are known.
    pub entries: Option<u64>,
    /// Bytes of regular files.
    pub size: Size,
}

/// Bytes of regular files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Their sizes.
    Logical(u64),
    /// What is allocated for them.
    Allocated(u64),
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    done: f64,
    is_exceeded: bool,
}

/// A longer time is no forecast any more.
const ETA_MAX: Duration = Duration::from_secs(1000 * 3600);

impl Share {
    /// The smaller share of both, entries whose fate is settled and bytes that were seen: many small files
    /// and few large ones take their time in turn.
    pub fn of(total: &Total, counters: &Counters) -> Self {
        let settled = Outcome::ALL.iter().map(|&outcome| counters.ended(outcome)).sum();
        let (bytes, bytes_all) = match total.size {
            Size::Logical(all) => (counters.number(Number::BytesLogical), all),
            Size::Allocated(all) => (counters.number(Number::BytesAllocated), all),
        };
        let by_entries = total.entries.map(|all| (settled, all));
        let by_bytes = Some((bytes, bytes_all));
        let parts = [by_entries, by_bytes].into_iter().flatten().filter(|&(_, all)| all > 0);
        let start = Self { done: 1.0, is_exceeded: false };
        parts.fold(start, |share, (part, all)| Self {
            done: share.done.min(ratio(part, all)),
            is_exceeded: share.is_exceeded || part > all,
        })
    }

    /// The percentage. That all is done only the end of the run can tell.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // From 0 to 99.
    pub fn percent(self) -> u32 {
        (self.done * 100.0).clamp(0.0, 99.0) as u32
    }

    /// The time that is left, at the rate since the share was `before`.
    pub fn time_left(self, before: Share, elapsed: Duration) -> Option<Duration> {
        let gained = self.done - before.done;
        if self.is_exceeded || gained <= 0.0 {
            return None;
        }
        let seconds = (1.0 - self.done) / gained * elapsed.as_secs_f64();
        Duration::try_from_secs_f64(seconds).ok().filter(|&left| left < ETA_MAX)
    }
}

#[allow(clippy::cast_precision_loss)] // A share.
fn ratio(part: u64, all: u64) -> f64 {
    (part as f64 / all as f64).min(1.0)
}

/// What is told of a run while it goes. Nothing is in it that is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The pass.
    pub pass: Cow<'static, str>,
    /// Since the passes began.
    pub elapsed_seconds: u64,
    /// Entries found; of deletions those that were planned for, then those that had their turn.
    pub entries: u64,
    /// Sizes of the regular files found.
    pub bytes: u64,
    /// Entries of the target that this attempt has made, mended or removed.
    pub changed: u64,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// How long it will still take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

impl Standing {
    /// In a few words, for the comment of a job.
    pub fn in_words(&self) -> String {
        let mut words = match self.percent {
            Some(percent) => format!("{percent} % {}", decimal(self.bytes)),
            None if self.bytes > 0 => {
                format!("{} {} entries {}", self.pass, HumanCount(self.entries), decimal(self.bytes))
            }
            None => format!("{} {} entries", self.pass, HumanCount(self.entries)),
        };
        if let Some(seconds) = self.seconds_left {
            words.push_str(&format!(" ETA {}", hours_and_minutes(seconds)));
        }
        words
    }
}

/// Hours and minutes; the last minute counts as one.
pub fn hours_and_minutes(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// As people speak of file systems: 1.2 PB.
fn decimal(bytes: u64) -> String {
    let text = DecimalBytes(bytes).to_string();
    match text.split_once('.') {
        Some((whole, rest)) => {
            let (digits, unit) = rest.split_once(' ').unwrap_or((rest, ""));
            format!("{whole}.{} {unit}", digits.get(..1).unwrap_or(digits))
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Slot;
    use crate::tree::Kind;

    const HOUR: Duration = Duration::from_secs(3600);

    fn counted(settled: u64, logical: u64, allocated: u64) -> Counters {
        let mut counters = Counters::default();
        counters.add(Slot::Seen(Kind::File), 2 * settled);
        counters.add(Slot::Ended(Kind::File, Outcome::Same), settled);
        counters.count(Number::BytesLogical, logical);
        counters.count(Number::BytesAllocated, allocated);
        counters
    }

    fn percent(total: Total, counters: &Counters) -> u32 {
        Share::of(&total, counters).percent()
    }

    #[test]
    fn the_smaller_share_of_entries_and_bytes_counts() {
        let total = Total { entries: Some(100), size: Size::Logical(1000) };
        assert_eq!(percent(total, &counted(61, 900, 0)), 61);
        assert_eq!(percent(total, &counted(90, 619, 0)), 61);
        assert_eq!(percent(total, &counted(0, 1000, 0)), 0);
    }

    #[test]
    fn a_file_system_that_counts_no_inodes_tells_its_bytes() {
        let total = Total { entries: None, size: Size::Allocated(1000) };
        assert_eq!(percent(total, &counted(1, 999, 250)), 25);
    }

    #[test]
    fn all_that_is_known_to_be_there_is_still_not_the_end() {
        let total = Total { entries: Some(100), size: Size::Logical(0) };
        assert_eq!(percent(total, &counted(100, 0, 0)), 99);
        let share = Share::of(&total, &counted(100, 0, 0));
        assert_eq!(share.time_left(Share::default(), HOUR), Some(Duration::ZERO));
    }

    #[test]
    fn a_total_that_is_exceeded_gives_no_more_than_99_percent_and_no_end() {
        let total = Total { entries: Some(100), size: Size::Logical(1000) };
        let share = Share::of(&total, &counted(101, 4000, 0));
        assert_eq!((share.percent(), share.time_left(Share::default(), HOUR)), (99, None));
        let share = Share::of(&total, &counted(50, 4000, 0));
        assert_eq!((share.percent(), share.time_left(Share::default(), HOUR)), (50, None));
    }

    #[test]
    fn the_time_left_comes_from_the_rate_since_the_pass_began() {
        let total = Total { entries: Some(100), size: Size::Logical(100) };
        let (before, now) = (Share::of(&total, &counted(20, 20, 0)), Share::of(&total, &counted(60, 60, 0)));
        let left = now.time_left(before, HOUR).map(|left| left.as_secs_f64().round());
        assert_eq!(left, Some(3600.0));
        assert_eq!(now.time_left(now, HOUR), None);
        assert_eq!(Share { done: 1e-12, ..before }.time_left(Share::default(), HOUR), None);
    }

    #[test]
    fn the_comment_tells_share_size_and_hours_and_minutes_to_the_end() {
        let mut standing = Standing {
            pass: "mirror".into(),
            elapsed_seconds: 60,
            entries: 1_234_567,
            bytes: 1_249_000_000_000_000,
            changed: 0,
            percent: Some(61),
            seconds_left: Some(2 * 3600 + 39 * 60 + 1),
        };
        assert_eq!(standing.in_words(), "61 % 1.2 PB ETA 02:40");
        standing.seconds_left = None;
        assert_eq!(standing.in_words(), "61 % 1.2 PB");
        standing.percent = None;
        assert_eq!(standing.in_words(), "mirror 1,234,567 entries 1.2 PB");
        standing.bytes = 0;
        assert_eq!(standing.in_words(), "mirror 1,234,567 entries");
    }
}

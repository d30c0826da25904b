//! What `progress.json` tells of a run while it goes, beside how far it is: for `pmirror status`, and for whoever
//! scripts against it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::share::Standing;
use super::summary::bytes_done;
use crate::counters::{Counters, Number};
use crate::fs::process::ProcessId;
use crate::sched::{Rank, Report, Stop};
use crate::tree::Outcome;

/// Intervals whose rates are kept: five minutes of them.
const INTERVALS_MAX: usize = 30;

/// Silent ranks that are named.
const SILENT_MAX: usize = 16;

/// The pass in which a run sums up: no wave comes any more.
pub const LAST_PASS: &str = "end";

/// Whose progress it is. It stays as it is while the run goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Whose {
    /// The run.
    pub run_id: String,
    /// Such as `sync`.
    pub command: String,
    /// From 1.
    pub attempt: u32,
    /// The Slurm job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The node of rank 0.
    pub host: String,
    /// Rank 0.
    pub process: ProcessId,
    /// How many.
    pub ranks: u32,
    /// Bytes that each rank may use of memory.
    pub memory_max: u64,
}

/// What changes while a run goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// When it was written, RFC 3339, by the clock of rank 0.
    pub at: String,
    /// Bytes written, or compared.
    pub moved: u64,
    /// Over the last interval.
    pub rate: Rate,
    /// Since the pass began.
    pub mean: Rate,
    /// Of the last intervals, the latest last.
    pub recent: Vec<Rate>,
    /// Entries by what became of them.
    pub outcomes: BTreeMap<String, u64>,
    /// Faults so far.
    pub faults: u64,
    /// Operations that had no answer.
    pub parked: u64,
    /// Items that wait.
    pub queued: u64,
    /// Ranks without work.
    pub idle_ranks: u32,
    /// Ranks that do not answer.
    pub silent_ranks: u64,
    /// Some of them.
    pub silent: Vec<Place>,
    /// What has been running longest on the ranks where that is, the oldest first.
    pub oldest: Vec<Operation>,
    /// Why it ends early, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping: Option<String>,
    /// When it will stop by itself, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stops_at: Option<String>,
    /// When the checkpoint that is in force was put there, RFC 3339, by the clock of the state directory's server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_at: Option<String>,
}

/// How fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rate {
    /// A second.
    pub entries: u64,
    /// A second, written or compared.
    pub bytes: u64,
}

/// A rank and its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// Its number.
    pub rank: u32,
    /// Its node.
    pub host: String,
}

/// An operation under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// What it is, for people.
    pub what: String,
    /// For how long.
    pub seconds: u64,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
}

/// All of `progress.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// How far it is.
    #[serde(flatten)]
    pub standing: Standing,
    /// Whose it is.
    #[serde(flatten)]
    pub whose: Whose,
    /// The rest.
    #[serde(flatten)]
    pub live: Live,
    /// In a few words. Scripts find it on a line of its own, as it is the last.
    #[serde(default)]
    pub comment: String,
}

impl Told {
    /// As it stands in the file.
    pub fn to_json(&self) -> String {
        let mut json = super::json::pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// What a file says.
    pub fn of_json(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }
}

impl Live {
    /// What a wave has brought. Rates and times are not in it.
    pub fn of(counters: &Counters, report: &Report, hosts: &[String]) -> Self {
        let ended = |&outcome: &Outcome| (outcome.word().to_owned(), counters.ended(outcome));
        let place = |rank: Rank| Place { rank: rank.0, host: hosts.get(rank.0 as usize).cloned().unwrap_or_default() };
        let oldest = report.oldest.iter().map(|oldest| Operation {
            what: oldest.what.clone(),
            seconds: oldest.age.as_secs(),
            place: place(oldest.rank),
        });
        Self {
            moved: bytes_done(counters),
            outcomes: Outcome::ALL.iter().map(ended).filter(|&(_, n)| n > 0).collect(),
            faults: counters.number(Number::Faults),
            parked: counters.number(Number::Parked),
            queued: report.queued,
            idle_ranks: report.idle_ranks,
            silent_ranks: report.silent.len() as u64,
            silent: report.silent.iter().take(SILENT_MAX).map(|&rank| place(rank)).collect(),
            oldest: oldest.collect(),
            stopping: report.stop.map(why).map(str::to_owned),
            ..Self::default()
        }
    }
}

fn why(stop: Stop) -> &'static str {
    match stop {
        Stop::Time => "the time is up",
        Stop::Signal => "a signal came",
        Stop::Halt => "DST takes nothing more for now, or a root is gone",
        Stop::Error => "an error",
    }
}

/// Rates from what was counted at some moments.
#[derive(Debug, Default)]
pub struct Rates {
    pass: String,
    /// When the pass was seen first, and what was counted by then.
    first: (f64, u64, u64),
    last: (f64, u64, u64),
    recent: Vec<Rate>,
}

impl Rates {
    /// So much was counted by so many seconds. Puts the rates that come of it into `live`.
    pub fn observe(&mut self, pass: &str, (seconds, entries, bytes): (f64, u64, u64), live: &mut Live) {
        let now = (seconds, entries, bytes);
        if self.pass != pass {
            // Each pass counts other entries.
            pass.clone_into(&mut self.pass);
            self.first = if self.last.0 == 0.0 { (0.0, 0, 0) } else { now };
        } else {
            self.recent.push(rate(self.last, now));
            let over = self.recent.len().saturating_sub(INTERVALS_MAX);
            self.recent.drain(..over);
        }
        live.mean = rate(self.first, now);
        live.rate = self.recent.last().copied().unwrap_or(live.mean);
        live.recent.clone_from(&self.recent);
        self.last = now;
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Rates for people.
fn rate(before: (f64, u64, u64), now: (f64, u64, u64)) -> Rate {
    let seconds = now.0 - before.0;
    if seconds <= 0.0 {
        return Rate::default();
    }
    let per_second = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds) as u64;
    Rate { entries: per_second(now.1, before.1), bytes: per_second(now.2, before.2) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Slot;
    use crate::sched::Oldest;
    use crate::tree::Kind;
    use std::time::Duration;

    #[test]
    fn what_is_told_comes_back_and_the_comment_is_the_last_line_of_it() {
        let oldest = Oldest { rank: Rank(1), age: Duration::from_secs(45), what: "copy a/b".to_owned() };
        let report =
            Report { idle_ranks: 1, queued: 7, oldest: vec![oldest], silent: vec![Rank(0)], ..Report::default() };
        let mut counters = Counters::default();
        counters.add(Slot::Ended(Kind::File, Outcome::Created), 3);
        let live = Live::of(&counters, &report, &["n1".to_owned(), "n2".to_owned()]);
        assert_eq!((live.oldest[0].place.host.as_str(), live.silent[0].host.as_str()), ("n2", "n1"));
        assert_eq!(live.outcomes.get("created"), Some(&3));
        let told = Told { live, comment: "in words".to_owned(), ..Told::default() };
        let json = told.to_json();
        assert!(json.ends_with("  \"comment\": \"in words\"\n}\n"), "{json}");
        assert_eq!(Told::of_json(json.as_bytes()).unwrap(), told);
    }

    #[test]
    fn a_file_of_an_older_version_is_read_as_far_as_it_goes() {
        let old = br#"{"pass":"mirror","elapsed_seconds":6,"entries":7,"bytes":999,"changed":0,"comment":"x"}"#;
        let told = Told::of_json(old).unwrap();
        assert_eq!((told.standing.entries, told.whose.ranks), (7, 0));
    }

    #[test]
    fn rates_are_those_of_the_last_interval_and_of_the_pass() {
        let (mut rates, mut live) = (Rates::default(), Live::default());
        rates.observe("mirror", (10.0, 1000, 0), &mut live);
        assert_eq!((live.rate.entries, live.mean.entries, live.recent.len()), (100, 100, 0));
        rates.observe("mirror", (20.0, 4000, 500), &mut live);
        assert_eq!((live.rate, live.mean), (Rate { entries: 300, bytes: 50 }, Rate { entries: 200, bytes: 25 }));
        rates.observe("remove", (30.0, 5, 500), &mut live);
        assert_eq!(live.mean, Rate::default(), "another pass counts other entries");
        for second in 31..200 {
            rates.observe("remove", (f64::from(second), 5, 500), &mut live);
        }
        assert_eq!((live.recent.len(), live.rate), (INTERVALS_MAX, Rate::default()));
    }
}

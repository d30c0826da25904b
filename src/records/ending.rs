//! What of a summary is told once more, of this version or an older one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::groups::{Cause, Group};
use super::job::Job;

/// What `summary.json` tells.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ending {
    /// The command.
    pub command: String,
    /// Of the program.
    pub exit_code: u8,
    /// What went wrong with the run as a whole.
    pub error: Option<String>,
    /// From 1.
    pub attempt: u32,
    /// Nothing was written.
    pub dry_run: bool,
    /// It left a checkpoint.
    pub goes_on: bool,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub ended: String,
    /// Durations.
    pub seconds: Seconds,
    /// By kind and outcome.
    pub entries: BTreeMap<String, BTreeMap<String, u64>>,
    /// Bytes of regular files.
    pub bytes: BTreeMap<String, u64>,
    /// By reason.
    pub skipped: BTreeMap<String, u64>,
    /// What could not be set.
    pub unset: BTreeMap<String, u64>,
    /// Operations without an answer.
    pub parked: u64,
    /// Tries that were made again.
    pub retried: u64,
    /// Entries that were not tried.
    pub over_quota: u64,
    /// Hard links.
    pub links: BTreeMap<String, u64>,
    /// What was to be removed.
    pub removals: Option<Removals>,
    /// `--final`.
    pub frozen: Option<Frozen>,
    /// `cmp`.
    pub differences: Option<BTreeMap<String, u64>>,
    /// By cause.
    pub faults: Vec<FaultCount>,
    /// Work of each rank.
    pub ranks: Vec<Value>,
    /// Books that do not balance.
    pub imbalances: Vec<String>,
    /// Of a job of many tasks.
    #[serde(skip)]
    pub job: Option<Job>,
    /// Of a preflight.
    #[serde(skip)]
    pub verdict: Option<Verdict>,
    /// All of it.
    #[serde(skip)]
    pub whole: Value,
}

/// Durations.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Seconds {
    /// Of all attempts.
    pub total: f64,
}

/// What was to be removed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Removals {
    /// Entries that were to go.
    pub planned: u64,
    /// By reason.
    pub kept: BTreeMap<String, u64>,
    /// Subtrees that were held back.
    pub held: Vec<Held>,
    /// Why nothing was removed.
    pub refused: Option<String>,
}

/// A subtree that was held back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Below DST.
    pub path: String,
    /// Those of its entries that would have gone.
    pub planned: u64,
}

/// What was found of a source that is said to be frozen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Frozen {
    /// Entries that were changed after the start of the run.
    pub ctime_after_start: u64,
    /// Some of them.
    pub paths: Vec<String>,
}

/// Faults of one cause.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FaultCount {
    /// What became of the entries.
    pub outcome: String,
    /// The system call.
    pub operation: String,
    /// The error's name.
    pub errno: String,
    /// Which tree.
    pub side: String,
    /// What it means.
    pub note: String,
    /// How many.
    pub count: u64,
}

/// What a preflight that walked came to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Verdict {
    exit_code: u8,
    verdict: String,
    checks: Vec<Check>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Check {
    verdict: String,
}

impl Verdict {
    /// In words.
    pub fn word(&self) -> String {
        self.verdict.replace('_', " ")
    }

    /// Checks that found something.
    pub fn findings(&self) -> u64 {
        self.checks.iter().filter(|check| check.verdict != "good").count() as u64
    }
}

impl Ending {
    /// What the record of a preflight tells, which ended at that time.
    pub fn of_preflight(text: &[u8], ended: String) -> serde_json::Result<Self> {
        let whole: Value = serde_json::from_slice(text)?;
        let verdict = Verdict::deserialize(&whole)?;
        let (command, exit_code) = ("preflight".to_owned(), verdict.exit_code);
        Ok(Self { command, exit_code, ended, verdict: Some(verdict), whole, ..Self::default() })
    }

    /// What a summary tells.
    pub fn of_json(text: &[u8]) -> serde_json::Result<Self> {
        let whole: Value = serde_json::from_slice(text)?;
        // The numbers of a job are those of all its tasks.
        let ending = match whole.get("command").and_then(Value::as_str) {
            Some("run") => Job::deserialize(&whole)?.ending(),
            _ => Self::deserialize(&whole)?,
        };
        Ok(Self { whole, ..ending })
    }

    /// Entries of all kinds, by outcome; what was found is `seen`.
    pub fn totals(&self) -> BTreeMap<&str, u64> {
        let mut totals = BTreeMap::new();
        for (outcome, n) in self.entries.values().flatten() {
            *totals.entry(outcome.as_str()).or_default() += n;
        }
        totals
    }

    /// Its causes, where the list of faults is gone: where they are is not known.
    pub fn causes(&self) -> Vec<Group> {
        let group = |fault: &FaultCount| Group {
            cause: Some(Cause {
                outcome: fault.outcome.clone(),
                errno: fault.errno.clone(),
                operation: fault.operation.clone(),
                side: fault.side.clone(),
                note: fault.note.clone(),
            }),
            count: fault.count,
            subtrees: Vec::new(),
            at_least: false,
            owners: Vec::new(),
            sample: Vec::new(),
        };
        self.faults.iter().map(group).collect()
    }

    /// All faults.
    pub fn faults(&self) -> u64 {
        let of_tasks = self.job.as_ref().map_or(0, |job| job.fault_count);
        self.faults.iter().map(|cause| cause.count).sum::<u64>() + of_tasks
    }
}

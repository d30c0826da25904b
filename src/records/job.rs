//! What a job of many tasks tells: in its summary, and in the rows of its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ending::{Ending, Seconds};
use super::list;
use super::words::quoted;
use crate::fs::operator::RunDirectory;
use crate::report::job::Tally;
use crate::tree::path::harmless;

/// The rows, in the order in which they ended.
const ROWS: &str = "tasks.jsonl";

/// Tasks that `status` names.
const NAMED_MAX: usize = 3;

/// What `summary.json` tells of a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    exit_code: u8,
    error: Option<String>,
    started: String,
    seconds: f64,
    /// What became of them.
    pub tasks: Tally,
    entries: u64,
    bytes: u64,
    written: u64,
    /// Lines of all their lists of faults.
    pub fault_count: u64,
    failed: Vec<Undone>,
}

/// A task that was not done, as its row tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Undone {
    /// Its name.
    pub id: String,
    /// In the task file.
    pub line: u32,
    /// SRC, escaped.
    pub source: String,
    /// DST, escaped.
    pub target: String,
    /// What `sync` would have ended with.
    pub exit_code: u8,
    #[serde(skip_serializing)]
    success: bool,
    /// What went wrong first.
    pub message: String,
    /// Its run directory; empty if it has none.
    pub log: String,
    /// What tells more of it.
    #[serde(skip_deserializing)]
    pub run: Option<String>,
}

/// What is explained of the tasks.
#[derive(Debug, Serialize)]
pub struct Tasks {
    /// Of a job that has ended.
    pub counts: Option<Tally>,
    /// The first that were not done.
    pub undone: Vec<Undone>,
    /// Those that are left out.
    pub others: u64,
}

impl Job {
    /// As an ending like any other.
    pub fn ending(self) -> Ending {
        let took = SignedDuration::try_from_secs_f64(self.seconds).unwrap_or_default();
        let ended = self.started.parse::<Timestamp>().ok().and_then(|started| started.checked_add(took).ok());
        Ending {
            command: "run".to_owned(),
            exit_code: self.exit_code,
            error: self.error.clone(),
            goes_on: self.tasks.stopped + self.tasks.not_begun > 0,
            started: self.started.clone(),
            ended: ended.map(|ended| ended.to_string()).unwrap_or_default(),
            seconds: Seconds { total: self.seconds },
            job: Some(self),
            ..Ending::default()
        }
    }

    /// What `status` tells of them: a word and a text each, and whether it is to be seen to.
    pub fn rows(&self) -> Vec<(&'static str, String, bool)> {
        let (written, bytes) = (BinaryBytes(self.written), BinaryBytes(self.bytes));
        let mut rows = vec![
            ("tasks", self.tasks.in_words(), self.tasks.failed + self.tasks.bad_lines > 0),
            ("entries", HumanCount(self.entries).to_string(), false),
            ("data", format!("{bytes} in files, {written} written"), false),
        ];
        let named = self.failed.iter().take(NAMED_MAX);
        rows.extend(named.map(|task| ("undone", harmless(&format!("{}: {}", task.id, task.message)), true)));
        rows
    }
}

impl Tasks {
    /// The first that were not done, by their lines.
    pub fn of(directory: &RunDirectory, counts: Option<Tally>, named_max: usize) -> io::Result<Self> {
        // A task that was done again has several rows: the last counts. Only their numbers are kept, as there may be
        // a million.
        let mut last = BTreeMap::new();
        for_each(directory, &mut |number, task| {
            if task.success {
                last.remove(&task.line)
            } else {
                last.insert(task.line, number)
            };
        })?;
        let chosen: BTreeSet<u64> = last.values().take(named_max).copied().collect();
        let mut undone = Vec::new();
        for_each(directory, &mut |number, task| {
            if chosen.contains(&number) {
                undone.push(Undone { run: explain(directory, task), ..task.clone() });
            }
        })?;
        undone.sort_by_key(|task| task.line);
        Ok(Self { counts, others: (last.len() - chosen.len()) as u64, undone })
    }
}

fn explain(job: &RunDirectory, task: &Undone) -> Option<String> {
    let path = job.below(&task.id).path().as_os_str().as_encoded_bytes().to_vec();
    (!task.log.is_empty()).then(|| format!("pmirror explain {}", quoted(&path)))
}

fn for_each(directory: &RunDirectory, visit: &mut impl FnMut(u64, &Undone)) -> io::Result<()> {
    let rows = match directory.open(ROWS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        rows => BufReader::with_capacity(1 << 20, rows?),
    };
    let mut number = 0;
    list::for_each_line(rows, &mut |task: Undone| {
        number += 1;
        visit(number, &task);
    })?;
    Ok(())
}

/// How long something took, as whole seconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Whole seconds.
pub fn whole_seconds(seconds: f64) -> Duration {
    Duration::from_secs(seconds.clamp(0.0, 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_a_task_counts_and_the_first_lines_are_named() {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "job");
        directory.make().unwrap();
        let row = |line, success| {
            format!(
                "{{\"id\":\"task-{line}\",\"line\":{line},\"success\":{success},\"message\":\"m\",\"log\":\"/x\"}}\n"
            )
        };
        let rows = [row(3, false), row(1, false), row(2, false), row(4, true), row(1, true), row(5, false)].concat();
        directory.write(ROWS, format!("{rows}{{\"id\":\"cut o").as_bytes()).unwrap();
        let tasks = Tasks::of(&directory, None, 2).unwrap();
        assert_eq!(tasks.undone.iter().map(|task| task.line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(tasks.others, 1);
        assert!(tasks.undone[0].run.as_ref().unwrap().ends_with("/job/task-2"));
    }
}

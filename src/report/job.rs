//! The summary of a job of many tasks: counts, and the tasks that failed.

use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{BinaryBytes, HumanCount};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::json;
use super::plural;
use super::rows::Row;
use crate::tree::path::escaped;

/// Tasks that are named.
const NAMED_MAX: usize = 10;

/// What became of the tasks. All is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Tasks of the file.
    pub all: u64,
    /// Done.
    pub good: u64,
    /// Ended with another exit code than 0.
    pub failed: u64,
    /// Lines that ask for nothing that could be done.
    pub bad_lines: u64,
    /// Stopped, to be gone on with.
    pub stopped: u64,
    /// Not begun, as the job was stopped.
    pub not_begun: u64,
}

impl Tally {
    /// For people.
    pub fn in_words(&self) -> String {
        let counts = [
            (self.good, "done", "done"),
            (self.failed, "failed", "failed"),
            (self.bad_lines, "bad line", "bad lines"),
            (self.stopped, "stopped", "stopped"),
            (self.not_begun, "not begun", "not begun"),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(n, ..)| *n > 0).map(|&(n, one, many)| plural(n, one, many)).collect();
        format!("{}: {}", plural(self.all, "task", "tasks"), counts.join(", "))
    }
}

/// The summary of a job.
#[derive(Debug, Clone, Serialize)]
pub struct JobSummary {
    /// Of this program.
    pub version: &'static str,
    /// `run`.
    pub command: &'static str,
    /// The command line.
    pub arguments: Vec<String>,
    /// The name of the job's directory.
    pub run_id: String,
    /// Where that is.
    pub run_directory: String,
    /// Of the program.
    pub exit_code: u8,
    /// What went wrong with the job as a whole.
    pub error: Option<String>,
    /// RFC 3339.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// What became of the tasks.
    pub tasks: Tally,
    /// Entries that all of them saw.
    pub entries: u64,
    /// Sizes of the files among them.
    pub bytes: u64,
    /// Bytes that were written.
    pub written: u64,
    /// Lines of all fault lists.
    pub fault_count: u64,
    /// The first tasks that were not done.
    pub failed: Vec<Row>,
}

impl JobSummary {
    /// What all rows of a job tell.
    pub fn of((run_id, arguments): (String, Vec<String>), directory: &Path, tasks: Tally, rows: &[&Row]) -> Self {
        let sum = |of: fn(&Row) -> u64| rows.iter().map(|row| of(row)).sum();
        let failed = rows.iter().filter(|row| !row.success).take(NAMED_MAX);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: "run",
            arguments,
            run_id,
            run_directory: escaped(directory.as_os_str().as_encoded_bytes()),
            exit_code: 0,
            error: None,
            started: String::new(),
            seconds: 0.0,
            tasks,
            entries: sum(|row| row.entries),
            bytes: sum(|row| row.bytes),
            written: sum(|row| row.written),
            fault_count: sum(|row| row.faults),
            failed: failed.map(|row| (*row).clone()).collect(),
        }
    }

    /// How and when it ended.
    pub fn ended(self, exit_code: u8, error: Option<String>, (started, seconds): (Timestamp, f64)) -> Self {
        Self { exit_code, error, started: started.to_string(), seconds, ..self }
    }

    /// As JSON, with a closing newline.
    pub fn to_json(&self) -> String {
        json::pretty(self).unwrap_or_default() + "\n"
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let Tally { failed, bad_lines, stopped, .. } = self.tasks;
        let mut text = format!(
            "{}\n{}, {} written, {:.1} s\n",
            self.tasks.in_words(),
            plural(self.entries, "entry", "entries"),
            BinaryBytes(self.written),
            self.seconds
        );
        if !self.failed.is_empty() {
            text.push_str(&self.table());
            let named = self.failed.len() as u64;
            let more = (failed + bad_lines + stopped).saturating_sub(named);
            if more > 0 {
                text.push_str(&format!("and {} more\n", HumanCount(more)));
            }
        }
        text.push_str(&format!("exit {}; result rows: {}/tasks.jsonl\n", self.exit_code, self.run_directory));
        text
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["task", "exit", "source", "target", "what"]);
        for row in &self.failed {
            table.add_row([&row.id, &row.exit_code.to_string(), &row.source, &row.target, &row.message]);
        }
        table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_named_and_the_rest_is_counted() {
        let bad =
            Row { id: "task-0002".to_owned(), exit_code: 23, message: "x: open: no".to_owned(), ..Row::default() };
        let good = Row { success: true, entries: 5, ..Row::default() };
        let rows: Vec<&Row> = std::iter::repeat_n(&bad, 12).chain([&good]).collect();
        let tasks = Tally { all: 13, good: 1, failed: 12, bad_lines: 0, stopped: 0, not_begun: 0 };
        let summary = JobSummary::of(("r".to_owned(), Vec::new()), Path::new("/s/r"), tasks, &rows);
        let text = summary.to_text();
        assert!(text.starts_with("13 tasks: 1 done, 12 failed\n5 entries"), "{text}");
        assert_eq!(text.matches("x: open: no").count(), 10);
        assert!(text.contains("and 2 more\n"), "{text}");
    }
}

//! What rank 0 keeps of a job of many tasks: those that wait, and the rows of those that have ended.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use super::lane::config_of;
use super::list::{self, BadLine, Task};
use crate::cli::choose::Given;
use crate::config::{Config, Tasks};
use crate::counters::Counters;
use crate::engine::{Archive, Ended, Manifest};
use crate::fault::Error;
use crate::fs::operator::{self, Growing, Leads, RunDirectory};
use crate::report::job::{JobSummary, Tally};
use crate::report::rows::{Form, Row};
use crate::report::{self, Summary};
use crate::run::{Conclusion, end};
use crate::sched::Stop;
use crate::started::{RECORD, Word};
use crate::tree::path::escaped;

/// The task file as it was, for a job that goes on.
const TASKS: &str = "tasks";
const ROWS: &str = "tasks.jsonl";

/// More than any task file has: a million tasks with the longest names of most file systems.
const TASKS_BYTES_MAX: u64 = 1 << 30;
const ROWS_BYTES_MAX: u64 = 8 << 30;

/// Entries of a job's directory that are looked at.
const TASK_DIRECTORIES_MAX: usize = 100_000_000;

/// Enough for the first line of a fault list.
const FAULT_BYTES_MAX: u64 = 64 << 10;

/// Exit codes, the one that matters most first (section 5 of the design).
const WORST_FIRST: [u8; 10] = [70, 11, 1, 3, 20, 75, 23, 25, 26, 24];

/// The tasks of a job.
pub struct Ledger {
    directory: RunDirectory,
    started: Instant,
    started_at: Timestamp,
    /// With whether they go on from a checkpoint.
    waiting: VecDeque<(Task, bool)>,
    all: u64,
    /// By line; of a job that goes on also those of earlier attempts.
    rows: BTreeMap<u32, Row>,
    /// Lines that ask for nothing that could be done.
    bad: u64,
    log: File,
    reports: Vec<Report>,
    /// Why rows are missing.
    broken: Option<Error>,
}

/// A file of the operator's, with a row for each task.
struct Report {
    path: PathBuf,
    form: Form,
    file: Growing,
    is_empty: bool,
}

impl Ledger {
    /// Reads the tasks, and makes the directory of the job. What is wrong with all of it is said before anything is made.
    pub fn open(config: &Config, asked: &Tasks) -> Result<Self, Error> {
        must_be_read_again(config)?;
        let directory = RunDirectory::new(&config.state_dir, &config.run_id);
        let text = if config.resume { read_kept(&directory)? } else { read(asked)? };
        // That of the job's beginning, wherever it goes on.
        let working = config.started.directory.clone().unwrap_or(Word(Vec::new())).0;
        let found = list::tasks(&text, asked.null).into_iter().map(|task| named(config, task?));
        let checked = found.map(|task| checked(config, asked, task?, &working));
        let mut leads = Leads::default();
        let lead = |path: &[u8]| Some(leads.of(Path::new(OsStr::from_bytes(path)))?.into_os_string().into_vec());
        let tasks = list::apart(checked.collect(), lead);
        if tasks.is_empty() {
            return Err(Error::Usage(format!("--tasks {}: there is no task in it", shown(asked))));
        }
        let mut rows = if config.resume { kept_rows(&directory)? } else { BTreeMap::new() };
        rows.retain(|_, row| row.success);
        let reports = begin_reports(asked, &working, &rows)?;
        directory.make()?;
        if !config.resume {
            // First, so that what a crash leaves here is no job to go on with.
            directory.remove(TASKS).map_err(|error| unusable(&error))?;
            forget_earlier(&directory).map_err(|error| unusable(&error))?;
            directory.keep_old_records()?;
            config.started.save(&directory)?;
            directory.write(TASKS, &text).map_err(|error| unusable(&error))?;
        }
        let log = open_log(&directory).map_err(|error| unusable(&error))?;
        let mut ledger = Self {
            directory,
            started: Instant::now(),
            started_at: Timestamp::now(),
            waiting: VecDeque::new(),
            all: tasks.len() as u64,
            rows,
            bad: 0,
            log,
            reports,
            broken: None,
        };
        for task in tasks {
            match task {
                Ok(task) if ledger.rows.contains_key(&task.line) => {}
                Ok(task) => {
                    let resume = config.resume && ledger.has_checkpoint(&task);
                    ledger.waiting.push_back((task, resume));
                }
                // What was done stays done, wherever its links lead by now.
                Err(bad) if ledger.rows.contains_key(&bad.task.line) => {}
                Err(bad) => ledger.refuse(bad),
            }
        }
        Ok(ledger)
    }

    fn has_checkpoint(&self, task: &Task) -> bool {
        // What can not be read is no reason not to begin anew.
        Manifest::read(&self.directory.below(&task.id())).is_ok_and(|manifest| manifest.is_some())
    }

    /// Tasks that wait.
    pub fn waiting(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// All tasks, and those that have a row.
    pub fn size(&self) -> (u64, u64) {
        (self.all, self.rows.len() as u64)
    }

    /// The next task. None begins when the job is to stop, or when rows can not be kept.
    pub fn take(&mut self, stop: Option<Stop>) -> Option<(Task, bool)> {
        if stop.is_some() || self.broken.is_some() { None } else { self.waiting.pop_front() }
    }

    /// It was not begun.
    pub fn put_back(&mut self, task: Task, resume: bool) {
        self.waiting.push_front((task, resume));
    }

    /// A task has ended.
    pub fn end(&mut self, task: &Task, conclusion: &Conclusion, began: Timestamp) -> Row {
        let mut row = row_of(task);
        row.exit_code = conclusion.exit_code;
        row.success = conclusion.exit_code == 0;
        row.started = began.to_string();
        row.seconds = Timestamp::now().duration_since(began).as_secs_f64();
        let directory = self.directory.below(&task.id());
        if operator::is_directory(directory.path()) {
            row.log = escaped(directory.path().as_os_str().as_encoded_bytes());
        }
        if let Some(summary) = &conclusion.summary {
            row.entries = summary.entries_seen();
            row.bytes = summary.bytes.logical;
            row.written = summary.bytes.written;
            row.faults = summary.faults.iter().map(|cause| cause.count).sum();
            row.message = message(summary, &directory);
        }
        if let Some(error) = &conclusion.error {
            row.message = error.to_string();
        }
        self.enter(row.clone());
        row
    }

    fn refuse(&mut self, bad: BadLine) {
        self.bad += 1;
        let message = format!("line {}: {}", bad.task.line, bad.why);
        self.enter(Row { exit_code: 1, message, ..row_of(&bad.task) });
    }

    fn enter(&mut self, row: Row) {
        let logged = self.log.write_all(row.to_json().as_bytes());
        let broken = logged.err().map(|error| unusable(&error));
        let reported = self.reports.iter_mut().find_map(|report| report.add(&row).err());
        self.rows.insert(row.line, row);
        if let Some(error) = broken.or(reported) {
            self.broken.get_or_insert(error);
        }
    }

    /// The end of the job: tells how it went. Returns the exit code.
    pub fn close(mut self, config: &Config, wanted: Option<Stop>) -> Result<u8, Error> {
        let error = self.broken.take().or_else(|| self.sort_reports().err());
        let exit_code = self.exit_code(wanted, error.as_ref());
        let stopped = |row: &&Row| matches!(row.exit_code, 20 | 75);
        let tally = Tally {
            all: self.all,
            good: self.rows.values().filter(|row| row.success).count() as u64,
            failed: self.rows.values().filter(|row| !row.success && !stopped(row)).count() as u64 - self.bad,
            bad_lines: self.bad,
            stopped: self.rows.values().filter(stopped).count() as u64,
            not_begun: self.waiting.len() as u64,
        };
        let rows: Vec<&Row> = self.rows.values().collect();
        let (path, seconds) = (self.directory.path(), self.started.elapsed().as_secs_f64());
        let summary = JobSummary::of((config.run_id.clone(), config.arguments.clone()), path, tally, &rows).ended(
            exit_code,
            error.as_ref().map(ToString::to_string),
            (self.started_at, seconds),
        );
        let kept =
            self.directory.write("summary.json", summary.to_json().as_bytes()).and_then(|()| self.log.sync_all());
        if config.json {
            report::print(&summary.to_json()).map_err(|error| unusable(&error))?;
        } else if !config.quiet {
            report::print(&summary.to_text()).map_err(|error| unusable(&error))?;
        } else if exit_code != 0 {
            report::say(&format!("exit {exit_code}; the record is in {}", summary.run_directory));
        }
        kept.map_err(|error| unusable(&error))?;
        error.map_or(Ok(exit_code), Err)
    }

    /// The rows in the order of the tasks, in place of that in which they ended.
    fn sort_reports(&mut self) -> Result<(), Error> {
        for report in &self.reports {
            Report::begin(&report.path, self.rows.values())?
                .file
                .sync()
                .map_err(|error| unwritable(&report.path, &error))?;
        }
        Ok(())
    }

    fn exit_code(&self, wanted: Option<Stop>, error: Option<&Error>) -> u8 {
        // Refused, before anything was changed: that is the job only where all of its tasks are.
        let is_refused = |row: &Row| matches!(row.exit_code, 1 | 3);
        let is_begun = !self.waiting.is_empty() || self.rows.values().any(|row| !is_refused(row));
        let of_row = |row: &Row| if is_begun && is_refused(row) { 23 } else { row.exit_code };
        let stop = wanted.filter(|_| !self.waiting.is_empty());
        let of_stop = stop.map(|stop| end::exit_code(&Counters::default(), Ended::Stopped(stop), None));
        let codes = self.rows.values().map(of_row).chain(of_stop).chain(error.map(Error::exit_code));
        worst(codes)
    }
}

fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    let place = |code: &u8| WORST_FIRST.iter().position(|known| known == code).unwrap_or(WORST_FIRST.len());
    codes.min_by_key(place).unwrap_or(0)
}

/// A row that a crash has cut off ends where the next one begins.
fn open_log(directory: &RunDirectory) -> std::io::Result<File> {
    let mut log = directory.append(ROWS)?;
    let mut written = directory.open(ROWS)?;
    let mut last = [b'\n'];
    if written.metadata()?.len() > 0 {
        written.seek(SeekFrom::End(-1))?;
        written.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        log.write_all(b"\n")?;
    }
    Ok(log)
}

/// One that can not be written is told before anything is made, and none takes the place of the task file.
fn begin_reports(asked: &Tasks, directory: &[u8], rows: &BTreeMap<u32, Row>) -> Result<Vec<Report>, Error> {
    let mut leads = Leads::default();
    let mut lead = |path: &Path| {
        leads.of(Path::new(OsStr::from_bytes(&list::absolute(path.as_os_str().as_encoded_bytes(), directory))))
    };
    let tasks = lead(Path::new(&asked.file)).filter(|_| asked.file != "-");
    if let Some(report) = asked.reports.iter().find(|report| tasks.is_some() && lead(report) == tasks) {
        let report = escaped(report.as_os_str().as_encoded_bytes());
        return Err(Error::Usage(format!("--report {report} is the task file: name another")));
    }
    let begin = |path: &PathBuf| Report::begin(path, rows.values()).map_err(|error| Error::Usage(error.to_string()));
    asked.reports.iter().map(begin).collect()
}

impl Report {
    fn begin<'r>(path: &Path, rows: impl Iterator<Item = &'r Row>) -> Result<Self, Error> {
        let form = Form::of(path).unwrap_or(Form::Csv);
        let file = Growing::begin(path, &form.head(), form.foot()).map_err(|error| unwritable(path, &error))?;
        let mut report = Self { path: path.to_path_buf(), form, file, is_empty: true };
        for row in rows {
            report.add(row)?;
        }
        Ok(report)
    }

    fn add(&mut self, row: &Row) -> Result<(), Error> {
        let text = self.form.row(row, self.is_empty);
        self.is_empty = false;
        self.file.add(&text, self.form.foot()).map_err(|error| unwritable(&self.path, &error))
    }
}

/// Operands that name a file system of the operator's file are paths from here on.
fn named(config: &Config, task: Task) -> Result<Task, BadLine> {
    let path =
        |operand: &[u8]| Ok::<_, Error>(config.file_systems.expand(operand)?.unwrap_or_else(|| operand.to_vec()));
    match path(&task.source).and_then(|source| Ok((source, path(&task.target)?))) {
        Ok((source, target)) => Ok(Task { source, target, ..task }),
        Err(error) => Err(BadLine { task, why: error.to_string() }),
    }
}

/// What can be told of a task before any begins. Its relative names begin in `directory`.
fn checked(config: &Config, asked: &Tasks, task: Task, directory: &[u8]) -> Result<Task, BadLine> {
    if let Err(error) = config_of(config, asked, &task) {
        return Err(BadLine { task, why: error.to_string() });
    }
    let is_input = task.list.as_deref() == Some(b"-");
    let path = |path: &Vec<u8>| list::absolute(path, directory);
    let task =
        Task { source: path(&task.source), target: path(&task.target), list: task.list.as_ref().map(path), ..task };
    let is_regular = |list: &Vec<u8>| operator::is_regular(OsStr::from_bytes(list));
    // One that is missing may come; its task says so, if it does not.
    if is_input || task.list.as_ref().is_some_and(|list| is_regular(list).is_ok_and(|is_regular| !is_regular)) {
        let why = "LIST is no regular file, and a task that is begun again reads it again".to_owned();
        return Err(BadLine { task, why });
    }
    Ok(task)
}

/// What an earlier job of this name left to go on with is not that of these tasks.
fn forget_earlier(directory: &RunDirectory) -> std::io::Result<()> {
    for name in directory.names(TASK_DIRECTORIES_MAX)? {
        let Some(name) = name.to_str().filter(|name| name.starts_with("task-")) else { continue };
        let task = directory.below(name);
        Archive::new(&task, 0).clear()?;
        task.remove(RECORD)?;
    }
    Ok(())
}

/// Each task reads the files of patterns for itself: of a pipe the first would have all, and the others would remove
/// what the patterns protect.
fn must_be_read_again(config: &Config) -> Result<(), Error> {
    for given in &config.choose.patterns.0 {
        let Given::ExcludeFrom(path) = given else { continue };
        let refused = |why: &dyn std::fmt::Display| {
            Error::Usage(format!("--exclude-from {}: {why}", escaped(path.as_encoded_bytes())))
        };
        if !operator::is_regular(path).map_err(|error| refused(&error))? {
            return Err(refused(&"a job reads it once for each task: name a regular file"));
        }
    }
    Ok(())
}

fn row_of(task: &Task) -> Row {
    let shown = |bytes: &[u8]| {
        let text = escaped(bytes);
        let raw = (text.as_bytes() != bytes).then(|| STANDARD.encode(bytes));
        (text, raw)
    };
    let ((source, source_b64), (target, target_b64)) = (shown(&task.source), shown(&task.target));
    let list = task.list.as_deref().map(escaped).unwrap_or_default();
    Row { id: task.id(), line: task.line, source, source_b64, target, target_b64, list, ..Row::default() }
}

/// The first line of a fault list.
#[derive(Deserialize)]
struct FirstFault {
    path: String,
    operation: String,
    message: String,
    note: String,
}

/// What went wrong first.
fn message(summary: &Summary, directory: &RunDirectory) -> String {
    if let Some(error) = &summary.error {
        return error.clone();
    }
    if summary.faults.is_empty() {
        return if summary.goes_on { "stopped: resume goes on with it".to_owned() } else { String::new() };
    }
    let first = first_fault(directory).map(|fault| {
        let why = [fault.message, fault.note].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        format!("{}: {}: {}", escaped(fault.path.as_bytes()), fault.operation, why.join(": "))
    });
    first.unwrap_or_else(|| "its faults are in faults.jsonl".to_owned())
}

fn first_fault(directory: &RunDirectory) -> Option<FirstFault> {
    let text = directory.read("faults.jsonl", FAULT_BYTES_MAX).ok()?;
    serde_json::from_slice(text.split(|&byte| byte == b'\n').next()?).ok()
}

fn read(asked: &Tasks) -> Result<Vec<u8>, Error> {
    let bad = |why: &dyn std::fmt::Display| Error::Usage(format!("--tasks {}: {why}", shown(asked)));
    let mut text = Vec::new();
    let file = operator::open_named(&asked.file).map_err(|error| bad(&error))?;
    file.take(TASKS_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| bad(&error))?;
    if text.len() as u64 > TASKS_BYTES_MAX {
        return Err(bad(&format!("it is larger than {} MiB", TASKS_BYTES_MAX >> 20)));
    }
    Ok(text)
}

fn shown(asked: &Tasks) -> String {
    escaped(asked.file.as_encoded_bytes())
}

fn read_kept(directory: &RunDirectory) -> Result<Vec<u8>, Error> {
    directory.read(TASKS, TASKS_BYTES_MAX).map_err(|error| {
        let path = escaped(directory.path().as_os_str().as_encoded_bytes());
        Error::Usage(format!("the tasks of this job can not be read: {path}/{TASKS}: {error}"))
    })
}

/// The last row of each line. A row that a crash has cut off counts as none.
fn kept_rows(directory: &RunDirectory) -> Result<BTreeMap<u32, Row>, Error> {
    let text = match directory.read(ROWS, ROWS_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        text => text.map_err(|error| unusable(&error))?,
    };
    let rows = text.split(|&byte| byte == b'\n').filter_map(|line| Row::of_json(line).ok());
    Ok(rows.map(|row| (row.line, row)).collect())
}

fn unusable(error: &std::io::Error) -> Error {
    Error::Fatal(format!("the result rows can not be kept: {error}"))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::Fatal(format!("--report {} can not be written: {error}", escaped(path.as_os_str().as_encoded_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_that_matters_most_is_the_jobs() {
        assert_eq!(worst([0, 24, 23, 0].into_iter()), 23);
        assert_eq!(worst([23, 75, 3].into_iter()), 3);
        assert_eq!(worst([0, 0].into_iter()), 0);
        assert_eq!(worst([11, 70, 1].into_iter()), 70);
    }
}

//! `pmirror resume` and `pmirror retry`: what a run is asked for that goes by another. Rank 0 looks, and all go by
//! that.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use serde::Deserialize;

use super::agree::{Roster, from_root};
use super::failed;
use crate::cli::again::{Resume, Retry, RunOperand};
use crate::comm::Comm;
use crate::config::Config;
use crate::fault::Error;
use crate::fs::operator::{self, RunDirectory};
use crate::report;
use crate::slurm::Environment;
use crate::started::{RetryOf, Started, Word};
use crate::tree::listed::normal;
use crate::tree::path::escaped;

/// More than any summary has.
const SUMMARY_BYTES_MAX: u64 = 256 << 20;

/// Options that would change what else the run does, or that name another run.
const NOT_AGAIN: &[&str] = &[
    "--delete",
    "--delete-excluded",
    "--max-delete",
    "--hold-threshold",
    "--hold-depth",
    "--trash",
    "--files-from",
    "--run-id",
    "--state-dir",
    "--stop-at",
];

/// What rank 0 found.
#[derive(Encode, Decode)]
struct Found {
    started: Started,
    /// Something is to be done.
    any: bool,
}

/// What of a summary tells whether its run has ended, and how.
#[derive(Deserialize)]
struct Ending {
    exit_code: u8,
    faults: Vec<Cause>,
}

impl Ending {
    fn failed(&self) -> u64 {
        let failed = self.faults.iter().filter(|cause| cause.outcome == "failed");
        failed.fold(0, |sum, cause| sum.saturating_add(cause.count))
    }
}

#[derive(Deserialize)]
struct Cause {
    outcome: String,
    count: u64,
}

/// What the run is to do that does once more what failed in another. `None`: nothing.
pub fn retry(
    asked: &Retry,
    present: &Started,
    environment: &Environment,
    comm: &mut dyn Comm,
) -> Result<Option<Config>, Error> {
    let roster = Roster::call(comm);
    let found = from_root(comm, &roster, || look(asked, present, environment))?;
    if !found.any {
        if comm.rank() == crate::sched::Rank::ROOT && !asked.run.quiet {
            let of = found.started.retry.map_or_else(String::new, |of| of.run_id);
            report::say(&format!("nothing of run {of} is to be done again"));
        }
        return Ok(None);
    }
    Config::of(found.started.command_line()?, found.started, environment).map(Some)
}

/// The run that goes on where another attempt of it was stopped, or died.
pub fn resume(
    asked: &Resume,
    present: &Started,
    environment: &Environment,
    comm: &mut dyn Comm,
) -> Result<Config, Error> {
    let roster = Roster::call(comm);
    let (started, place) = from_root(comm, &roster, || {
        let (state_dir, run_id) = locate(&asked.of, asked.run.state_dir.as_deref(), environment)?;
        let mut started = Started::load(&RunDirectory::new(&state_dir, &run_id))?.again(NOT_LATER, present);
        started.set("--state-dir", &absolute(&state_dir));
        started.set("--run-id", run_id.as_bytes());
        let (state_dir, run_id) = of_job(state_dir, run_id);
        Ok((started, (Word(absolute(&state_dir)), run_id)))
    })?;
    let config = Config::of(started.command_line()?, started, environment)?;
    let (state_dir, run_id) = (place.0.to_path(), place.1);
    Ok(Config { resume: true, state_dir, run_id, ..config })
}

/// A task of a job is called as its job calls it, `JOB/task-0001`: so is its trash, for one.
pub fn of_job(state_dir: PathBuf, run_id: String) -> (PathBuf, String) {
    let job = PathBuf::from(OsStr::from_bytes(&absolute(&state_dir)));
    let (Some(state), Some(name)) = (job.parent(), job.file_name().and_then(OsStr::to_str)) else {
        return (state_dir, run_id);
    };
    match Started::load(&RunDirectory::new(state, name)) {
        Ok(started) if started.command == "run" => (state.to_path_buf(), format!("{name}/{run_id}")),
        _ => (state_dir, run_id),
    }
}

/// Options of an attempt that the next one has anew, if at all.
const NOT_LATER: &[&str] = &["--run-id", "--state-dir", "--stop-at"];

fn look(asked: &Retry, present: &Started, environment: &Environment) -> Result<Found, Error> {
    let (state_dir, run_id) = locate(&asked.of, asked.run.state_dir.as_deref(), environment)?;
    let directory = RunDirectory::new(&state_dir, &run_id);
    let before = Started::load(&directory)?;
    refuse_others(&before, &run_id)?;
    let ending = ending(&directory, &run_id)?;
    say_what_is_left_out(&before, &ending, &run_id);
    let under: Result<Vec<Word>, Error> = asked.under.iter().map(|path| below_source(path, &before)).collect();
    let state = absolute(&state_dir);
    let of = RetryOf { run_id, state_dir: Word(state.clone()), errnos: asked.errno.clone(), under: under? };
    let mut started = before.again(NOT_AGAIN, present);
    // The new run lies beside the other, unless it is told otherwise.
    if asked.run.state_dir.is_none() {
        started.set("--state-dir", &state);
    }
    let any = failed::count(&of)? > 0;
    started.retry = Some(of);
    Ok(Found { started, any })
}

fn absolute(path: &Path) -> Vec<u8> {
    match operator::working_directory().filter(|_| !path.is_absolute()) {
        Some(directory) => [directory, bytes(path)].join(&b'/'),
        None => bytes(path),
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

/// The state directory and the id of the run that is meant: an id, or the path of its directory.
pub fn locate(
    run: &RunOperand,
    state_dir: Option<&Path>,
    environment: &Environment,
) -> Result<(PathBuf, String), Error> {
    let state = state_dir.map_or_else(|| crate::config::default_state_dir(environment), Path::to_path_buf);
    let path = Path::new(&run.name);
    let is_id = !bytes(path).contains(&b'/');
    if is_id && (operator::is_directory(&state.join(path)) || !operator::is_directory(path)) {
        return match run.name.to_str().filter(|id| operator::is_directory(&state.join(id))) {
            Some(id) => Ok((state, id.to_owned())),
            None => Err(no_run(run, &state)),
        };
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let id = path.file_name().and_then(|name| name.to_str()).filter(|_| operator::is_directory(path));
    id.map(|id| (parent.to_path_buf(), id.to_owned())).ok_or_else(|| no_run(run, parent))
}

fn no_run(run: &RunOperand, state: &Path) -> Error {
    let (run, state) = (escaped(run.name.as_encoded_bytes()), escaped(&bytes(state)));
    Error::Usage(format!(
        "there is no run {run} in {state}: name its directory, or the state directory with --state-dir"
    ))
}

const SAME_COMMAND: &str = "the command of that run, started again, does what is left";

fn ending(directory: &RunDirectory, run_id: &str) -> Result<Ending, Error> {
    let text = directory.read("summary.json", SUMMARY_BYTES_MAX).map_err(|_| {
        Error::Usage(format!(
            "run {run_id} has not ended, or died: there is no summary.json in its directory; let it end, or run the same \
             command again"
        ))
    })?;
    let ending = ending_of(&text).map_err(|error| {
        Error::Usage(format!("summary.json of run {run_id} can not be read: {error}; {SAME_COMMAND}"))
    })?;
    let failed: u64 = ending.failed();
    if failed > 0 && directory.open(failed::LIST).is_err() {
        return Err(Error::Usage(format!(
            "run {run_id} has {failed} faults, but its list faults.jsonl is gone; {SAME_COMMAND}"
        )));
    }
    Ok(ending)
}

/// What a summary tells.
fn ending_of(text: &[u8]) -> serde_json::Result<Ending> {
    serde_json::from_slice(text)
}

/// Whether it is a summary, as far as that is read.
pub fn is_summary(text: &[u8]) -> bool {
    ending_of(text).is_ok()
}

/// Only where names were looked at one by one a part of them can be done again.
fn refuse_others(before: &Started, run_id: &str) -> Result<(), Error> {
    match before.command.as_str() {
        "sync" | "cmp" => Ok(()),
        "run" => Err(Error::Usage(format!(
            "run {run_id} was many tasks: do once more what failed in one of them with retry and its log, which the result \
             row names"
        ))),
        other => Err(Error::Usage(format!(
            "run {run_id} was {other}: retry is for sync and cmp; run the same command again, it does what is left"
        ))),
    }
}

fn say_what_is_left_out(before: &Started, ending: &Ending, run_id: &str) {
    if matches!(ending.exit_code, 11 | 20 | 70 | 75) {
        let code = ending.exit_code;
        report::say(&format!(
            "run {run_id} ended early (exit {code}): what it had not come to is left to the same command"
        ));
    }
    if before.options.iter().any(|option| option.0 == b"--delete") {
        report::say("retry removes nothing: deletions are left to the same command");
    }
}

/// `--under`: relative to SRC, or the path of something in it.
fn below_source(path: &std::ffi::OsStr, before: &Started) -> Result<Word, Error> {
    let path = path.as_encoded_bytes();
    let source = before.operands.first().map(|word| word.0.as_slice()).unwrap_or_default();
    let source = source.strip_suffix(b"/").unwrap_or(source);
    let below = path.strip_prefix(source).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
    normal(below.unwrap_or(path)).map(Word).map_err(|bad| Error::Usage(format!("--under {}: {bad}", escaped(path))))
}

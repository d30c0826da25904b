//! Which run is meant, and in what state it is.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::ending::Ending;
use crate::cli::again::RunOperand;
use crate::config::default_state_dir;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::fs::process::ProcessId;
use crate::report::live::{LAST_PASS, Told};
use crate::report::progress_file::{self, checkpoint_made};
use crate::run::locate;
use crate::slurm::Environment;
use crate::started::{RECORD, Started};
use crate::tree::path::escaped;

/// Runs of a state directory that are looked at.
const RUNS_MAX: usize = 1_000_000;

/// A file of progress is renewed every ten seconds; NFS may show one for a minute longer (acregmax, nfs(5)).
pub const SILENT_AFTER: Duration = Duration::from_secs(90);

/// More than any summary or file of progress has.
const BYTES_MAX: u64 = 256 << 20;

/// What a preflight that walked leaves in its run directory, in the place of a summary.
pub const PREFLIGHT: &str = "preflight.json";

/// A run.
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its directory.
    pub directory: RunDirectory,
    /// As `pmirror retry` and `resume` find it.
    pub word: Vec<u8>,
    /// It was not named: it is the newest.
    pub is_newest: bool,
}

/// In what state it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has not told of itself yet.
    Starting,
    /// It goes.
    Running,
    /// Its passes are over; it makes all durable and sums up.
    Ending,
    /// It has told nothing for long: it hangs, or died on another node.
    Silent,
    /// It ended without a summary.
    Died,
    /// It has ended.
    Ended,
}

impl State {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Ending => "ending",
            State::Silent => "silent",
            State::Died => "died",
            State::Ended => "ended",
        }
    }

    /// Whether it may still do something.
    pub fn may_go_on(self) -> bool {
        !matches!(self, State::Died | State::Ended)
    }
}

/// What was found of a run at some moment.
pub struct Seen {
    /// In what state it is.
    pub state: State,
    /// What it told last, if it has not ended.
    pub told: Option<Told>,
    /// Its summary.
    pub ending: Option<Ending>,
    /// How it was started.
    pub started: Started,
    /// How old what it told is; without that, how long ago it began.
    pub age: Duration,
    /// When it told that, or began.
    pub heard: Option<Timestamp>,
    /// When the checkpoint that is in force was put there.
    pub checkpoint: Option<Timestamp>,
}

impl Run {
    /// The one that is named, or the newest of the state directory.
    pub fn find(name: Option<&OsString>, state_dir: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        let is_newest = name.is_none();
        let name = match name {
            Some(name) => name.clone(),
            None => newest(state_dir, environment)?.into(),
        };
        let named = name.clone();
        let (state, id) = locate(&RunOperand { name }, state_dir, environment)?;
        // An id is found again only where no other state directory was named.
        let is_id = !named.as_encoded_bytes().contains(&b'/') && state_dir.is_none();
        let by_default = state == default_state_dir(environment);
        let path = if is_id && by_default { PathBuf::from(&id) } else { state.join(&id) };
        let word = path.into_os_string().into_encoded_bytes();
        Ok(Self { directory: RunDirectory::new(&state, &id), id, word, is_newest })
    }

    /// Looks at its records.
    pub fn look(&self, now: Timestamp) -> Result<Seen, Error> {
        let started = Started::load(&self.directory)?;
        let (told, ending) = match self.ending(&started)? {
            Some(ending) => match self.told().filter(|told| goes_on(told, &ending)) {
                Some(told) => (Some(told), None),
                None => (None, Some(ending)),
            },
            // It may end between two looks.
            None => match self.told() {
                Some(told) => (Some(told), None),
                None => (None, self.ending(&started)?),
            },
        };
        let begun = self.written_at(RECORD);
        let heard = match (&told, &ending) {
            (Some(told), _) => told.live.at.parse().ok(),
            (None, Some(ending)) => ending.ended.parse().ok(),
            (None, None) => begun,
        };
        let since = |then: Timestamp| Duration::try_from(now.duration_since(then)).unwrap_or_default();
        let age = heard.map(since).unwrap_or_default();
        let lives = told.as_ref().and_then(|told| told.whose.process.lives(&ProcessId::this()));
        let state = if ending.is_some() { State::Ended } else { state(told.as_ref(), age, lives) };
        Ok(Seen { state, told, ending, started, age, heard, checkpoint: checkpoint_made(&self.directory) })
    }

    fn ending(&self, started: &Started) -> Result<Option<Ending>, Error> {
        let is_preflight = started.command == "preflight";
        let name = if is_preflight { PREFLIGHT } else { "summary.json" };
        let unreadable =
            |error: &dyn std::fmt::Display| Error::Fatal(format!("{name} of run {} can not be read: {error}", self.id));
        match self.directory.read(name, BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
            // That of an earlier preflight with this id.
            Ok(_) if is_preflight && self.written_at(name) < self.written_at(RECORD) => Ok(None),
            Ok(text) => {
                let ended = || self.written_at(name).map(progress_file::shown).unwrap_or_default();
                let ending = if is_preflight { Ending::of_preflight(&text, ended()) } else { Ending::of_json(&text) };
                ending.map(Some).map_err(|error| unreadable(&error))
            }
        }
    }

    fn written_at(&self, name: &str) -> Option<Timestamp> {
        self.directory.written_at(name).ok().and_then(|time| Timestamp::try_from(time).ok())
    }

    fn told(&self) -> Option<Told> {
        // A node may still know the file that was there before, which is gone (ESTALE).
        let read = || self.directory.read(progress_file::NAME, BYTES_MAX);
        let text = read().or_else(|_| read()).ok()?;
        Told::of_json(&text).ok()
    }
}

/// Whether a job was gone on with since: the summary of its last attempt stays until then.
fn goes_on(told: &Told, ending: &Ending) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let is_later = time(&told.live.at).zip(time(&ending.ended)).is_some_and(|(told, ended)| told > ended);
    ending.job.is_some() && is_later
}

/// What a run that has not ended is about.
fn state(told: Option<&Told>, age: Duration, lives: Option<bool>) -> State {
    let is_late = age > SILENT_AFTER;
    match (told, lives) {
        (Some(_), Some(false)) => State::Died,
        (Some(told), _) if told.standing.pass == LAST_PASS => State::Ending,
        (Some(_), _) if is_late => State::Silent,
        (Some(_), _) => State::Running,
        (None, _) if is_late => State::Silent,
        (None, _) => State::Starting,
    }
}

/// The run of the state directory that began, or told of itself, last. Preflights are none.
fn newest(state_dir: Option<&Path>, environment: &Environment) -> Result<String, Error> {
    let state = state_dir.map_or_else(|| default_state_dir(environment), Path::to_path_buf);
    let none = |why: &str| {
        let state = escaped(state.as_os_str().as_encoded_bytes());
        Error::Usage(format!("there is no run in {state}{why}: name one, or its state directory with --state-dir"))
    };
    let names = RunDirectory::new(&state, "").names(RUNS_MAX).map_err(|error| none(&format!(" ({error})")))?;
    let when = |id: String| {
        let directory = RunDirectory::new(&state, &id);
        let begun = directory.written_at(RECORD).ok()?;
        let later = ["summary.json", progress_file::NAME].map(|name| directory.written_at(name).ok());
        Some((later.into_iter().flatten().chain([begun]).max(), id))
    };
    let ids = names.into_iter().filter_map(|name| name.into_string().ok());
    let mut runs: Vec<_> = ids.filter_map(when).collect();
    runs.sort();
    let is_preflight =
        |id: &String| Started::load(&RunDirectory::new(&state, id)).is_ok_and(|run| run.command == "preflight");
    runs.into_iter().rev().map(|(_, id)| id).find(|id| !is_preflight(id)).ok_or_else(|| none(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pass: &'static str, seconds: u64, lives: Option<bool>) -> State {
        let mut told = Told::default();
        told.standing.pass = pass.into();
        state(Some(&told), Duration::from_secs(seconds), lives)
    }

    #[test]
    fn a_run_is_dead_only_where_its_process_can_be_looked_for() {
        assert_eq!(of("mirror", 5, None), State::Running);
        assert_eq!(of("mirror", 5, Some(false)), State::Died);
        assert_eq!(of("mirror", 500, None), State::Silent);
        assert_eq!(of("mirror", 500, Some(true)), State::Silent, "it hangs, or was stopped");
        assert_eq!(of("end", 500, None), State::Ending, "no wave comes any more");
        assert_eq!(of("end", 5, Some(false)), State::Died);
    }

    #[test]
    fn a_run_that_told_nothing_yet_has_some_time_for_it() {
        let told_nothing = |seconds| state(None, Duration::from_secs(seconds), None);
        assert_eq!((told_nothing(60), told_nothing(91)), (State::Starting, State::Silent));
    }
}

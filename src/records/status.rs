//! `pmirror status`: how far a run is, or how it ended.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::groups::Fault;
use super::list;
use super::run::{Run, Seen, State};
use super::view::{self, Letters};
use super::watch;
use super::words::shown;
use crate::cli::status::Status;
use crate::fault::Error;
use crate::report::json;
use crate::report::live::Told;
use crate::report::progress_file;
use crate::slurm::Environment;

/// Faults that are shown.
const LAST_MAX: usize = 3;

/// What is shown of a run.
pub struct Shown<'r> {
    /// The run.
    pub run: &'r Run,
    /// What was found of it.
    pub seen: Seen,
    /// How many faults it has, or has told of.
    pub faults: u64,
    /// The last of them.
    pub last: Vec<Fault>,
}

/// The same for scripts.
#[derive(Serialize)]
struct Report<'s> {
    run_id: &'s str,
    run_directory: String,
    is_newest: bool,
    state: &'static str,
    /// How old what the run told is.
    age_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_at: Option<String>,
    faults: u64,
    last_faults: Vec<Last<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'s Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'s Value>,
}

#[derive(Serialize)]
struct Last<'s> {
    path: String,
    outcome: &'s str,
    operation: &'s str,
    errno: &'s str,
    side: &'s str,
    note: &'s str,
}

impl<'r> Shown<'r> {
    /// Looks at a run. `before`: what was seen of it last, so that lists are looked at only where there is more.
    pub fn look(run: &'r Run, before: Option<Shown<'r>>, now: Timestamp) -> Result<Self, Error> {
        let seen = run.look(now)?;
        let has_ended = seen.state == State::Ended;
        let ended = seen.ending.as_ref().map(super::ending::Ending::faults);
        let faults = ended.or(seen.told.as_ref().map(|told| told.live.faults)).unwrap_or(0);
        let same = before.filter(|before| before.faults == faults && before.seen.state == seen.state);
        let last = match same {
            Some(before) => before.last,
            None if faults == 0 => Vec::new(),
            None => {
                let lists = list::of_run(&run.directory, has_ended).unwrap_or_default();
                list::last(&run.directory, &lists, LAST_MAX)
            }
        };
        Ok(Self { run, seen, faults, last })
    }

    /// As plain text.
    pub fn text(&self, now: Timestamp) -> String {
        let lines = view::lines(self, Letters::of_environment(), now);
        lines.into_iter().map(|(_, line)| format!("{}\n", line.trim_end())).collect()
    }

    fn report(&self) -> Report<'_> {
        fn last(fault: &Fault) -> Last<'_> {
            let Fault { cause, path, .. } = fault;
            Last {
                path: shown(path),
                outcome: &cause.outcome,
                operation: &cause.operation,
                errno: &cause.errno,
                side: &cause.side,
                note: &cause.note,
            }
        }
        Report {
            run_id: &self.run.id,
            run_directory: shown(self.run.directory.path().as_os_str().as_encoded_bytes()),
            is_newest: self.run.is_newest,
            state: self.seen.state.word(),
            age_seconds: self.seen.age.as_secs(),
            checkpoint_at: self.seen.checkpoint.map(progress_file::shown),
            faults: self.faults,
            last_faults: self.last.iter().map(last).collect(),
            progress: self.seen.told.as_ref(),
            summary: self.seen.ending.as_ref().map(|ending| &ending.whole),
        }
    }

    /// As JSON: for people, or on one line.
    pub fn json(&self, is_one_line: bool) -> Result<String, Error> {
        let report = self.report();
        let json = if is_one_line { json::compact(&report) } else { json::pretty(&report) };
        json.map(|json| json + "\n").map_err(|error| Error::Fatal(error.to_string()))
    }
}

impl Letters {
    /// Those that the terminal's character set has, as locale(7) tells it.
    pub fn of_environment() -> Self {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).unwrap_or_default());
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_ascii_uppercase();
        Self { unicode: name.contains("UTF-8") || name.contains("UTF8") }
    }
}

/// What is to be printed.
pub fn status(asked: &Status, environment: &Environment) -> Result<String, Error> {
    let run = Run::find(asked.run.as_ref(), asked.state_dir.as_deref(), environment)?;
    if asked.watch {
        return watch::watch(&run, asked.json);
    }
    let now = Timestamp::now();
    let shown = Shown::look(&run, None, now)?;
    if asked.json { shown.json(false) } else { Ok(shown.text(now)) }
}

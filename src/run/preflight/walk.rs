//! `--walk`: all ranks count what SRC holds.

use super::places::Places;
use crate::comm::Comm;
use crate::counters::{Counters, Number, Slot};
use crate::engine::{Ended, Finished, List};
use crate::fault::Error;
use crate::fs::operator::{self, RunDirectory};
use crate::fs::trials::node;
use crate::pass::Temporaries;
use crate::pass::temporary::Attempt;
use crate::report::preflight::Report;
use crate::run::agree::{agree, from_root};
use crate::run::begin::{Begun, Ready};
use crate::run::crew::Crew;
use crate::run::secure::Secured;
use crate::run::{end, lists};
use crate::sched::Stop;
use crate::tree::census::Census;
use crate::tree::decide::Abilities;
use crate::tree::path::escaped;
use crate::tree::{Kind, Outcome};

/// The file of the run directory that has what was found.
const RECORD: &str = "preflight.json";

/// What was counted.
pub struct Walked {
    /// By all ranks.
    pub census: Census,
    /// What went wrong.
    pub faults: u64,
    /// Why the walk ended early.
    pub unfinished: Option<String>,
    /// The exit code, if it did.
    pub exit_code: Option<u8>,
    /// Seconds that the newest time of change lies ahead of rank 0.
    pub source_ahead: Option<f64>,
    /// Where the record is, for people.
    pub record: String,
}

/// Walks SRC with all ranks.
pub fn walk(
    crew: &Crew<'_>,
    comm: &mut dyn Comm,
    places: Places,
    abilities: Option<Abilities>,
) -> Result<Walked, Error> {
    let held = from_root(comm, &crew.roster, || Ok(abilities.map(|able| (able.times, able.chown, able.folds_case))))?;
    let begun = begun(crew, comm, places, held);
    let mut progress = crew.progress(&begun);
    let mut engine = crew.engine(&begun, comm, None)?;
    progress.enter("count");
    let seeds = if crew.is_root() { vec![begun.seed()] } else { Vec::new() };
    let ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    let finished = engine.finish();
    progress.finish();
    sum_up(crew, comm, &begun.run_directory, ended, finished)
}

type Held = Option<(crate::tree::TimeLimits, bool, bool)>;

fn begun(crew: &Crew<'_>, comm: &dyn Comm, places: Places, held: Held) -> Begun {
    let Places { source, target, is_missing, mounts, filter, run_directory, .. } = places;
    let assumed = crate::fs::probe::assumed_of(target.view.fs_type);
    let (times, chown, folds_case) = held.unwrap_or((assumed.times, assumed.chown, assumed.folds_case));
    let abilities = Abilities { times, chown, folds_case, ..assumed };
    let secured = Secured { source_path: operator::path_of(&source.fd), ..Secured::default() };
    let temporaries = Temporaries::new(Attempt(0), comm.rank().0, Vec::new());
    let ready = Ready {
        source,
        target,
        made: is_missing,
        mounts,
        filter,
        files_from: None,
        abilities,
        temporaries,
        doubt: None,
        run_directory,
        held: None,
    };
    let mut begun = ready.begun(crew.config, comm, &crew.memory, (None, Default::default(), secured));
    // DST is not looked at.
    begun.root.target = None;
    begun
}

/// What one rank brings.
type Part = (Vec<u64>, Census);

fn sum_up(
    crew: &Crew<'_>,
    comm: &mut dyn Comm,
    run_directory: &RunDirectory,
    ended: Ended,
    finished: Finished,
) -> Result<Walked, Error> {
    let Finished { counters, census, error, .. } = finished;
    // All ranks have written their parts of the list before rank 0 joins them.
    let error = agree(comm, &crew.roster, error.map_or(Ok(()), Err)).err();
    let parts: Vec<Part> = agree(comm, &crew.roster, Ok((counters.to_vec(), census)))?;
    let (mut all, mut census) = (Counters::default(), Census::default());
    for (counters, part) in parts {
        all.merge(&Counters::from_slice(&counters).unwrap_or_default());
        census.merge(part);
    }
    // Nothing lists the root.
    all.count(Number::Listed, 1);
    all.add(Slot::Seen(Kind::Directory), 1);
    let joined = if crew.is_root() {
        let broken = |error| Error::Fatal(format!("the fault list can not be written: {error}"));
        lists::join(crew, run_directory, List::Faults, "faults.jsonl").map_err(broken)
    } else {
        Ok(())
    };
    agree(comm, &crew.roster, joined)?;
    #[allow(clippy::cast_precision_loss)] // Seconds of today.
    let source_ahead = census.newest_ctime.map(|time| time.seconds as f64 - node::now());
    Ok(Walked {
        faults: all.ended(Outcome::Failed),
        unfinished: unfinished(ended, error.as_ref()),
        exit_code: exit_code(&all, ended, error.as_ref()),
        source_ahead,
        record: escaped(run_directory.path().as_os_str().as_encoded_bytes()),
        census,
    })
}

/// Entries that could not be looked at are findings, and no failure of this command.
fn exit_code(counters: &Counters, ended: Ended, error: Option<&Error>) -> Option<u8> {
    match end::exit_code(counters, ended, error) {
        code @ (1 | 3 | 11 | 20 | 70 | 75) => Some(code),
        _ => None,
    }
}

fn unfinished(ended: Ended, error: Option<&Error>) -> Option<String> {
    match (error, ended) {
        (Some(error), _) => Some(error.to_string()),
        (None, Ended::Quiet) => None,
        (None, Ended::Stopped(Stop::Time)) => Some("the time was up".to_owned()),
        (None, Ended::Stopped(Stop::Signal)) => Some("a signal came".to_owned()),
        (None, Ended::Stopped(Stop::Halt | Stop::Error)) => Some("another rank gave up".to_owned()),
    }
}

/// What was found stays in the run directory of a walk.
pub fn keep(crew: &Crew<'_>, report: &Report) -> Result<(), Error> {
    if report.record.is_none() {
        return Ok(());
    }
    let run_directory = RunDirectory::new(&crew.config.state_dir, &crew.config.run_id);
    let broken = |error| Error::Fatal(format!("the record can not be written: {error}"));
    run_directory.write(RECORD, report.to_json()?.as_bytes()).map_err(broken)
}

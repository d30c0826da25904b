//! `pmirror cmp`: begin, walk both trees, judge the hard links, sum up, print what differs.

use super::agree::agree;
use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::{Crew, link_turn};
use super::record::{self, Recorder};
use super::{Circumstances, Conclusion, lists};
use crate::comm::Comm;
use crate::config::{self, Config};
use crate::counters::{Number, Slot};
use crate::engine::{Ended, Engine, Finished};
use crate::fault::{Error, Side};
use crate::fs::operator::RunDirectory;
use crate::report::{self, Progress};
use crate::tree::Kind;

const LIST: &str = "differences.jsonl";

/// `pmirror cmp`.
pub fn cmp(config: &Config, cmp: &config::Cmp, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let mut clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let looking = match begin::begin(&crew, comm) {
        Ok(looking) => looking,
        Err(error) => return error.into(),
    };
    crew.say_circumstances(looking.run_directory.path());
    let mut progress = crew.progress(&looking);
    let walked = walk(&crew, &looking, comm, &mut progress, &mut clock);
    progress.finish();
    match walked {
        Ok((ended, finished)) => conclude(crew, cmp, comm, &looking, (ended, finished), clock),
        Err(error) => error.into(),
    }
}

/// Runs the passes: the walk, then the hard links.
fn walk(
    crew: &Crew<'_>,
    looking: &Begun,
    comm: &mut dyn Comm,
    progress: &mut Progress,
    clock: &mut Clock,
) -> Result<(Ended, Finished), Error> {
    let mut engine = crew.engine(looking, comm)?;
    clock.seconds.start = clock.lap();

    progress.enter("compare");
    let seeds = if crew.is_root() { vec![looking.seed()] } else { Vec::new() };
    let mut ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    clock.seconds.compare = clock.lap();

    if ended == Ended::Quiet {
        ended = link_passes(&mut engine, progress);
        clock.seconds.link = clock.lap();
    }
    Ok((ended, engine.finish()))
}

/// Source inodes first; names of target inodes that have more names go on to those, see
/// `pass/compare/links.rs`.
fn link_passes(engine: &mut Engine<'_>, progress: &mut Progress) -> Ended {
    for side in [Side::Source, Side::Target] {
        if let (ended @ Ended::Stopped(_), _) = link_turn(engine, side, progress) {
            return ended;
        }
    }
    Ended::Quiet
}

/// Sums up, and prints the list.
fn conclude(
    crew: Crew<'_>,
    cmp: &config::Cmp,
    comm: &mut dyn Comm,
    looking: &Begun,
    (ended, finished): (Ended, Finished),
    mut clock: Clock,
) -> Conclusion {
    let Finished { mut counters, faults, error, .. } = finished;
    clock.lap();
    // All ranks have written their parts before rank 0 joins them.
    let written = agree(comm, &crew.roster, error.map_or(Ok(()), Err));
    let joined = if crew.is_root() { lists::join_differences(&crew, &looking.run_directory, LIST) } else { Ok(()) };
    let error = written.and(agree(comm, &crew.roster, joined)).err();
    if crew.is_root() {
        // Nothing lists the root.
        counters.count(Number::Listed, 1);
        counters.add(Slot::Seen(Kind::Directory), 1);
    }
    let (run_directory, fs_types) = (looking.run_directory.clone(), looking.fs_types);
    let recorder = Recorder { crew: &crew, run_directory, fs_types };
    let found =
        record::Found { counters, faults, root_faults: Vec::new(), ended, error, judged: None, written_to: Vec::new() };
    let conclusion = recorder.sum_up(comm, found, &clock.stop());
    if crew.is_root() && !crew.config.json {
        print(&looking.run_directory, cmp, &conclusion);
    }
    conclusion
}

/// Prints the list to stdout: it is the result.
fn print(directory: &RunDirectory, cmp: &config::Cmp, conclusion: &Conclusion) {
    lists::print_differences(directory, LIST, cmp.manner, cmp.differences_max);
    let all = conclusion.summary.as_ref().map_or(0, |summary| summary.names_that_differ());
    if all > cmp.differences_max {
        report::say(&format!("{} of {all} differences are listed: --max-differences", cmp.differences_max));
    }
}

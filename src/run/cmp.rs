//! `pmirror cmp`: begin, walk both trees, judge the hard links, sum up, print what differs.

use super::agree::agree;
use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::Crew;
use super::frame::{self, Passed, Ran, Run, link_turn};
use super::record::{self, Recorder};
use super::story::Stage;
use super::{Circumstances, Conclusion, deadline, lists, resume};
use crate::comm::Comm;
use crate::config::{self, Config};
use crate::counters::{Number, Slot};
use crate::engine::{Ended, Finished};
use crate::fault::{Error, Side};
use crate::fs::operator::RunDirectory;
use crate::report;
use crate::tree::Kind;

const LIST: &str = "differences.jsonl";

/// `pmirror cmp`.
pub fn cmp(config: &Config, cmp: &config::Cmp, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let mut clock = Clock::start();
    let mut crew = Crew::call(config, comm, circumstances);
    let began = resume::read(&mut crew, comm).and_then(|resumed| {
        let looking = begin::begin(&crew, comm, resumed.as_ref())?;
        resumed.as_ref().map_or(Ok(()), |resumed| resume::must_fit(resumed, &crew, &looking))?;
        Ok((looking, resumed))
    });
    let (looking, resumed) = match began {
        Ok(began) => began,
        Err(error) => return error.into(),
    };
    crew.say_circumstances(looking.run_directory.path());
    let mut progress = crew.progress(&looking);
    let clocks = (&mut progress, &mut clock);
    let walked = frame::run_passes(&mut crew, &looking, comm, resumed, clocks, passes);
    progress.end_passes();
    let conclusion = match walked {
        Ok(Ran::Through(passed, _, finished)) => conclude(crew, cmp, comm, &looking, (passed.ended, *finished), clock),
        Ok(Ran::NotYet(stop)) => deadline::too_late(comm, stop),
        Err(error) => error.into(),
    };
    progress.finish();
    conclusion
}

/// The walk, then the hard links.
fn passes(run: &mut Run<'_, '_>) -> Result<Passed, Error> {
    let mut ended = run.walk("compare");
    run.clock.seconds.compare = run.clock.lap();
    if ended == Ended::Quiet {
        ended = link_passes(run);
        run.clock.seconds.link = run.clock.lap();
    }
    Ok(Passed { ended, has_walked: true })
}

/// Source inodes first; names of target inodes that have more names go on to those, see
/// `pass/compare/links.rs`.
fn link_passes(run: &mut Run<'_, '_>) -> Ended {
    for (turn, side) in (0..).zip([Side::Source, Side::Target]) {
        if let (ended @ Ended::Stopped(_), _) = link_turn(run, Stage::Links(turn), side) {
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
    let recorder = Recorder { crew: &crew, run_directory, fs_types, told: looking.told.clone() };
    let found = record::Found { counters, faults, ended, error, judged: None, written_to: Vec::new() };
    let is_over = ended == Ended::Quiet && found.error.is_none();
    let mut conclusion = recorder.sum_up(comm, found, &clock.stop(crew.history.seconds));
    if crew.is_root() && is_over {
        resume::forget(&looking.run_directory);
    }
    if crew.is_root() && !crew.config.json {
        print(&looking.run_directory, cmp, &mut conclusion);
    }
    conclusion
}

/// Prints the list to stdout: it is the result.
fn print(directory: &RunDirectory, cmp: &config::Cmp, conclusion: &mut Conclusion) {
    lists::print_differences(directory, LIST, (cmp.manner, cmp.differences_max), conclusion);
    let all = conclusion.summary.as_ref().map_or(0, |summary| summary.names_that_differ());
    if all > cmp.differences_max {
        report::say(&format!("{} of {all} differences are listed: --max-differences", cmp.differences_max));
    }
}

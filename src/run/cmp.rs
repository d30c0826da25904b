//! `pmirror cmp`: begin, walk both trees, judge the hard links, sum up, print what differs.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use super::agree::agree;
use super::clock::Clock;
use super::crew::{Crew, any_rank};
use super::look::{self, Looking};
use super::record::{self, Recorder};
use super::{Circumstances, Conclusion, lists};
use crate::comm::Comm;
use crate::config::{self, Config};
use crate::counters::{Number, Slot};
use crate::engine::{Ended, Engine, Finished, difference_part_name};
use crate::fault::{Error, Side};
use crate::fs::operator::RunDirectory;
use crate::report::{self, Progress, differences};
use crate::sched::Rank;
use crate::tree::{Item, Kind};

const LIST: &str = "differences.jsonl";

/// A list up to this size is sorted by path, so that it does not tell how the work was shared.
const SORTED_BYTES_MAX: u64 = 16 << 20;

/// `pmirror cmp`.
pub fn cmp(config: &Config, cmp: &config::Cmp, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let mut clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let looking = match look::begin(&crew, cmp, comm) {
        Ok(looking) => looking,
        Err(error) => return error.into(),
    };
    crew.say_circumstances(looking.run_directory.path());
    let mut progress = crew.progress();
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
    looking: &Looking,
    comm: &mut dyn Comm,
    progress: &mut Progress,
    clock: &mut Clock,
) -> Result<(Ended, Finished), Error> {
    let setup = crew.setup(looking.run_directory.clone(), looking.root.source.inode);
    let mut engine = match Engine::start(&mut *comm, Arc::clone(&looking.context), setup) {
        Ok(engine) => engine,
        Err(error) => return Err(crew.not_started(comm, error)),
    };
    crew.all_started(&mut engine)?;
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

/// Groups of source inodes first; then those of target inodes, with the names that the former passed on
/// to them, see `pass/compare/links.rs`.
fn link_passes(engine: &mut Engine<'_>, progress: &mut Progress) -> Ended {
    for side in [Side::Source, Side::Target] {
        let groups: Vec<Item> = engine.take_link_groups_of(side).into_iter().map(Item::Link).collect();
        if any_rank(engine, groups.len() as u64) == 0 {
            continue;
        }
        let ended = engine.run_pass(groups, &mut |report| progress.observe(report));
        if ended != Ended::Quiet {
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
    looking: &Looking,
    (ended, finished): (Ended, Finished),
    mut clock: Clock,
) -> Conclusion {
    let Finished { mut counters, faults, error } = finished;
    clock.lap();
    // All ranks have written their parts before rank 0 joins them.
    let written = agree(comm, &crew.roster, error.map_or(Ok(()), Err));
    let joined = if crew.is_root() { join(&crew, &looking.run_directory) } else { Ok(()) };
    let error = written.and(agree(comm, &crew.roster, joined)).err();
    if crew.is_root() {
        // Nothing lists the root.
        counters.count(Number::Listed, 1);
        counters.add(Slot::Seen(Kind::Directory), 1);
    }
    let (run_directory, fs_types) = (looking.run_directory.clone(), looking.fs_types);
    let recorder = Recorder { crew: &crew, run_directory, fs_types };
    let found = record::Found { counters, faults, root_faults: Vec::new(), ended, error };
    let conclusion = recorder.sum_up(comm, found, &clock.stop());
    if crew.is_root() && !crew.config.json {
        print(&looking.run_directory, cmp, &conclusion);
    }
    conclusion
}

fn unusable(error: &io::Error) -> Error {
    Error::Fatal(format!("the list of differences can not be kept: {error}"))
}

/// Makes one list of the ranks' parts, in the order of the paths unless it is very long.
fn join(crew: &Crew<'_>, directory: &RunDirectory) -> Result<(), Error> {
    let ranks = u32::try_from(crew.roster.hosts.len()).unwrap_or(u32::MAX);
    let parts = (0..ranks).map(Rank).map(difference_part_name);
    lists::join(directory, parts, LIST).and_then(|()| sort(directory)).map_err(|error| unusable(&error))
}

fn sort(directory: &RunDirectory) -> io::Result<()> {
    let list = match directory.open(LIST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        list => list?,
    };
    let mut text = String::new();
    if list.metadata()?.len() > SORTED_BYTES_MAX {
        return Ok(());
    }
    BufReader::new(list).read_to_string(&mut text)?;
    directory.write(LIST, differences::sorted(&text)?.as_bytes())
}

/// Prints the list to stdout: it is the result.
fn print(directory: &RunDirectory, cmp: &config::Cmp, conclusion: &Conclusion) {
    let printed = match directory.open(LIST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        list => list.and_then(|list| differences::print(BufReader::new(list), cmp.manner, cmp.differences_max)),
    };
    if let Err(error) = printed {
        report::say(&unusable(&error).to_string());
    }
    let all = conclusion.summary.as_ref().map_or(0, |summary| summary.names_that_differ());
    if all > cmp.differences_max {
        report::say(&format!("{} of {all} differences are listed: --max-differences", cmp.differences_max));
    }
}

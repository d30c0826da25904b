//! `pmirror sync`: begin, walk and copy, bring hard links together, settle directories, sum up.

use std::sync::Arc;

use super::agree::agree;
use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::{Crew, any_rank, link_turn};
use super::record::{Found, Recorder};
use super::{Circumstances, Conclusion, end};
use crate::comm::Comm;
use crate::config::Config;
use crate::counters::{Number, Slot};
use crate::engine::{Ended, Engine, Finished};
use crate::fault::{Error, Side};
use crate::fs::{data, path_list};
use crate::pass::{Effects, Watch, chunk, settle};
use crate::report::{self, Progress};
use crate::tree::{Item, Kind, Outcome};

/// `pmirror sync`.
pub fn sync(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let begun = match begin::begin(config, comm, &crew.roster, crew.job.as_ref()) {
        Ok(begun) => begun,
        Err(error) => return error.into(),
    };
    if crew.say_circumstances(begun.run_directory.path()) {
        say_abilities(&begun);
    }
    let mut progress = crew.progress();
    let walked = walk(&crew, &begun, comm, &mut progress, clock);
    progress.finish();
    match walked {
        Ok(walked) => conclude(crew, comm, begun, walked),
        Err(error) => error.into(),
    }
}

/// `--verbose`: what DST can hold, and what we may.
fn say_abilities(begun: &Begun) {
    let able = &begun.context.policy.target;
    let yes = |flag| if flag { "yes" } else { "no" };
    report::say(&format!(
        "DST holds times to {} ns; we may give files away: {}; permissions do not stop us: {}",
        able.times.granularity,
        yes(able.chown),
        yes(able.overrides_permissions)
    ));
}

/// What the passes left.
struct Walked {
    ended: Ended,
    finished: Finished,
    /// What is to stand in the books for the root, on the rank that walked it.
    root_outcome: Option<Outcome>,
    clock: Clock,
}

/// Runs the passes: the walk, the hard links, the directories that had to wait.
fn walk(
    crew: &Crew<'_>,
    begun: &Begun,
    comm: &mut dyn Comm,
    progress: &mut Progress,
    mut clock: Clock,
) -> Result<Walked, Error> {
    let setup = crew.setup(begun.run_directory.clone(), begun.root.source.inode);
    let mut engine = match Engine::start(&mut *comm, Arc::clone(&begun.context), setup) {
        Ok(engine) => engine,
        Err(error) => return Err(crew.not_started(comm, error)),
    };
    crew.all_started(&mut engine)?;
    clock.seconds.start = clock.lap();

    progress.enter("mirror");
    let seeds = if crew.is_root() { vec![begun.seed()] } else { Vec::new() };
    let mut ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    clock.seconds.mirror = clock.lap();

    let mut root_outcome = None;
    if ended == Ended::Quiet {
        progress.enter("link");
        ended = link_pass(&mut engine, progress);
        clock.seconds.link = clock.lap();
    }
    if ended == Ended::Quiet {
        progress.enter("settle");
        (ended, root_outcome) = settle_pass(&mut engine, crew, progress)?;
        clock.seconds.settle = clock.lap();
    }
    Ok(Walked { ended, finished: engine.finish(), root_outcome, clock })
}

/// Source inodes first; those that would keep a target inode with further names claim it. Then the
/// owners of these judge, and the groups that waited are settled, in as many turns as large files make
/// others wait.
fn link_pass(engine: &mut Engine<'_>, progress: &mut Progress) -> Ended {
    for side in [Side::Source, Side::Target] {
        if let (ended @ Ended::Stopped(_), _) = link_turn(engine, side, progress) {
            return ended;
        }
    }
    loop {
        match link_turn(engine, Side::Source, progress) {
            (Ended::Quiet, true) => {}
            (ended, _) => return ended,
        }
    }
}

/// Directories in any order first; then, deepest first, those whose final mode keeps us out. The root
/// is left to the very end of the run.
fn settle_pass(
    engine: &mut Engine<'_>,
    crew: &Crew<'_>,
    progress: &mut Progress,
) -> Result<(Ended, Option<Outcome>), Error> {
    let mut root_outcome = None;
    let mut keep_root = |items: Vec<Item>| {
        let (root, rest): (Vec<Item>, Vec<Item>) = items
            .into_iter()
            .partition(|item| matches!(item, Item::Settle { directory, .. } if directory.path.is_root()));
        if let Some(Item::Settle { outcome, .. }) = root.first() {
            root_outcome = Some(*outcome);
        }
        rest
    };
    let items = keep_root(engine.take_deferred());
    let mut ended = Ended::Quiet;
    if any_rank(engine, items.len() as u64) > 0 {
        ended = engine.run_pass(items, &mut |report| progress.observe(report));
    }
    loop {
        // Depth 0 is the root, which waits for the end of the run in any case.
        let deepest = engine.deepest_after_below().map_or(0, |depth| u64::from(depth) + 1);
        let depths = agree(engine.comm(), &crew.roster, Ok(deepest))?;
        let deepest = depths.into_iter().max().unwrap_or(0);
        if deepest == 0 || ended != Ended::Quiet {
            return Ok((ended, root_outcome));
        }
        let items = keep_root(engine.take_after_below(u32::try_from(deepest - 1).unwrap_or(u32::MAX)));
        ended = engine.run_pass(items, &mut |report| progress.observe(report));
    }
}

/// Makes all durable, settles the root, and sums up.
fn conclude(crew: Crew<'_>, comm: &mut dyn Comm, begun: Begun, walked: Walked) -> Conclusion {
    let Walked { ended, finished, root_outcome, mut clock } = walked;
    let Finished { mut counters, faults, abandoned, error } = finished;
    abandoned.iter().for_each(|file| chunk::discard(&begun.context, file));
    let roster = &crew.roster;
    clock.lap();
    let flushed = if roster.leads_node() { data::flush_file_system(&begun.context.trees.target) } else { Ok(()) };
    let flushed = flushed.map_err(|failure| {
        let errno = nix::errno::Errno::from_raw(failure.errno);
        Error::Fatal(format!("what was written to DST may be lost: syncfs: {} ({errno})", errno.desc()))
    });
    let mine = error.map_or(flushed, Err);
    let error = agree(comm, roster, mine).err();
    clock.seconds.flush = clock.lap();

    let known: Vec<Option<Outcome>> = agree(comm, roster, Ok(root_outcome)).unwrap_or_default();
    let root_outcome = known.into_iter().flatten().next();
    let mut root_faults = Vec::new();
    let (context, fs_types, run_directory) = (begun.context, begun.fs_types, begun.run_directory);
    if crew.is_root() {
        path_list::remove(&run_directory);
        counters.count(Number::Listed, 1);
        counters.add(Slot::Seen(Kind::Directory), 1);
        if let Some((private, lock)) = begun.held {
            let is_whole = ended == Ended::Quiet && error.is_none() && context.looks_everywhere();
            end::give_back(private, lock, &context.trees.target, is_whole);
        }
        let mut effects = Effects::default();
        match (root_outcome, &error) {
            (Some(outcome), None) => {
                let watch = Watch::new(Arc::default());
                settle::later(&context, &begun.root, outcome, &watch, &mut effects);
            }
            (Some(_), Some(_)) => effects.end(Kind::Directory, Outcome::Unfinished),
            // Its walk failed, or it was abandoned with all else that a stop left: the books have it.
            (None, _) => {}
        }
        counters.merge(&effects.counters);
        root_faults = effects.faults;
    }
    let found = Found { counters, faults, root_faults, ended, error };
    Recorder { crew: &crew, run_directory, fs_types }.sum_up(comm, found, &clock.stop())
}

//! `pmirror sync`: walk and copy, bring hard links together, remove what is to go, settle directories.

use std::collections::BTreeMap;

use super::agree::agree;
use super::crew::{Crew, any_rank};
use super::frame::{self, Entry, Passed, Run, link_turn};
use super::story::Stage;
use super::{Circumstances, Conclusion, prune, settle};
use crate::comm::Comm;
use crate::config::Config;
use crate::counters::{Counters, Number, Slot};
use crate::engine::{Ended, Engine};
use crate::fault::{Error, Side};
use crate::tree::{Identity, Item, Kind};

/// `pmirror sync`.
pub fn sync(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    frame::over_target(config, comm, circumstances, passes)
}

/// The walk, the hard links, what is to go and what takes its place, the directories that had to wait.
fn passes(run: &mut Run<'_, '_>) -> Result<Passed, Error> {
    let mut ended = run.walk("mirror");
    run.clock.seconds.mirror = run.clock.lap();
    if ended == Ended::Quiet && run.begun.context.plans_apart() {
        ended = plan(run);
        run.clock.seconds.plan = run.clock.lap();
    }

    if ended == Ended::Quiet {
        if run.crew.config.dry_run {
            share_gone(run.engine, run.crew)?;
        }
        // What waits for a directory to be removed may be a further name of an inode: then all of these wait for it.
        if any_rank(run.engine, run.engine.waits_again()) == 0 {
            ended = link_pass(run, Stage::Links);
        }
        run.clock.seconds.link = run.clock.lap();
    }
    if let (Ended::Quiet, Some(guards)) = (ended, &run.crew.config.guards) {
        ended = prune::pass(run, guards, 0)?;
        run.clock.seconds.remove = run.clock.lap();
    }
    if ended == Ended::Quiet {
        ended = again(run);
    }
    if ended == Ended::Quiet {
        ended = settle::pass(run)?;
        run.clock.seconds.settle = run.clock.lap();
    }
    Ok(Passed { ended, has_walked: true })
}

/// Walks both trees once more for what is to be removed: directories have the names that they keep only now.
fn plan(run: &mut Run<'_, '_>) -> Ended {
    match run.enter(Stage::Plan) {
        Entry::Skipped => Ended::Quiet,
        Entry::Resumed => run.resume("plan"),
        Entry::Fresh => {
            run.progress.enter("plan");
            let mut seeds = Vec::new();
            if run.crew.is_root() {
                // Nothing lists the root.
                let mut seen = Counters::default();
                seen.count(Number::Listed, 1);
                seen.add(Slot::Seen(Kind::Directory), 1);
                run.engine.count(&seen);
                seeds.push(Item::Plan { directory: run.begun.root.clone(), round: (0, 1) });
            }
            run.engine.run_pass(seeds, &mut |report| run.progress.observe(report))
        }
    }
}

/// In a dry run: all ranks learn which target inodes the walk would have taken names from.
fn share_gone(engine: &mut Engine<'_>, crew: &Crew<'_>) -> Result<(), Error> {
    let mine: Vec<(Identity, u32)> = engine.gone().into_iter().collect();
    let mut all = BTreeMap::new();
    for (inode, names) in agree(engine.comm(), &crew.roster, Ok(mine))?.into_iter().flatten() {
        *all.entry(inode).or_default() += names;
    }
    // Set once a run.
    let _ = engine.context().gone.set(all);
    Ok(())
}

/// Names whose place a directory had that was removed, and the hard links that waited for them.
fn again(run: &mut Run<'_, '_>) -> Ended {
    let ended = match run.enter(Stage::Again) {
        Entry::Skipped => Ended::Quiet,
        Entry::Resumed => run.resume("mirror"),
        Entry::Fresh if any_rank(run.engine, run.engine.waits_again()) == 0 => return Ended::Quiet,
        Entry::Fresh => {
            run.progress.enter("mirror");
            run.engine.run_again(&mut |report| run.progress.observe(report))
        }
    };
    if ended == Ended::Quiet { link_pass(run, Stage::LinksAgain) } else { ended }
}

/// Source inodes first; those that would keep a target inode with further names claim it. Then the
/// owners of these judge, and the groups that waited are settled, in as many turns as large files make
/// others wait.
fn link_pass(run: &mut Run<'_, '_>, stage: fn(u32) -> Stage) -> Ended {
    // As many turns as there were.
    if run.is_past(stage(u32::MAX)) {
        return Ended::Quiet;
    }
    for (turn, side) in (0..).zip([Side::Source, Side::Target]) {
        if let (ended @ Ended::Stopped(_), _) = link_turn(run, stage(turn), side) {
            return ended;
        }
    }
    let mut turn = 2;
    loop {
        match link_turn(run, stage(turn), Side::Source) {
            (Ended::Quiet, true) => turn += 1,
            (ended, _) => return ended,
        }
    }
}

//! `pmirror sync`: walk and copy, bring hard links together, remove what is to go, settle directories.

use std::collections::BTreeMap;

use super::agree::agree;
use super::crew::{Crew, any_rank, link_turn};
use super::frame::{self, Passed, Run};
use super::{Circumstances, Conclusion, prune, settle};
use crate::comm::Comm;
use crate::config::Config;
use crate::engine::{Ended, Engine};
use crate::fault::{Error, Side};
use crate::report::Progress;
use crate::tree::Identity;

/// `pmirror sync`.
pub fn sync(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    frame::over_target(config, comm, circumstances, passes)
}

/// The walk, the hard links, what is to go and what takes its place, the directories that had to wait.
fn passes(run: &mut Run<'_, '_>) -> Result<Passed, Error> {
    let mut ended = run.walk("mirror");
    run.clock.seconds.mirror = run.clock.lap();

    if ended == Ended::Quiet {
        if run.crew.config.dry_run {
            share_gone(run.engine, run.crew)?;
        }
        run.progress.enter("link");
        ended = link_pass(run.engine, run.progress);
        run.clock.seconds.link = run.clock.lap();
    }
    let mut judged = None;
    if let (Ended::Quiet, Some(guards)) = (ended, &run.crew.config.guards) {
        let verdict = prune::judge(run.engine, run.crew, guards, 0)?;
        ended = prune::prune(run.engine, run.crew, &verdict, run.progress)?;
        judged = Some(verdict);
        run.clock.seconds.remove = run.clock.lap();
    }
    if ended == Ended::Quiet {
        ended = again(run.engine, run.progress);
    }
    let mut root_outcome = None;
    if ended == Ended::Quiet {
        run.progress.enter("settle");
        (ended, root_outcome) = settle::pass(run.engine, run.crew, run.progress)?;
        run.clock.seconds.settle = run.clock.lap();
    }
    Ok(Passed { ended, root_outcome, has_walked: true, judged })
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

/// Names whose place a directory had that was removed.
fn again(engine: &mut Engine<'_>, progress: &mut Progress) -> Ended {
    let waiting = engine.waits_again();
    if any_rank(engine, waiting) == 0 {
        return Ended::Quiet;
    }
    progress.enter("mirror");
    match engine.run_again(&mut |report| progress.observe(report)) {
        Ended::Quiet => link_pass(engine, progress),
        stopped => stopped,
    }
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

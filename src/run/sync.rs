//! `pmirror sync`: begin, walk and copy, bring hard links together, remove what is to go, settle
//! directories, sum up.

use std::collections::BTreeMap;

use super::agree::agree;
use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::{Crew, any_rank, link_turn};
use super::finish::{self, Walked};
use super::{Circumstances, Conclusion, prune, settle};
use crate::comm::Comm;
use crate::config::Config;
use crate::engine::{Ended, Engine};
use crate::fault::{Error, Side};
use crate::report::{self, Progress};
use crate::tree::Identity;

/// `pmirror sync`.
pub fn sync(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let begun = match begin::begin(&crew, comm) {
        Ok(begun) => begun,
        Err(error) => return error.into(),
    };
    if crew.say_circumstances(begun.run_directory.path()) {
        say_abilities(&begun);
    }
    let mut progress = crew.progress(&begun);
    let walked = walk(&crew, &begun, comm, &mut progress, clock);
    progress.finish();
    match walked {
        Ok(walked) => finish::finish(crew, comm, begun, walked),
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

/// Runs the passes: the walk, the hard links, the directories that had to wait.
fn walk(
    crew: &Crew<'_>,
    begun: &Begun,
    comm: &mut dyn Comm,
    progress: &mut Progress,
    mut clock: Clock,
) -> Result<Walked, Error> {
    let mut engine = crew.engine(begun, comm)?;
    clock.seconds.start = clock.lap();

    progress.enter("mirror");
    let seeds = if crew.is_root() { vec![begun.seed()] } else { Vec::new() };
    let mut ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    clock.seconds.mirror = clock.lap();

    if ended == Ended::Quiet {
        if crew.config.dry_run {
            share_gone(&mut engine, crew)?;
        }
        progress.enter("link");
        ended = link_pass(&mut engine, progress);
        clock.seconds.link = clock.lap();
    }
    let mut judged = None;
    if let (Ended::Quiet, Some(guards)) = (ended, &crew.config.guards) {
        let verdict = prune::judge(&mut engine, crew, guards, 0)?;
        ended = prune::prune(&mut engine, crew, &verdict, progress)?;
        judged = Some(verdict);
        clock.seconds.remove = clock.lap();
    }
    if ended == Ended::Quiet {
        ended = again(&mut engine, progress);
    }
    let mut root_outcome = None;
    if ended == Ended::Quiet {
        progress.enter("settle");
        (ended, root_outcome) = settle::pass(&mut engine, crew, progress)?;
        clock.seconds.settle = clock.lap();
    }
    Ok(Walked { ended, finished: engine.finish(), root_outcome, has_walked: true, judged, clock })
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

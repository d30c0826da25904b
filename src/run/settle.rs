//! The settle pass: directories whose final metadata had to wait.

use super::agree::agree;
use super::crew::any_rank;
use super::frame::{Entry, Run};
use super::story::Stage;
use crate::engine::Ended;
use crate::fault::Error;

/// Directories in any order first; then, deepest first, those whose final mode keeps us out. The root is left to
/// the very end of the run.
pub fn pass(run: &mut Run<'_, '_>) -> Result<Ended, Error> {
    let mut ended = match run.enter(Stage::Settle) {
        Entry::Skipped => Ended::Quiet,
        Entry::Resumed => run.resume("settle"),
        Entry::Fresh => {
            run.progress.enter("settle");
            match any_rank(run.engine, run.engine.waits_deferred()) {
                0 => Ended::Quiet,
                _ => run.engine.run_deferred(&mut |report| run.progress.observe(report)),
            }
        }
    };
    if ended == Ended::Quiet && run.enter(Stage::SettleBelow) == Entry::Resumed {
        ended = run.resume("settle");
    }
    while ended == Ended::Quiet {
        // One more than the depth: the root waits for the end of the run in any case.
        let deepest = run.engine.deepest_after_below().map_or(0, |depth| u64::from(depth) + 1);
        let depths = agree(run.engine.comm(), &run.crew.roster, Ok(deepest))?;
        let Some(depth) = depths.into_iter().max().unwrap_or(0).checked_sub(1) else { break };
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        ended = run.engine.run_after_below(depth, &mut |report| run.progress.observe(report));
    }
    Ok(ended)
}

//! The settle pass: directories whose final metadata had to wait.

use super::agree::agree;
use super::crew::{Crew, any_rank};
use crate::engine::{Ended, Engine};
use crate::fault::Error;
use crate::report::Progress;
use crate::tree::{Item, Outcome};

/// Directories in any order first; then, deepest first, those whose final mode keeps us out. The root
/// is left to the very end of the run: what is to stand in the books for it is told, on the rank that
/// walked it.
pub fn pass(
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

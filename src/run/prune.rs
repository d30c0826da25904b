//! Deletions: the guards judge the plan of all ranks as a whole; then it is carried out.

use super::agree::agree;
use super::begin;
use super::crew::{Crew, any_rank};
use crate::counters::{Counters, Number};
use crate::engine::{Ended, Engine};
use crate::fault::Error;
use crate::report::Progress;
use crate::tree::guard::{self, Guards, Held, Loss, Losses, Verdict};

/// What was judged.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// What the guards said.
    pub verdict: Verdict,
    /// Entries of DST that the plan saw.
    pub seen: u64,
}

impl Judged {
    /// Why nothing is removed.
    pub fn refusal(&self) -> Option<String> {
        let too_many = self.verdict.too_many?;
        Some(format!(
            "{} of {} entries of DST would be removed, and only {} may be: nothing is. Look at the plan \
             (pmirror rm --target-only --plan FILE SRC DST); if it is right, pass --max-delete {}",
            too_many.planned, too_many.seen, too_many.limit, too_many.planned
        ))
    }
}

/// Judges the plan. All ranks come to the same verdict. `seen`: so many entries DST has beside those that
/// the walk of this run saw.
pub fn judge(engine: &mut Engine<'_>, crew: &Crew<'_>, guards: &Guards, seen: u64) -> Result<Judged, Error> {
    let counters = engine.counters();
    let mine = Loss { seen: counters.number(Number::TargetSeen), planned: counters.planned() };
    let losses: Vec<_> = engine.losses().into_iter().collect();
    let parts = agree(engine.comm(), &crew.roster, Ok((mine, losses)))?;
    let (mut all, mut subtrees) = (Loss { seen, planned: 0 }, Losses::new());
    for (loss, losses) in parts {
        all.add(loss);
        for (path, loss) in losses {
            subtrees.entry(path).or_default().add(loss);
        }
    }
    let verdict = guard::judge(guards, all, &subtrees);
    let held = Held::new(guards.hold_depth, verdict.held.iter().map(|tree| tree.path.clone()));
    // Set once a run.
    let _ = engine.context().held.set(held);
    Ok(Judged { verdict, seen: all.seen })
}

/// Carries out the plan, unless it was refused. Before that all ranks look once more whether they see the
/// same two trees.
pub fn prune(
    engine: &mut Engine<'_>,
    crew: &Crew<'_>,
    judged: &Judged,
    progress: &mut Progress,
) -> Result<Ended, Error> {
    let planned = any_rank(engine, engine.counters().planned());
    if judged.verdict.too_many.is_some() || planned == 0 {
        return Ok(Ended::Quiet);
    }
    begin::prove_again(crew, engine)?;
    progress.enter("remove");
    Ok(engine.run_plan(&mut |report| progress.observe(report)))
}

/// What the books say of deletions when the run is over: what was refused is held, and what had no turn
/// because the run was stopped is unfinished.
pub fn close_books(all: &mut Counters, ended: Ended, judged: Option<&Judged>) {
    use crate::tree::Fate;
    if judged.is_some_and(|judged| judged.verdict.too_many.is_some()) {
        all.end_removals(Fate::Held);
    } else if ended != Ended::Quiet {
        all.end_removals(Fate::Unfinished);
    }
}

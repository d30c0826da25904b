//! Deletions: the guards judge the plan of all ranks as a whole; then it is carried out.

use super::agree::agree;
use super::begin;
use super::crew::{Crew, any_rank};
use crate::config::Command;
use crate::counters::{Counters, Number};
use crate::engine::{Ended, Engine};
use crate::fault::Error;
use crate::report::Progress;
use crate::tree::guard::{self, Guards, Held, Loss, Losses, TooMany, Verdict};

/// What was judged.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// What the guards said.
    pub verdict: Verdict,
    /// Entries of DST that the plan saw.
    pub seen: u64,
    /// The plan is only written down.
    pub is_plan: bool,
    /// Why nothing is removed, or would be.
    pub refused: Option<String>,
}

impl Judged {
    /// Nothing is removed in any case: the plan is what was asked for.
    pub fn only_planned(&mut self) {
        self.is_plan = true;
        self.verdict.too_many = None;
    }
}

fn refusal(too_many: TooMany) -> String {
    let TooMany { planned, seen, limit } = too_many;
    format!(
        "{planned} of {seen} entries of DST would be removed, and only {limit} may be. Look at the plan \
         (pmirror rm --target-only --plan FILE SRC DST); if it is right, pass --max-delete {planned}"
    )
}

/// Subtrees of one rank whose losses are counted; they go to all ranks in one message.
const SUBTREES_MAX: usize = 200_000;

fn too_many_subtrees() -> Error {
    Error::Refused(format!(
        "more than {SUBTREES_MAX} subtrees are to be judged, so nothing is removed: choose a smaller --hold-depth"
    ))
}

/// Judges the plan. All ranks come to the same verdict. `seen`: so many entries DST has beside those that
/// the walk of this run saw.
pub fn judge(engine: &mut Engine<'_>, crew: &Crew<'_>, guards: &Guards, seen: u64) -> Result<Judged, Error> {
    let counters = engine.counters();
    let mine = Loss { seen: counters.number(Number::TargetSeen), planned: counters.planned() };
    let losses: Vec<_> = engine.losses().into_iter().collect();
    let losses = if losses.len() <= SUBTREES_MAX { Ok((mine, losses)) } else { Err(too_many_subtrees()) };
    let parts = agree(engine.comm(), &crew.roster, losses)?;
    let (mut all, mut subtrees) = (Loss { seen, planned: 0 }, Losses::new());
    for (loss, losses) in parts {
        all.add(loss);
        for (path, loss) in losses {
            subtrees.entry(path).or_default().add(loss);
        }
    }
    let verdict = guard::judge(guards, all, &subtrees);
    let held = match verdict.too_many {
        // A plan that is only written down is written whole.
        Some(_) if crew.config.writes_deletions() => Held::everything(),
        _ => Held::new(guards.hold_depth, verdict.held.iter().map(|tree| tree.path.clone())),
    };
    // Set once a run.
    let _ = engine.context().held.set(held);
    let refused = verdict.too_many.map(refusal);
    Ok(Judged { verdict, seen: all.seen, is_plan: false, refused })
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
    // After a copy it is no refusal before any change.
    let proven = begin::prove_again(crew, engine);
    let is_sync = matches!(crew.config.command, Command::Sync { .. });
    proven.map_err(|error| if is_sync { Error::Fatal(error.to_string()) } else { error })?;
    progress.enter("remove");
    Ok(engine.run_plan(&mut |report| progress.observe(report)))
}

/// What the books say of deletions when the run is over: what was refused is held, and what had no turn
/// because the run was stopped is unfinished.
pub fn close_books(all: &mut Counters, ended: Ended, judged: Option<&Judged>) {
    use crate::tree::Fate;
    if judged.is_some_and(|judged| judged.is_plan) {
        all.end_removals(Fate::Removed);
    } else if judged.is_some_and(|judged| judged.verdict.too_many.is_some()) {
        all.end_removals(Fate::Held);
    } else if ended != Ended::Quiet {
        all.end_removals(Fate::Unfinished);
    }
}
